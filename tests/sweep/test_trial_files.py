"""What trials leave on disk: what their ends name stays, and nothing else for long."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from raybench.records import EndRecord, FailureClass, TrialRow
from raybench.sweep import trial_files
from raybench.sweep.ledger import TrialKey
from raybench.sweep.retries import taken_up_text
from raybench.sweep.trial_files import TrialFiles, checkpoint_folder, keeps_weights
from tests.specs import pairs_spec

KEY: TrialKey = ("pair", "search", 0)


def _files(root: Path, attempt: int = 2) -> TrialFiles:
    return TrialFiles(root, pairs_spec(1, 1), attempt)


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


def test_everything_but_what_the_end_names_goes(tmp_path: Path) -> None:
    folder = _leave(
        tmp_path, "a1/e3-b0/model", "a1/best.safetensors", "a2/best.safetensors", "a2/end.json",
        "a2r1/.tmp-e4-b0/model", "a3/e1-b0/model",
    )  # fmt: skip
    _files(tmp_path).tidy(KEY, _end(tmp_path, folder))
    assert _left(folder) == {"a2/best.safetensors", "a3/e1-b0/model"}


@pytest.mark.parametrize(
    ("failure", "stays"),
    [("disk", True), ("infrastructure", True), ("user", False), ("diverged", False)],
)
def test_what_will_be_taken_up_again_keeps_its_checkpoints(
    tmp_path: Path, failure: FailureClass, stays: bool
) -> None:
    folder = _leave(tmp_path, "a1/e3-b0/model")
    _files(tmp_path).tidy(KEY, _end(tmp_path, folder, failure))
    assert bool(_left(folder)) == stays


@pytest.mark.parametrize(("times", "stays"), [(0, True), (1, True), (2, False)])
def test_what_was_taken_up_in_vain_goes_in_the_end(tmp_path: Path, times: int, stays: bool) -> None:
    folder = _leave(tmp_path, "a1/e3-b0/model")
    end = _end(tmp_path, folder, "disk")
    row = TrialRow("pair", "search", 0, "failed", {}, (), end)
    _files(tmp_path).tidy_all([replace(row, failures=(taken_up_text(end),) * times)])
    assert bool(_left(folder)) == stays


def test_what_a_late_process_writes_goes_at_the_end_or_at_the_next_start(tmp_path: Path) -> None:
    folder = _leave(tmp_path, "a2/best.safetensors")
    end, files = _end(tmp_path, folder), _files(tmp_path)
    files.tidy(KEY, end)
    _leave(tmp_path, "a1/e3-b0/model")
    files.tidy_again()
    assert _left(folder) == {"a2/best.safetensors"}
    _leave(tmp_path, "a1/e3-b0/model")
    row = TrialRow("pair", "search", 0, "complete", {}, (), end)
    _files(tmp_path, 3).tidy_all([replace(row, state="running")])
    assert "a1/e3-b0/model" in _left(folder)
    _files(tmp_path, 3).tidy_all([row])
    assert _left(folder) == {"a2/best.safetensors"}


def test_a_folder_that_cannot_be_removed_is_said_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("as planned")

    monkeypatch.setattr(trial_files, "tidy", refuse)
    with caplog.at_level(logging.WARNING):
        _files(tmp_path).tidy(KEY, _end(tmp_path, tmp_path, "user"))
    assert "pair/search/0 are left behind: as planned" in caplog.text


def test_whose_weights_are_kept() -> None:
    every = pairs_spec(1, 1)
    winners = every.model_copy(update={"keep": "winners"})
    assert keeps_weights(every, "search") and keeps_weights(every, "final")
    assert not keeps_weights(winners, "search") and keeps_weights(winners, "final")
    assert _files(Path("nowhere")).best_weights(KEY, 0) is None
