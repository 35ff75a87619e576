"""Being interrupted anywhere, and told again, changes nothing."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from raybench.records import EpochRecord
from raybench.trial import loop
from raybench.trial.checkpoint import CheckpointFolder, collect
from raybench.trial.failures import DivergedError
from raybench.trial.loop import run_trial
from raybench.trial.predict import read_end
from raybench.trial.session import Session
from tests.trial.conftest import RICH, MakeConfig, run, stop_at, timeless


# One epoch polls 4 times in training (27 images, batches of 8) and 4 times in validation.
@pytest.mark.parametrize("poll", range(37))
def test_interrupted_anywhere_and_resumed_is_uninterrupted(
    make_config: MakeConfig, poll: int, reference: tuple[Any, Any]
) -> None:
    final = {"read_test": True, "oracle": False}
    config = make_config(config=final, **RICH)
    before, end = run(config, stop_at(poll))
    if poll < 36:
        assert end.state == "interrupted"
    resumed = dataclasses.replace(config, attempt=2, known_epochs=len(before))
    after, end = run(resumed)
    assert timeless(before + after) == timeless(reference[0])
    assert end.weights_sha256 == reference[1].weights_sha256
    assert end.predictions_sha256 == reference[1].predictions_sha256
    assert end.test == reference[1].test


@pytest.fixture(scope="module")
def _reference_store() -> dict[str, Any]:
    return {}


@pytest.fixture
def reference(make_config: MakeConfig, _reference_store: dict[str, Any]) -> tuple[Any, Any]:
    """The same trial, never interrupted; trained once for all cases."""
    if not _reference_store:
        config = make_config(folder="reference", config={"read_test": True}, **RICH)
        _reference_store["run"] = run(config)
    result: tuple[Any, Any] = _reference_store["run"]
    return result


def test_interrupted_after_every_batch(make_config: MakeConfig) -> None:
    whole, _ = run(make_config(folder="whole"))
    config = make_config(folder="pieces")
    pieces: list[EpochRecord] = []
    for attempt in range(1, 40):
        attempt_config = dataclasses.replace(config, attempt=attempt, known_epochs=len(pieces))
        epochs, end = run(attempt_config, stop_at(5))  # validation needs four in a row
        pieces += epochs
        if end.state == "complete":
            break
    assert attempt > 3
    assert timeless(pieces) == timeless(whole)


def test_records_that_the_ledger_lacks_come_first(make_config: MakeConfig) -> None:
    config = make_config()
    before, _ = run(config, stop_at(18))
    assert len(before) == 2
    after, _ = run(dataclasses.replace(config, attempt=2, known_epochs=1))
    assert [record.epoch for record in after] == [2, 3]
    assert after[0] == before[1]


@pytest.mark.parametrize("every_s", [0.0, 0.05, 1000.0])
@pytest.mark.parametrize("prompt", [False, True])
def test_no_record_is_told_before_it_is_on_disk(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, every_s: float, prompt: bool
) -> None:
    """A kill after any record finds a checkpoint of that epoch, or of a later one, or the end."""
    config = make_config(config={"prompt": prompt, "read_test": True}, epochs=4, folder="held")
    reference, reference_end = run(make_config(config={"read_test": True}, epochs=4))
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", every_s)
    folder = Path(config.checkpoint_root) / config.checkpoint_dir
    told = []
    for record in run_trial(config):
        saved = [int(path.name[1:].split("-")[0]) for path in folder.glob("a1/e*-b0")]
        ended = read_end(config, [folder / "a1"]) is not None
        if isinstance(record, EpochRecord):
            assert ended or max(saved, default=0) >= record.epoch
            assert not prompt or max(saved) == record.epoch, "one by one"
            told.append(record)
        else:
            assert record.weights_sha256 == reference_end.weights_sha256
            assert record.test == reference_end.test
    assert timeless(told) == timeless(reference)


def test_short_trials_write_no_checkpoints(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cost more than the training that a kill would lose."""
    saved: list[int] = []
    save = CheckpointFolder.save
    monkeypatch.setattr(
        CheckpointFolder, "save", lambda *args: saved.append(args[1]) or save(*args)
    )
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 1000.0)
    epochs, end = run(make_config())
    assert (len(epochs), end.state) == (3, "complete")
    assert saved == []


def test_what_was_held_back_is_told_where_the_trial_fails(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epochs have cost device time, and say how far it came."""
    train = loop._train_epoch

    def failing(session: Session, should_stop: Callable[[], bool]) -> None:
        if session.progress.epoch == 2:
            raise DivergedError("as planned")
        train(session, should_stop)

    monkeypatch.setattr(loop, "_train_epoch", failing)
    epochs, end = run(make_config())
    assert [record.epoch for record in epochs] == [1, 2]
    assert end.failure == "diverged"


def test_a_finished_trial_is_told_again_without_training(make_config: MakeConfig) -> None:
    config = make_config(config={"read_test": True})
    epochs, end = run(config)
    again, same_end = run(dataclasses.replace(config, attempt=2, known_epochs=1))
    assert again == epochs[1:]
    assert same_end == end


def test_a_finished_trial_whose_weights_changed_is_run_again(
    make_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    _, end = run(config)
    (tmp_path / "checkpoints" / str(end.weights_path)).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        epochs, again = run(config)
    assert "gone or changed" in caplog.text
    assert len(epochs) == 3
    assert again.weights_sha256 == end.weights_sha256


def test_a_finished_trial_of_another_configuration_is_run(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """A ledger put back from a copy asks anew, and may ask something else under the number."""
    run(make_config())
    other = make_config(lr=0.02)
    with caplog.at_level(logging.WARNING):
        epochs, end = run(dataclasses.replace(other, attempt=2))
    assert "of another configuration" in caplog.text
    assert len(epochs) == 3
    _, fresh = run(dataclasses.replace(other, checkpoint_dir="fresh"))
    assert end.weights_sha256 == fresh.weights_sha256


def test_what_a_lost_past_left_is_not_taken_for_this_trials(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """A ledger put back from a copy counts its attempts anew, so a life's folder may be old."""
    config = make_config(config={"prompt": True})
    own = tmp_path / "checkpoints/trial/a1"
    own.mkdir(parents=True)
    for name in ("best.safetensors", "predictions.safetensors"):
        (own / name).write_bytes(b"of another trial")
    records = run_trial(config)
    next(records)
    records.close()
    assert not (own / "best.safetensors").exists()
    assert not (own / "predictions.safetensors").exists()
    collected = collect(Path(config.checkpoint_root), config.checkpoint_dir, (1, 0))
    assert collected is not None
    assert load_file(Path(config.checkpoint_root) / collected[0])


def test_weights_that_are_not_to_be_kept_are_not_written(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    for method in ("finetune", "linear_probe"):
        config = make_config(config={"keep_weights": False}, folder=method, method=method)
        _, end = run(config)
        assert (end.state, end.weights_path, end.weights_sha256) == ("complete", None, None)
        assert not list((tmp_path / "checkpoints" / method).rglob("best.safetensors"))
        _, again = run(dataclasses.replace(config, attempt=2))
        assert again == end


def test_the_checkpoints_thread_count_wins(make_config: MakeConfig) -> None:
    threads = torch.get_num_threads()
    config = make_config(config={"threads": 2})
    run(config, stop_at(5))
    _, end = run(dataclasses.replace(config, attempt=2, threads=1))
    assert end.facts["threads"] == 2
    assert torch.get_num_threads() == threads
