"""What a pair still owes and in which state it is: pure functions over its trials.

The searcher (in memory) and the reader (from SQL) both use these, so ``status`` and the running
sweep cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from raybench.records import PairState, TrialRow
from raybench.selection import select_winner

TERMINAL = frozenset({"complete", "pruned", "failed"})
MIN_PAIR_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class FinalRun:
    """One final trial: the parameters of search trial ``source`` under ``seed``, on ``fold``."""

    seed: int
    source: int
    fold: int = 0


def most_at_once(sampler: str, quota: int) -> int:
    """Search trials of one pair that may run together.

    With TPE at most half the quota (but eight): more at once than it has results to learn from
    turns the sampler into random search.
    """
    return quota if sampler != "tpe" else max(MIN_PAIR_CONCURRENCY, math.ceil(quota / 2))


def search_of(trials: Iterable[TrialRow]) -> list[TrialRow]:
    return [trial for trial in trials if trial.phase == "search"]


def search_device_seconds(trials: Iterable[TrialRow]) -> float:
    return sum(trial.device_seconds for trial in search_of(trials))


def is_exhausted(trials: Iterable[TrialRow], device_hours: float | None) -> bool:
    """Whether the pair's search has spent its device hours."""
    return device_hours is not None and search_device_seconds(trials) >= device_hours * 3600


def search_owed(trials: Sequence[TrialRow], quota: int, exhausted: bool) -> int:
    """Search trials that are not terminal yet, asked or not.

    An exhausted pair owes only what is still running; it ends at its next epoch.
    """
    search = search_of(trials)
    terminal = sum(trial.state in TERMINAL for trial in search)
    if exhausted:
        return sum(trial.state == "running" for trial in search)
    return max(0, quota - terminal)


def final_sources(trials: Iterable[TrialRow], configs: Collection[str], metric: str) -> set[int]:
    """Search trials whose parameters the finals run: the winner's; trial 0's for ``default``."""
    winner = select_winner(trials, metric)
    if winner is None:
        return set()
    sources = {"tuned": winner.number, "default": 0}
    return {sources[config] for config in configs}


def finals_wanted(
    trials: Iterable[TrialRow],
    seeds: Sequence[int],
    folds: int,
    configs: Collection[str],
    metric: str,
) -> tuple[FinalRun, ...]:
    """Every final the pair needs now, whether it exists or not, seed by seed."""
    sources = sorted(final_sources(trials, configs, metric))
    return tuple(
        FinalRun(seed, source, fold)
        for seed in seeds
        for fold in range(folds)
        for source in sources
    )


def final_run(trial: TrialRow) -> FinalRun:
    assert trial.seed is not None
    assert trial.source is not None
    return FinalRun(trial.seed, trial.source, trial.fold)


def pair_state(
    trials: Sequence[TrialRow],
    quota: int,
    exhausted: bool,
    wanted: Sequence[FinalRun],
    deadline: bool,
) -> PairState:
    """See design section 5: waiting, searching, final, done, failed, incomplete."""
    if search_owed(trials, quota, exhausted):
        if deadline:
            return "incomplete"
        return "searching" if trials else "waiting"
    if not wanted:
        return "failed"
    finals = {final_run(t): t for t in trials if t.phase == "final"}
    states = [finals[run].state if run in finals else "waiting" for run in wanted]
    if any(state not in TERMINAL for state in states):
        return "incomplete" if deadline else "final"
    return "done" if "complete" in states else "failed"
