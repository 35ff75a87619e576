"""What an attempt finds of earlier ones, before it asks for anything new."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from raybench.plan import Pair, Plan
from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.sweep.ledger import Ledger, TrialKey
from raybench.sweep.retries import TAKEN_UP_AGAIN


def is_done(pair: Pair, row: PairRow | None) -> bool:
    """Whether the pair is done, and the file asks for no more than it did then."""
    return (
        row is not None
        and row.state == "done"
        and pair.quota <= row.quota
        and set(pair.final_seeds) <= set(row.final_seeds)
        and set(pair.final_configs) <= set(row.final_configs)
    )


def nothing_is_owed(plan: Plan, before: SweepSnapshot) -> bool:
    """Whether all that the file asks for has been run, and nothing is to be taken up again."""
    known = {row.id: row for row in before.pairs}
    rows = [known[pair.id] for pair in plan.pairs if is_done(pair, known.get(pair.id))]
    failures = {trial.end.failure for row in rows for trial in row.trials if trial.end is not None}
    return len(rows) == len(plan.pairs) and not failures & TAKEN_UP_AGAIN


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
