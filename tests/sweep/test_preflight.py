"""What refuses a sweep before its first trial, and what an earlier attempt has settled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import raybench
from raybench.backbones.build import build_backbone
from raybench.errors import DataError, ResourceError
from raybench.library import fetch, run_sweep_file
from raybench.spec import BackboneSpec
from tests.specs import tiny_data, write_sweep

RECIPE = {"image_size": 32, "batch_size": 8, "epochs": 1, "augment": "none"}


@pytest.fixture
def sweep(tmp_path: Path, image_folder: Any) -> Path:
    """A sweep file over 24 images, and its folder ``images`` beside it."""
    image_folder(per_class=12, size=48)
    return write_sweep(tmp_path / "x.yaml", small(datasets=[{"name": "mine", "path": "images"}]))


def small(**changes: Any) -> dict[str, Any]:
    plain = {
        "subsets": ["full"],
        "recipe": RECIPE,
        "budget": {"trials": 1},
        "final": {"seeds": [0]},
    }
    return tiny_data(**(plain | changes))


def run(file: Path, **options: Any) -> Any:
    return run_sweep_file(file, home=file.parent / "home", inline=True, tracking=False, **options)


def ids_of_predictions(file: Path) -> list[str]:
    with safe_open(file, "numpy") as opened:
        return list(json.loads(opened.metadata()["ids"]))


def plant_leak(images: Path) -> None:
    """One picture in every split: more copies than one split of its class can hold."""
    for number in range(1, 12):
        shutil.copy(images / "cat" / "000.png", images / "cat" / f"{number:03d}.png")


def test_leaks_are_refused_until_they_are_taken(sweep: Path) -> None:
    plant_leak(sweep.parent / "images")
    with pytest.raises(DataError) as caught:
        run(sweep)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("mine: ") and "more than one split" in mistake
    assert "--accept-leaks" in mistake
    result = run(sweep, accept_leaks=True)
    (pair,) = result.snapshot.pairs
    assert result.exit_code == 0 and "across splits" in str(pair.facts["leaks"])
    again = run(sweep, overrides=["budget.trials=2"])  # taken once is taken
    assert again.exit_code == 0 and again.snapshot.pairs[0].quota == 2


def test_other_leaks_than_those_taken_are_refused(sweep: Path) -> None:
    images = sweep.parent / "images"
    plant_leak(images)
    run(sweep, accept_leaks=True)
    for number in range(1, 12):
        shutil.copy(images / "dog" / "000.png", images / "dog" / f"{number:03d}.png")
    with pytest.raises(DataError) as caught:
        run(sweep)
    assert any("--accept-leaks" in mistake for mistake in caught.value.mistakes)


def test_a_changed_image_is_named(sweep: Path) -> None:
    run(sweep)
    changed = sweep.parent / "images" / "dog" / "003.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 48, 3), np.uint8)).save(changed)
    with pytest.raises(DataError) as caught:
        run(sweep)
    (mistake,) = caught.value.mistakes
    assert "images have changed" in mistake and "1 image is changed: 'dog/003.png'" in mistake


def test_every_unreadable_image_and_every_data_set_is_told_of(sweep: Path) -> None:
    images = sweep.parent / "images"
    (images / "dog" / "003.png").write_bytes(b"no picture")
    (images / "cat" / "001.png").write_bytes((images / "cat" / "001.png").read_bytes()[:90])
    shutil.copytree(images, sweep.parent / "more")
    both = "[{name: mine, path: images}, {name: other, path: more}]"
    with pytest.raises(DataError) as caught:
        run(sweep, overrides=[f"datasets={both}"])
    assert len(caught.value.mistakes) == 4
    assert {mistake.split(":")[0] for mistake in caught.value.mistakes} == {"mine", "other"}


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder that stands for a published file, no network."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("RAYBENCH_WEIGHTS", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def publish(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    spec = BackboneSpec(name="timm:test_resnet", weights="none")
    model = build_backbone(spec, 1000, 160).model
    torch.save(model.state_dict(), folder / "test_resnet.r160_in1k.pth")


def test_changed_weights_are_refused_by_name(sweep: Path, weights_dir: Path) -> None:
    publish(weights_dir, 0)
    override = ["backbones=[timm:test_resnet]"]
    (pair,) = run(sweep, overrides=override).snapshot.pairs
    assert len(str(pair.facts["weights_sha256"])) == 64
    publish(weights_dir, 1)
    assert run(sweep, overrides=override).exit_code == 0  # nothing is owed, nothing is loaded
    with pytest.raises(DataError, match="weights file has changed since this sweep's first run"):
        run(sweep, overrides=[*override, "budget.trials=2"])


def test_missing_weights_are_the_environment_s_fault(sweep: Path, weights_dir: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        run(sweep, overrides=["backbones=[timm:test_resnet]"])
    assert str(weights_dir) in str(caught.value) and "raybench fetch" in str(caught.value)


def test_what_is_wrong_with_data_comes_with_what_is_missing(sweep: Path, weights_dir: Path) -> None:
    (sweep.parent / "images" / "dog" / "003.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        run(sweep, overrides=["backbones=[timm:test_resnet]"])
    assert len(caught.value.mistakes) == 2


def test_fetch_leaves_nothing_to_be_fetched(sweep: Path, weights_dir: Path) -> None:
    publish(weights_dir, 0)
    told: list[str] = []
    overrides = ["backbones=[timm:test_resnet]"]
    found = fetch(sweep, home=sweep.parent / "home", overrides=overrides, tell=told.append)
    (facts,) = found.facts.values()
    assert facts["weights_sha256"] and facts["data_digest"] and facts["parameters"]
    assert any("test_resnet.r160_in1k.pth" in line for line in told)
    assert not (sweep.parent / "home" / "ledger.db").exists()


def test_folds_test_every_image_once(sweep: Path) -> None:
    folds = "[{name: mine, path: images, folds: 4}]"
    result = run(sweep, overrides=[f"datasets={folds}", "final.seeds=[0, 1]"])
    (pair,) = result.snapshot.pairs
    assert result.exit_code == 0 and pair.folds == 4 and len(pair.final_trials()) == 8
    home = sweep.parent / "home"
    for seed in (0, 1):
        finals = [t for t in pair.final_trials() if t.seed == seed]
        assert [t.fold for t in finals] == [0, 1, 2, 3]
        files = [home / "checkpoints" / str(t.end and t.end.predictions_path) for t in finals]
        tested = [name for file in files for name in ids_of_predictions(file)]
        assert len(tested) == len(set(tested)) == 24
    (shown,) = raybench.open(home=home).status()["pairs"]
    assert shown["final"]["folds"] == [0, 1, 2, 3] * 2
    assert shown["final"]["seeds"] == [0] * 4 + [1] * 4
    again = run(sweep, overrides=[f"datasets={folds}", "final.seeds=[0, 1]"])
    assert again.snapshot.pairs[0].trials == pair.trials
