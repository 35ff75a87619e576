"""What a pair's run should hold."""

from __future__ import annotations

import dataclasses

import pytest

from raybench.records import PairRow, PairState
from raybench.tracking.entries import Point
from raybench.tracking.summary import condense, exported_trial, pair_entry
from tests.tracking.fake_ledger import final, pair, trial


def last_values(row: PairRow) -> dict[str, float]:
    return {p.key: p.value for p in pair_entry("demo", "val/accuracy", row).points}


def done_pair() -> PairRow:
    weights = {"weights_path": "w", "weights_sha256": "s"}
    finals = (final(0, 0.90, **weights), final(1, 0.94, **weights))
    return pair(trial(0, (0.6,)), trial(1, (0.8,)), trial(2, (0.7,)), *finals, state="done")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("waiting", "SCHEDULED"),
        ("searching", "RUNNING"),
        ("final", "RUNNING"),
        ("done", "FINISHED"),
        ("failed", "FAILED"),
        ("incomplete", "KILLED"),
    ],
)
def test_each_state_has_a_status(state: PairState, status: str) -> None:
    assert pair_entry("demo", "val/accuracy", pair(state=state)).status == status


def test_the_search_is_a_curve_of_the_best_so_far() -> None:
    points = pair_entry("demo", "val/accuracy", done_pair()).points
    curve = [(p.step, p.value) for p in points if p.key == "best/accuracy"]
    assert curve == [(1, 0.6), (2, 0.8), (3, 0.8)]


def test_choice_and_test_interval_are_metrics_once_known() -> None:
    searching = dataclasses.replace(done_pair(), state="searching")
    assert set(last_values(searching)) == {"best/accuracy"}
    values = last_values(done_pair())
    assert values["chosen/lr"] == 0.002
    assert values["chosen/trial"] == 1
    assert values["test/accuracy"] == pytest.approx(0.92)
    # t(0.975, 1) = 12.706; half width 12.706 * 0.0283 / sqrt(2) = 0.254, clipped above at 1
    assert values["test/accuracy_ci95_low"] == pytest.approx(0.92 - 0.2541, abs=1e-3)
    assert values["test/accuracy_ci95_high"] == 1.0


def test_the_exported_trial_is_the_first_seed_not_the_best() -> None:
    exported = exported_trial(done_pair())
    assert exported is not None and exported.seed == 0
    assert exported_trial(dataclasses.replace(done_pair(), state="final")) is None


def test_condensed_trials_give_the_same_summary() -> None:
    row = pair(trial(0, (0.2, 0.7, 0.6, 0.5)), trial(1, (0.1, 0.3, 0.65)))
    short = dataclasses.replace(row, trials=tuple(condense(t, "val/accuracy") for t in row.trials))
    assert [len(t.epochs) for t in short.trials] == [2, 2]
    before: tuple[Point, ...] = pair_entry("demo", "val/accuracy", row).points
    assert pair_entry("demo", "val/accuracy", short).points == before
