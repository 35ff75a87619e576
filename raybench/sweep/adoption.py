"""What an attempt finds of earlier ones, before it asks for anything new."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from raybench.records import SweepSnapshot, TrialRow
from raybench.sweep.ledger import Ledger, TrialKey
from raybench.sweep.retries import TAKEN_UP_AGAIN


def take_up(row: TrialRow, ledger: Ledger) -> TrialRow:
    """A trial as it goes on: where only its environment had failed, it is owed again."""
    if row.end is None or row.end.failure not in TAKEN_UP_AGAIN:
        return row
    failures = (*row.failures, f"{row.end.failure}: {row.end.reason}")
    ledger.take_back((row.pair_id, row.phase, row.number), list(failures))
    return replace(row, state="waiting", end=None, failures=failures)


def former_trials(snapshot: SweepSnapshot, current: Collection[str]) -> list[TrialKey]:
    """Trials that run by the ledger, of pairs that have left the file: nobody runs them now."""
    return [
        (row.pair_id, row.phase, row.number)
        for pair in snapshot.pairs
        if pair.id not in current
        for row in pair.trials
        if row.state == "running"
    ]
