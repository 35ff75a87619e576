"""One folder, one budget: a sweep file that fits, and a sentence at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench import proposal
from raybench.cli import main
from raybench.errors import ResourceError, TooLargeError, UserInputError
from raybench.measurements import Footprint
from raybench.proposal import Design, propose
from raybench.proposal_file import sweep_text
from raybench.settings import Settings, resolve_settings
from raybench.spec import BackboneSpec, DatasetSpec
from raybench.validate import load_spec
from tests.measurements import make_footprint

CANDIDATES = tuple(
    BackboneSpec(name=f"timm:{name}", weights="none")
    for name in ("test_resnet", "test_vit", "test_efficientnet")
)


@pytest.fixture(autouse=True)
def tiny_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of a few thousand parameters, whose weights need no network."""
    monkeypatch.setattr(proposal, "GROUPS", {"@small": CANDIDATES, "@modern": CANDIDATES})


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds per training image by name, in place of measurements."""
    known = {"timm:test_resnet": 0.01, "timm:test_vit": 0.02, "timm:test_efficientnet": 0.03}

    def measure(spec: BackboneSpec, *_: Any, **__: Any) -> Footprint:
        if spec.name not in known:
            raise TooLargeError(f"'{spec.name}' does not fit")
        seconds = known[spec.name]
        return make_footprint(backbone=spec.name, train_s=seconds, evaluate_s=seconds / 3)

    monkeypatch.setattr(proposal, "measure_footprint", measure)
    monkeypatch.setattr(proposal, "_machine", lambda limits: proposal._Machine(2, 0))
    return known


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return resolve_settings(tmp_path / "home", {})


def proposed(folder: Path, budget_s: float, settings: Settings) -> proposal.Proposal:
    dataset = DatasetSpec(name="mine", path=str(folder))
    return propose(dataset, f"{budget_s:g}s", budget_s, settings, lambda line: None)


def test_what_is_proposed_fits_and_more_time_gives_no_less(
    image_folder: Any, settings: Settings, speeds: dict[str, float]
) -> None:
    folder = image_folder(per_class=60, size=100)
    designs = list(proposal._designs(3, [96, 64]))
    before = len(designs)
    for budget_s in (120, 300, 900, 3600, 36000):
        found = proposed(folder, budget_s, settings)
        assert found.cost_s + proposal.START_S <= 0.56 * budget_s
        assert designs.index(found.design) <= before
        before = designs.index(found.design)
    assert found.design == Design(3, 12, 96) and found.folds == 5


def test_the_file_is_valid_and_says_what_was_chosen(
    image_folder: Any, settings: Settings, speeds: dict[str, float], tmp_path: Path
) -> None:
    folder = image_folder(tmp_path / "a b" / "ö 'x' \"y\"", per_class=60, size=100)
    for budget_s in (120, 900, 36000):
        found = proposed(folder, budget_s, settings)
        file = tmp_path / f"{budget_s}.yaml"
        file.write_text(sweep_text(found, tmp_path, "raybench run x"), encoding="utf-8")
        spec = load_spec(file)
        assert spec.datasets[0].path == str(folder) and spec.datasets[0].folds == found.folds
        assert spec.recipe.image_size == found.design.image_size
        assert 0.9 * budget_s < (spec.budget.wall_clock_s or 0) <= budget_s
        assert [b.name for b in spec.backbones] == [b.name for b in found.backbones]
        assert spec.recipe.epochs == found.epochs and spec.final.seeds == found.final_seeds


def test_a_probe_where_fine_tuning_does_not_fit(
    image_folder: Any, settings: Settings, speeds: dict[str, float], tmp_path: Path
) -> None:
    for name in speeds:
        speeds[name] = 0.1
    found = proposed(image_folder(per_class=600, size=100), 400, settings)
    assert found.design.method == "linear_probe" and found.folds is None
    file = tmp_path / "probe.yaml"
    file.write_text(sweep_text(found, tmp_path, "raybench run x"))
    assert load_spec(file).recipe.method == "linear_probe"


def test_too_little_time_says_how_much_is_needed(
    image_folder: Any, settings: Settings, speeds: dict[str, float]
) -> None:
    with pytest.raises(UserInputError, match=r"the least takes about \d+m; give more time"):
        proposed(image_folder(per_class=60, size=100), 10, settings)


def test_backbones_whose_weights_are_missing_are_left_out(
    image_folder: Any, settings: Settings, speeds: dict[str, float], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    absent = BackboneSpec(name="timm:test_resnet", weights="r160_in1k")
    groups = {"@small": (absent, *CANDIDATES[1:])}
    monkeypatch.setattr(proposal, "GROUPS", groups)
    folder = image_folder(per_class=60, size=100)
    found = proposed(folder, 3600, settings)
    assert [b.name for b in found.backbones] == ["timm:test_vit", "timm:test_efficientnet"]
    assert "neither here" in found.left_out["timm:test_resnet"]
    monkeypatch.setattr(proposal, "GROUPS", {"@small": (absent,)})
    with pytest.raises(ResourceError, match="a comparison needs 2 backbones"):
        proposed(folder, 3600, settings)


@pytest.mark.slow
def test_a_folder_runs_to_a_sentence_and_its_file_is_kept(
    image_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # The poorest design under a budget that no busy machine spends.
    monkeypatch.setattr(proposal, "_designs", lambda *_: iter([Design(2, 3, 64)]))
    monkeypatch.setattr(proposal, "EPOCHS", (1, 1))
    folder = image_folder(tmp_path / "scans", per_class=20, size=64)
    monkeypatch.chdir(tmp_path)
    command = ["run", str(folder), "--home", "home", "--inline", "--no-tracking"]
    assert main(command) == 2
    assert "--budget 30m" in capsys.readouterr().err
    assert main([*command, "--budget", "soon"]) == 2
    assert main([*command, "--budget", "30m"]) == 0
    shown = capsys.readouterr()
    assert shown.out.rstrip().splitlines()[-1].startswith("On scans") and "±" in shown.out
    written = (tmp_path / "scans.yaml").read_text()
    assert yaml.safe_load(written)["budget"]["wall_clock"].endswith("s")
    assert main([*command, "--budget", "9h"]) == 0
    assert "is there already and is used as it is" in capsys.readouterr().err
    assert (tmp_path / "scans.yaml").read_text() == written


def test_a_budget_is_for_folders(capsys: Any) -> None:
    assert main(["run", "quickstart", "--budget", "5m"]) == 2
    assert "--set budget.wall_clock" in capsys.readouterr().err


def test_a_backbone_that_does_not_fit_into_memory_is_left_out(
    image_folder: Any, settings: Settings, speeds: dict[str, float]
) -> None:
    folder = image_folder(per_class=60, size=100)
    del speeds["timm:test_vit"]
    found = proposed(folder, 3600, settings)
    assert [spec.name for spec in found.backbones] == ["timm:test_resnet", "timm:test_efficientnet"]
    assert found.left_out == {"timm:test_vit": "'timm:test_vit' does not fit"}
    del speeds["timm:test_resnet"]
    with pytest.raises(TooLargeError, match="test_resnet' does not fit\n'timm:test_vit'"):
        proposed(folder, 3600, settings)
