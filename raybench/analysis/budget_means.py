"""Budget curves averaged over data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raybench.analysis.averages import Floats, by_data_set, everywhere, known
from raybench.analysis.results import PairResult
from raybench.analysis.searches import AXES, Axis, Leader, Search, stretches

_MEAN_POINTS = 24


@dataclass(frozen=True, slots=True)
class MeanCurve:
    """How far a backbone is behind the best value of each task, averaged over data sets."""

    backbone: str
    axis: Axis
    budgets: tuple[float, ...]
    behind: tuple[float | None, ...]


def mean_curves(
    tasks: Mapping[str, Sequence[PairResult]], searches: Mapping[str, Sequence[Search]]
) -> tuple[tuple[MeanCurve, ...], tuple[Leader, ...], tuple[str, ...]]:
    """Mean curves, who leads them, and the tasks that they leave out.

    Of the backbones that are tried on every task; a task counts once all of them have a trial.
    """
    backbones = everywhere(tasks)
    counted = {t: found for t, found in searches.items() if _counts(tasks[t], found, backbones)}
    aside = tuple(task for task in tasks if task not in counted)
    if not counted or not backbones:
        return (), (), aside
    data_set = {task: tasks[task][0].pair.dataset for task in counted}
    curves: list[MeanCurve] = []
    leaders: list[Leader] = []
    for axis in AXES:
        budgets = _mean_budgets(counted.values(), axis)
        behind = {t: _behind(found, backbones, axis, budgets) for t, found in counted.items()}
        means: Floats = by_data_set(behind, data_set).mean(axis=0)
        shown = tuple(budgets.tolist())
        curves += [MeanCurve(b, axis, shown, known(means[i])) for i, b in enumerate(backbones)]
        steps = [(shown[k], -float(value), row) for (row, k), value in np.ndenumerate(means)]
        leaders += [
            Leader(axis, start, end, backbones[row], None) for start, end, row in stretches(steps)
        ]
    return tuple(curves), tuple(leaders), aside


def _counts(
    results: Sequence[PairResult], searches: Sequence[Search], backbones: Sequence[str]
) -> bool:
    """Whether every backbone has a trial that counts on this task, or has failed on it."""
    failed = {r.pair.backbone for r in results if r.pair.state == "failed"}
    return bool(searches) and set(backbones) <= failed | {s.backbone for s in searches}


def _mean_budgets(tasks: Iterable[Sequence[Search]], axis: Axis) -> Floats:
    """Up to the longest search; device seconds from where all backbones can afford a trial on."""
    searches = [search for found in tasks for search in found]
    if axis == "trials":
        return np.arange(1.0, max(len(search.values) for search in searches) + 1)
    start = max(search.cost for search in searches)
    end = max(search.cost * len(search.values) for search in searches)
    return np.geomspace(start, max(end, start), _MEAN_POINTS)


def _behind(
    searches: Sequence[Search], backbones: Sequence[str], axis: Axis, budgets: Floats
) -> Floats:
    """(B, S) to the best value of the task; a failed backbone stands with the worst."""
    best = max(float(search.values.max()) for search in searches)
    least = min(float(search.values.min()) for search in searches)
    rows = {search.backbone: search.expected(axis, budgets) for search in searches}
    worst = np.full(len(budgets), least)
    expected: Floats = np.stack([rows.get(backbone, worst) for backbone in backbones])
    return best - expected
