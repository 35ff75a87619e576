"""What an attempt finds of earlier ones, before it asks for anything new."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from raybench.plan import Pair, Plan
from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.spec import SweepSpec
from raybench.sweep.ledger import Ledger, TrialKey
from raybench.sweep.progress import finals_wanted, is_exhausted, pair_state
from raybench.sweep.retries import is_owed_again, taken_up_text, times_taken_up


def is_done(pair: Pair, row: PairRow | None, spec: SweepSpec) -> bool:
    """Whether a pair owes nothing of what the file asks for now, whatever it asked for before."""
    if row is None:
        return False
    exhausted = is_exhausted(row.trials, spec.budget.device_hours)
    wanted = finals_wanted(
        row.trials, pair.final_seeds, pair.folds, pair.final_configs, spec.search.metric
    )
    state = pair_state(row.trials, pair.quota, exhausted, wanted, deadline=False)
    return state == "done" and not any(is_owed_again(trial) for trial in row.trials)


def done_pairs(plan: Plan, before: SweepSnapshot) -> set[str]:
    """Ids of the pairs that owe nothing."""
    known = {row.id: row for row in before.pairs}
    return {pair.id for pair in plan.pairs if is_done(pair, known.get(pair.id), plan.spec)}


def trials_to_go_on(
    plan: Plan, before: SweepSnapshot, ledger: Ledger, take_up: bool
) -> dict[str, list[TrialRow]]:
    """By pair, its trials; with ``take_up`` those whose environment had failed are owed again."""
    known = {row.id: row.trials for row in before.pairs}
    return {
        pair.id: [
            _taken_up(row, ledger) if take_up and is_owed_again(row) else row
            for row in known.get(pair.id, ())
        ]
        for pair in plan.pairs
    }


def _taken_up(row: TrialRow, ledger: Ledger) -> TrialRow:
    assert row.end is not None
    failures = (*row.failures, taken_up_text(row.end))
    key = (row.pair_id, row.phase, row.number)
    ledger.take_back(key, list(failures), times_taken_up(row) + 1)
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
