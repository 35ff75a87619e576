"""Who leads each task, and who cannot be told apart from the leader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from raybench.analysis import numbers
from raybench.analysis.intervals import holm, paired_p_value
from raybench.analysis.results import FinalValues, PairResult, by_task, pair_results
from raybench.records import SweepSnapshot, is_minimised

ALPHA = 0.05
RULE = (
    "≈ marks backbones that a paired t test over the shared final seeds (folds, where a data set "
    "is cross-validated) cannot tell apart from the leader (5%, Holm over the task's backbones; "
    "without two shared seeds, or where seeds make no difference, nothing can be told apart)."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """One backbone's place in its task.

    Attributes:
        rank: 1 for the leader; None without a final result.
        p_value: Holm-adjusted, against the leader; None for the leader and where seeds cannot tell.
        tied: has a result, does not lead, and cannot be told apart from the leader.
    """

    result: PairResult
    rank: int | None
    p_value: float | None
    tied: bool

    @property
    def leads(self) -> bool:
        return self.rank == 1


def rank_task(results: Sequence[PairResult]) -> list[Standing]:
    """The pairs of one task, best final mean first, those without a result last.

    The leader is picked by the same numbers that the test compares, so "behind" is said a little
    too easily among near-equals; more seeds are the remedy, not another test.
    """
    ranked = sorted(results, key=_order)
    if not ranked or ranked[0].mean is None:
        return [Standing(r, None, None, False) for r in ranked]
    leader = ranked[0]
    adjusted = _against(leader, ranked[1:])
    return [Standing(leader, 1, None, False)] + [
        _standing(result, rank, adjusted.get(result.pair.id))
        for rank, result in enumerate(ranked[1:], start=2)
    ]


def standings(snapshot: SweepSnapshot) -> dict[str, list[Standing]]:
    """``rank_task`` for every task of the sweep file."""
    return {task: rank_task(results) for task, results in by_task(pair_results(snapshot)).items()}


def leaderboard(snapshot: SweepSnapshot) -> pd.DataFrame:
    """One row per pair, tasks in the file's order, ranked within each.

    Means, interval ends and validation values are in the metric's own unit (accuracy: [0, 1]);
    ``params/<name>`` are the winner's hyperparameters.
    """
    rows = [_row(s) for ranked in standings(snapshot).values() for s in ranked]
    names = sorted({name for p in snapshot.pairs if p.current for name in p.default_params})
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, *(f"params/{name}" for name in names)])
    frame = frame.astype(dict.fromkeys(_NUMBERS, "float64"))
    return frame.astype({"rank": "Int64"})


def answers(snapshot: SweepSnapshot) -> dict[str, str]:
    """One sentence per task: who leads, by what, and who may be as good."""
    short = numbers.short_names(p.backbone for p in snapshot.pairs if p.current)
    return {task: _answer(task, ranked, short) for task, ranked in standings(snapshot).items()}


def answer(snapshot: SweepSnapshot) -> str:
    """``answers`` as text, one line per task."""
    return "\n".join(answers(snapshot).values())


def _order(result: PairResult) -> tuple[bool, float, str]:
    mean = result.mean
    if mean is None:
        return (True, math.inf, result.pair.backbone)
    return (False, mean if is_minimised(result.metric) else -mean, result.pair.backbone)


def _against(leader: PairResult, others: Sequence[PairResult]) -> dict[str, float]:
    final = leader.final
    p_values = {
        o.pair.id: paired_p_value(final.by_unit, o.final.by_unit, final.overlap) for o in others
    }
    return holm({name: p for name, p in p_values.items() if p is not None})


def _standing(result: PairResult, rank: int, p_value: float | None) -> Standing:
    if result.mean is None:
        return Standing(result, None, None, False)
    return Standing(result, rank, p_value, tied=p_value is None or p_value >= ALPHA)


_COLUMNS = (
    "task dataset subset rank backbone metric test_mean ci_low ci_high seeds seeds_wanted leads "
    "tied p_holm val_tuned val_default gain test_default oracle_mean search_device_seconds "
    "final_device_seconds parameters_m state failures pair"
).split()


_NUMBERS = (
    "test_mean ci_low ci_high p_holm val_tuned val_default gain test_default oracle_mean "
    "parameters_m"
).split()


def _row(standing: Standing) -> dict[str, Any]:
    result, pair = standing.result, standing.result.pair
    low, high = result.final.ci95 or (None, None)
    parameters = result.parameters
    params = result.winner.params if result.winner else {}
    return {
        "task": result.task,
        "dataset": pair.dataset,
        "subset": pair.subset,
        "rank": standing.rank,
        "backbone": pair.backbone,
        "metric": result.final.metric,
        "test_mean": result.mean,
        "ci_low": low,
        "ci_high": high,
        "seeds": len(result.final.by_run),
        "seeds_wanted": result.final.wanted,
        "leads": standing.leads,
        "tied": standing.tied,
        "p_holm": standing.p_value,
        "val_tuned": result.tuned,
        "val_default": result.default,
        "gain": result.gain,
        "test_default": result.final_default.mean if result.final_default else None,
        "oracle_mean": result.oracle.mean,
        "search_device_seconds": result.search_device_seconds,
        "final_device_seconds": result.final_device_seconds,
        "parameters_m": None if parameters is None else parameters / 1e6,
        "state": pair.state,
        "failures": len(result.failures),
        "pair": pair.id,
    } | {f"params/{name}": value for name, value in params.items()}


def _answer(task: str, ranked: Sequence[Standing], short: dict[str, str]) -> str:
    placed = [s for s in ranked if s.rank is not None]
    missing = len(ranked) - len(placed)
    if not placed:
        return f"On {task} there is no final result yet ({_states(ranked)})."
    tail = f" ({missing} of {len(ranked)} without a result)" if missing else ""
    leader = placed[0].result
    name = short[leader.pair.backbone]
    value = numbers.with_interval(leader.final.metric, leader.mean, leader.final.ci95)
    score = f"{value} test {numbers.metric_title(leader.metric)} ({_runs(leader.final)})"
    if len(placed) == 1:
        return f"On {task} only {name} has a final result: {score}{tail}."
    return f"On {task} {name} leads with {score}; {_rivals(placed[1:], short)}{tail}."


def _runs(final: FinalValues) -> str:
    """``3 seeds``; with cross-validation ``3 seeds x 5 folds``, or how many runs there are yet."""
    seeds = numbers.plural(len({seed for seed, _ in final.by_run}), "seed")
    if final.folds == 1:
        return seeds
    if len(final.by_run) < final.wanted:
        return f"{len(final.by_run)} of {final.wanted} runs over seeds and folds"
    return f"{seeds} x {final.folds} folds"


def _rivals(others: Sequence[Standing], short: dict[str, str]) -> str:
    tied = [short[s.result.pair.backbone] for s in others if s.tied]
    if not tied:
        return "the other is behind" if len(others) == 1 else "every other backbone is behind"
    names = numbers.listing(tied) if len(tied) <= 3 else f"{len(tied)} others"
    return f"{names} cannot be told apart from it"


def _states(ranked: Sequence[Standing]) -> str:
    states = [s.result.pair.state for s in ranked]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    return numbers.listing(f"{count} {state}" for state, count in counts.items())
