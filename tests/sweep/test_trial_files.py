"""What trials leave behind: what their ends name stays, and nothing else for long.

The same in a folder and on a store, whose twin of ``collect`` and ``tidy`` passes the same tests.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from raybench.errors import ResourceError
from raybench.records import EndRecord, FailureClass, TrialRow
from raybench.storage import Store
from raybench.sweep import trial_files
from raybench.sweep.ledger import TrialKey
from raybench.sweep.retries import taken_up_text
from raybench.sweep.trial_files import TrialFiles, checkpoint_folder, keeps_weights
from raybench.trial.checkpoint import CheckpointFolder
from tests.specs import pairs_spec

KEY: TrialKey = ("pair", "search", 0)
FOLDER = checkpoint_folder(pairs_spec(1, 1).name, KEY)
MakeFiles = Callable[..., TrialFiles]


@pytest.fixture(params=["folder", "store"])
def files_of(request: pytest.FixtureRequest) -> MakeFiles:
    """``files_of(root, attempt)``."""

    def make(root: Path, attempt: int = 2) -> TrialFiles:
        place = root if request.param == "folder" else Store(root)
        return TrialFiles(place, pairs_spec(1, 1), attempt)

    return make


def _leave(root: Path, *names: str) -> Path:
    """Files of the trial; returns its folder."""
    folder = root / checkpoint_folder(pairs_spec(1, 1).name, KEY)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def _left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _end(root: Path, folder: Path, failure: FailureClass | None = None) -> EndRecord:
    if failure is not None:
        return EndRecord("failed", 0.0, failure=failure)
    weights = str((folder / "a2/best.safetensors").relative_to(root))
    return EndRecord("complete", 0.0, weights_path=weights)


def test_everything_but_what_the_end_names_goes(files_of: MakeFiles, tmp_path: Path) -> None:
    folder = _leave(
        tmp_path, "a1/e3-b0/model", "a1/best.safetensors", "a2/best.safetensors", "a2/end.json",
        "a2r1/.tmp-e4-b0/model", "a3/e1-b0/model",
    )  # fmt: skip
    files_of(tmp_path).tidy(KEY, _end(tmp_path, folder))
    assert _left(folder) == {"a2/best.safetensors", "a3/e1-b0/model"}


@pytest.mark.parametrize(
    ("failure", "stays"),
    [("disk", True), ("infrastructure", True), ("user", False), ("diverged", False)],
)
def test_what_will_be_taken_up_again_keeps_its_checkpoints(
    files_of: MakeFiles, tmp_path: Path, failure: FailureClass, stays: bool
) -> None:
    folder = _leave(tmp_path, "a1/e3-b0/model")
    files_of(tmp_path).tidy(KEY, _end(tmp_path, folder, failure))
    assert bool(_left(folder)) == stays


@pytest.mark.parametrize(("times", "stays"), [(0, True), (1, True), (2, False)])
def test_what_was_taken_up_in_vain_goes_in_the_end(
    files_of: MakeFiles, tmp_path: Path, times: int, stays: bool
) -> None:
    folder = _leave(tmp_path, "a1/e3-b0/model")
    end = _end(tmp_path, folder, "disk")
    row = TrialRow("pair", "search", 0, "failed", {}, (), end)
    files_of(tmp_path).tidy_all([replace(row, failures=(taken_up_text(end),) * times)])
    assert bool(_left(folder)) == stays


def test_what_a_late_process_writes_goes_at_the_end_or_at_the_next_start(
    files_of: MakeFiles, tmp_path: Path
) -> None:
    folder = _leave(tmp_path, "a2/best.safetensors")
    end, files = _end(tmp_path, folder), files_of(tmp_path)
    files.tidy(KEY, end)
    _leave(tmp_path, "a1/e3-b0/model")
    files.tidy_again()
    assert _left(folder) == {"a2/best.safetensors"}
    _leave(tmp_path, "a1/e3-b0/model")
    row = TrialRow("pair", "search", 0, "complete", {}, (), end)
    files_of(tmp_path, 3).tidy_all([replace(row, state="running")])
    assert "a1/e3-b0/model" in _left(folder)
    files_of(tmp_path, 3).tidy_all([row])
    assert _left(folder) == {"a2/best.safetensors"}


def test_a_folder_that_cannot_be_removed_is_said_and_costs_nothing_else(
    files_of: MakeFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("as planned")

    monkeypatch.setattr(trial_files, "tidy", refuse)
    monkeypatch.setattr(trial_files, "tidy_stored", refuse)
    with caplog.at_level(logging.WARNING):
        files_of(tmp_path).tidy(KEY, _end(tmp_path, tmp_path, "user"))
    assert "pair/search/0 are left behind: as planned" in caplog.text


def test_whose_weights_are_kept() -> None:
    every = pairs_spec(1, 1)
    winners = every.model_copy(update={"keep": "winners"})
    assert keeps_weights(every, "search") and keeps_weights(every, "final")
    assert not keeps_weights(winners, "search") and keeps_weights(winners, "final")
    files = TrialFiles(Path("nowhere"), winners, 2)
    assert files.best_weights(KEY, 0) is None


# -- best weights of a trial that is stopped ---------------------------------------------------


def _save(
    root: Path, life: tuple[int, int], epoch: int, best: int | None, ema: bool = False
) -> None:
    def weights(of: int) -> dict[str, torch.Tensor]:
        return {"w": torch.full((3,), float(of))}

    tensors = {"model": weights(-epoch if ema else epoch), "optimizer": {}}
    if ema:
        tensors["ema"] = weights(epoch)
    if best not in (None, epoch):
        tensors["best"] = weights(best)
    folder = CheckpointFolder(root / FOLDER, *life)
    folder.save(epoch, 0, tensors, {"progress": {"best_epoch": best}})


def _weights(root: Path, found: tuple[str, str] | None) -> tuple[str, float]:
    """Where the weights are below the trial's folder, and of which epoch."""
    assert found is not None
    content = (root / found[0]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == found[1]
    return found[0].removeprefix(f"{FOLDER}/"), float(load(content)["w"][0])


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("best", [1, 2])
def test_the_best_weights_so_far_are_collected(
    files_of: MakeFiles, tmp_path: Path, best: int, ema: bool
) -> None:
    for epoch in (1, 2):
        _save(tmp_path, (1, 0), epoch, min(epoch, best), ema)
    _save(tmp_path, (3, 0), 9, 9)
    found = files_of(tmp_path).best_weights(KEY, 1)
    assert _weights(tmp_path, found) == ("a2r1/best.safetensors", best)
    assert files_of(tmp_path).best_weights(KEY, 1) == found, "a driver that died asks again"


def test_the_latest_life_with_a_sound_checkpoint_counts(
    files_of: MakeFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands further in an older one may be another configuration's."""
    _save(tmp_path, (1, 0), 7, 7)
    _save(tmp_path, (2, 0), 3, 3)
    _save(tmp_path, (2, 0), 4, 3)
    (tmp_path / FOLDER / "a2/e4-b0/best.safetensors").write_bytes(b"cut")
    found = files_of(tmp_path).best_weights(KEY, 0)
    assert _weights(tmp_path, found) == ("a2/best.safetensors", 3)
    assert "passing over checkpoint" in caplog.text


@pytest.mark.parametrize("name", ["manifest.json", "state.json"])
def test_a_checkpoint_that_is_not_whole_is_passed_over(
    files_of: MakeFiles, tmp_path: Path, name: str
) -> None:
    _save(tmp_path, (2, 0), 3, 3)
    _save(tmp_path, (2, 0), 4, 4)
    (tmp_path / FOLDER / "a2/e4-b0" / name).unlink()
    assert _weights(tmp_path, files_of(tmp_path).best_weights(KEY, 0))[1] == 3


def test_where_nothing_is_whole_there_are_none(files_of: MakeFiles, tmp_path: Path) -> None:
    _save(tmp_path, (2, 0), 3, 3)
    (tmp_path / FOLDER / "a2/e3-b0/state.json").write_text("{}")
    assert files_of(tmp_path).best_weights(KEY, 0) is None


def test_before_the_first_epoch_there_are_none(files_of: MakeFiles, tmp_path: Path) -> None:
    assert files_of(tmp_path).best_weights(KEY, 0) is None
    _save(tmp_path, (2, 0), 0, None)
    assert files_of(tmp_path).best_weights(KEY, 0) is None


def test_a_store_that_is_away_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a folder's: the trial fails as such and is taken up again; to tidy up can wait."""

    def away(*_: object) -> None:
        raise ResourceError("the store is away")

    monkeypatch.setattr(Store, "sizes", away)
    files = TrialFiles(Store(tmp_path), pairs_spec(1, 1), 2)
    with pytest.raises(OSError, match="the store is away"):
        files.best_weights(KEY, 0)
    files.tidy(KEY, EndRecord("failed", 0.0, failure="user"))
    files.tidy_all([])
    assert caplog.text.count("the store is away") == 2
