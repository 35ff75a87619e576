"""A board's running totals say what the pure functions of ``progress`` would count."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench.plan import make_plan
from raybench.records import EndRecord, TrialRow
from raybench.selection import select_winner
from raybench.sweep.board import PairBoard
from raybench.sweep.progress import (
    finals_wanted,
    is_exhausted,
    search_device_seconds,
    search_owed,
)
from tests.specs import pairs_spec
from tests.sweep.simulation import complete_record, epoch_record, failed_record

METRIC, QUOTA = "val/accuracy", 6


def _board(rows: list[TrialRow], device_hours: float | None) -> PairBoard:
    spec = pairs_spec(1, QUOTA)
    budget = spec.budget.model_copy(update={"device_hours": device_hours})
    spec = spec.model_copy(update={"budget": budget})
    (pair,) = make_plan(spec).pairs
    return PairBoard(pair, spec, rows)


def _end(rng: random.Random) -> EndRecord:
    value = rng.choice([0.2, 0.4, 0.4])
    return rng.choice(
        [complete_record(1, value), failed_record("user"), EndRecord("pruned", 1.7e9)]
    )


def _check(board: PairBoard, device_hours: float | None) -> None:
    rows = board.rows
    exhausted = is_exhausted(rows, device_hours)
    seeds, configs = board.pair.final_seeds, board.pair.final_configs
    wanted = finals_wanted(rows, seeds, 1, configs, METRIC)
    winner = select_winner(rows, METRIC)
    progress = board.progress(False)
    assert board.exhausted == exhausted
    assert board.search_is_over == (search_owed(rows, QUOTA, exhausted) == 0)
    assert board.asked == sum(row.phase == "search" for row in rows)
    assert progress.failed == sum(row.state == "failed" for row in rows)
    assert progress.device_seconds == pytest.approx(search_device_seconds(rows))
    assert progress.best == (None if winner is None else winner.best_value(METRIC))
    assert progress.search_done + search_owed(rows, QUOTA, False) == QUOTA
    assert {run.source for run in board.finals_owed()} <= {run.source for run in wanted}
    assert board.finals_open() <= (len(wanted) or len(seeds) * len(configs))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), device_hours=st.sampled_from([None, 0.001]))
def test_totals_equal_a_count_of_all_trials(seed: int, device_hours: float | None) -> None:
    """After every change, and for a board made anew from the same rows, as a resume does."""
    rng = random.Random(seed)
    board = _board([], device_hours)
    pair_id = board.pair.id
    for number in range(QUOTA):
        key = board.add(TrialRow(pair_id, "search", number, "running", {"lr": 1e-3}, (), None))
        for epoch in range(1, rng.randint(1, 3)):
            assert board.add_epoch(key, epoch_record(epoch, rng.random()))
            assert not board.add_epoch(key, epoch_record(epoch, rng.random()))
            _check(board, device_hours)
        if rng.random() < 0.2:
            board.set_state(key, "waiting")
            board.add_failure(key, "infrastructure: node died")
            _check(board, device_hours)
            board.set_state(key, "running")
        if rng.random() < 0.8:
            end = _end(rng)
            board.set_state(key, end.state, end)  # type: ignore[arg-type]
        _check(board, device_hours)
    again = _board(board.rows, device_hours)
    _check(again, device_hours)
    assert again.has_failed == board.has_failed
    assert again.finals_owed() == board.finals_owed()
    assert again.trial_seconds() == pytest.approx(board.trial_seconds())


def test_early_stop_sees_epochs_of_earlier_lives() -> None:
    """Rungs are rebuilt from rows: the same trial is stopped before and after a resume."""
    spec = pairs_spec(1, 8, search={"sampler": "random", "ladder": 1, "early_stop": "asha"})
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"epochs": 9})})
    (pair,) = make_plan(spec).pairs
    board = PairBoard(pair, spec, ())
    for number in range(4):
        key = board.add(TrialRow(pair.id, "search", number, "running", {"lr": 1e-3}, (), None))
        board.add_epoch(key, epoch_record(1, 0.9 - number / 10))
    again = PairBoard(pair, spec, board.rows)
    keys = [(pair.id, "search", number) for number in range(4)]
    assert [board.stops_early(key) for key in keys] == [again.stops_early(key) for key in keys]  # type: ignore[arg-type]
    assert board.stops_early(keys[3])  # type: ignore[arg-type]
