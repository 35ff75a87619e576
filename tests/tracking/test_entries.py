"""What a trial's run should hold."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from unittest import mock

import pytest

from raybench.records import TrialRow, TrialState
from raybench.tracking.entries import RunEntry, trial_entry
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial, with_weights


def entry_of(row: TrialRow, root: Path = Path("/checkpoints")) -> RunEntry:
    owner = pair(row)
    return trial_entry(FakeLedger(owner).snapshot(), owner, row, root)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("waiting", "SCHEDULED"),
        ("running", "RUNNING"),
        ("complete", "FINISHED"),
        ("pruned", "FINISHED"),
        ("failed", "FAILED"),
    ],
)
def test_each_state_has_a_status_and_stands_in_a_tag(state: TrialState, status: str) -> None:
    entry = entry_of(trial(0, (0.5,), state=state))
    assert entry.status == status
    assert entry.tags["raybench.state"] == state


def test_tags_name_the_trial_and_its_task() -> None:
    tags = entry_of(trial(3, (0.5,))).tags
    wanted = {
        "raybench.sweep": "demo",
        "raybench.pair": "p",
        "raybench.phase": "search",
        "raybench.trial": "p/search/3",
        "raybench.attempt": "1",
        "backbone": "resnet18 [none]",
        "dataset": "digits",
        "subset": "full",
        "domain": "handwriting",
        "facts.device": "cpu",
    }
    assert {key: tags.get(key) for key in wanted} == wanted


def test_a_failure_says_why() -> None:
    row = trial(0)
    assert row.end is not None
    end = dataclasses.replace(row.end, state="failed", failure="oom", reason="needs 9 GB of 8")
    tags = entry_of(dataclasses.replace(row, state="failed", end=end)).tags
    assert (tags["raybench.failure"], tags["raybench.reason"]) == ("oom", "needs 9 GB of 8")


def test_the_end_of_a_drain_is_not_sent() -> None:
    row = trial(0, (0.5,), state="waiting")
    assert row.end is not None
    row = dataclasses.replace(row, end=dataclasses.replace(row.end, state="interrupted"))
    entry = entry_of(row)
    assert entry.end_ms is None
    assert not [p for p in entry.points if p.key.startswith("best/")]


def test_points_carry_the_records_own_time_and_epoch() -> None:
    row = trial(0, (0.5, 0.7))
    points = [p for p in entry_of(row).points if p.key == "val/accuracy"]
    assert [(p.value, p.timestamp_ms, p.step) for p in points] == [
        (e.metrics["val/accuracy"], round(e.finished_at * 1000), e.epoch) for e in row.epochs
    ]


def test_a_run_ends_with_its_best_and_test_metrics() -> None:
    row = final(seed=1, test_accuracy=0.9, oracle={"test/accuracy": 0.95})
    last = {p.key: p.value for p in entry_of(row).points}
    assert last["best/accuracy"] == 0.8
    assert last["best/epoch"] == 2
    assert last["test/accuracy"] == 0.9
    assert last["oracle/accuracy"] == 0.95


def test_names_say_what_was_tried() -> None:
    assert entry_of(trial(1, (0.5,))).name == "search 1 lr=0.002"
    assert entry_of(final(seed=1, test_accuracy=0.9)).name == "final seed 1 of trial 0"
    assert entry_of(final(seed=1, test_accuracy=0.9)).params["final_seed"] == "1"


def test_weights_are_referenced_by_absolute_uri(kept_weights: Path) -> None:
    entry = entry_of(with_weights(final(0, 0.9)), kept_weights)
    assert entry.tags["raybench.weights"] == f"file://{kept_weights}/p/0/best.safetensors"
    assert entry.tags["raybench.weights_sha256"] == "ab"
    assert "test/accuracy" in entry.scores


@pytest.mark.parametrize("answer", [False, OSError(errno.ESTALE, "stale file handle")])
def test_weights_that_are_not_there_are_not_referenced(
    kept_weights: Path, answer: bool | OSError
) -> None:
    """Nor those of a storage that does not answer."""
    with mock.patch.object(Path, "is_file", side_effect=[answer]):
        entry = entry_of(with_weights(final(0, 0.9)), kept_weights)
    assert entry.weights is None and not entry.scores
    assert not [tag for tag in entry.tags if tag.startswith("raybench.weights")]
    assert "test/accuracy" in {point.key for point in entry.points}
