"""Metric, ranks, scores and wins per data set: what the numbers over all tasks are means of.

The unit is the data set: subsets of one share its test images and are averaged first. Backbones
count that the sweep tries on every task, and tasks that all of them have ended; a failed one takes
the shared last rank, score 0, no win, and the metric of the worst that did not fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.analysis import numbers
from raybench.analysis.results import PairResult
from raybench.records import is_minimised

Matrix = NDArray[np.float64]
_ENDED = frozenset({"done", "failed"})


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """D data sets x B backbones.

    Attributes:
        left_out: backbones that are not tried on every task.
        tasks: those that count.
        aside: those that do not, with the reason in words.
        metric: (D, B) in the metric's own unit, its sign turned where smaller is better.
        ranks: (D, B) 1 is best, ties share; ranked anew after averaging over subsets.
        normalised: (D, B) (x - worst) / (best - worst); 1 where all are equal.
        wins: (D, B) share of the others that it beats, a tie being half.
        failures: backbone -> tasks on which it failed; only those that did.
    """

    backbones: tuple[str, ...]
    data_sets: tuple[str, ...]
    tasks: tuple[str, ...]
    aside: Mapping[str, str]
    metric: Matrix
    ranks: Matrix
    normalised: Matrix
    wins: Matrix
    failures: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]


def score_tasks(
    by_task: Mapping[str, Sequence[PairResult]],
    every: Sequence[str],
    value: Callable[[PairResult], float | None] = lambda result: result.mean,
) -> Scores:
    """The backbones in ``every`` on every task, by the mean test metric that ``value`` finds."""
    tried = [{result.pair.backbone for result in results} for results in by_task.values()]
    backbones = [name for name in every if all(name in names for names in tried)]
    aside = {
        task: reason
        for task, results in by_task.items()
        if (reason := _why_aside(results, backbones, value))
    }
    values = {
        task: _values(results, backbones, value)
        for task, results in by_task.items()
        if task not in aside
    }
    data_set = {task: by_task[task][0].pair.dataset for task in values}
    return Scores(
        backbones=tuple(backbones),
        data_sets=tuple(dict.fromkeys(data_set.values())),
        tasks=tuple(values),
        aside=aside,
        metric=_over_subsets(_filled, values, data_set),
        ranks=_ranked_anew(_over_subsets(ranks_of, values, data_set)),
        normalised=_over_subsets(normalised, values, data_set),
        wins=_over_subsets(_wins, values, data_set),
        failures=_failures(values, backbones),
        left_out=tuple(name for name in every if name not in backbones),
    )


def _over_subsets(
    compute: Callable[[Matrix], Matrix],
    values: Mapping[str, Matrix],
    data_set: Mapping[str, str],
) -> Matrix:
    """(D, B): what ``compute`` makes of each task's (B,) values, averaged per data set."""
    rows: dict[str, list[Matrix]] = {}
    for task, row in values.items():
        rows.setdefault(data_set[task], []).append(compute(row))
    found = [np.mean(own, axis=0) for own in rows.values()]
    return np.array(found) if found else np.zeros((0, 0))


def _filled(values: Matrix) -> Matrix:
    return np.where(np.isnan(values), np.nanmin(values), values)


def ranks_of(values: Matrix) -> Matrix:
    """(B,) ranks of (B,) values, the largest first; ties share, and NaN, a failure, is last.

    By hand, since ``scipy.stats`` takes a second to import.
    """
    falling = -np.where(np.isnan(values), -np.inf, values)
    _, places, counts = np.unique(falling, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[places])


def normalised(values: Matrix) -> Matrix:
    """(..., B): 1 for the largest of the last axis, 0 for the smallest and for NaN."""
    low = np.nanmin(values, axis=-1, keepdims=True)
    width = np.nanmax(values, axis=-1, keepdims=True) - low
    scores = np.where(width > 0, (values - low) / np.where(width > 0, width, 1.0), 1.0)
    return np.where(np.isnan(values), 0.0, scores)


def _wins(values: Matrix) -> Matrix:
    filled = np.where(np.isnan(values), -np.inf, values)
    beaten = (filled[:, None] > filled[None, :]) + 0.5 * (values[:, None] == values[None, :])
    np.fill_diagonal(beaten, 0.0)
    return np.asarray(beaten.sum(axis=1) / max(1, len(values) - 1))


def _ranked_anew(mean_ranks: Matrix) -> Matrix:
    """Ranks again, as Friedman's test wants them."""
    rows = [ranks_of(-row) for row in np.round(mean_ranks, 9)]
    return np.array(rows).reshape(mean_ranks.shape)


def _values(
    results: Sequence[PairResult],
    backbones: Sequence[str],
    value: Callable[[PairResult], float | None],
) -> Matrix:
    """(B,) larger is better; NaN where it failed."""
    found = {result.pair.backbone: value(result) for result in results}
    sign = -1 if is_minimised(results[0].metric) else 1
    return np.array([np.nan if (v := found[name]) is None else sign * v for name in backbones])


def _why_aside(
    results: Sequence[PairResult],
    backbones: Sequence[str],
    value: Callable[[PairResult], float | None],
) -> str:
    found = {result.pair.backbone: result for result in results}
    ended = [found[name] for name in backbones if found[name].pair.state in _ENDED]
    if len(ended) < len(backbones):
        return f"{numbers.plural(len(backbones) - len(ended), 'backbone')} not finished there"
    if all(value(result) is None for result in ended):
        return "no backbone has a result there"
    return ""


def _failures(values: Mapping[str, Matrix], backbones: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {
        name: tuple(task for task, row in values.items() if np.isnan(row[column]))
        for column, name in enumerate(backbones)
    }
    return {name: tasks for name, tasks in found.items() if tasks}
