"""Which backbone wins at the reader's budget: expected best validation metric over what is spent.

A curve asks what one would have had after k trials, had the trials of this search been run in
random order; see ``best_of_k``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.averages import Floats
from raybench.analysis.best_of_k import best_quantile, expected_best
from raybench.analysis.budget_means import MeanCurve, mean_curves
from raybench.analysis.searches import (
    AXES,
    Axis,
    Leader,
    Search,
    chances_at,
    task_leaders,
    task_searches,
)
from raybench.analysis.tunability import ladder_length
from raybench.records import is_minimised

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

BAND = (0.1, 0.9)
_LEADERS_NAMED = 4
NOTE = (
    "Expected best validation value of k trials drawn without replacement from those that were run "
    "(Dodge et al. 2019, unbiased); band: 10th to 90th percentile over orders. Pruned trials count "
    "with what they reached, diverged ones as the task's worst value; crashes don't count. Ladder "
    "trials are chosen points and a sampler learns from earlier ones, so a curve is about these "
    "trials in random order, not about another search, and its last point is just the best one "
    "seen. A search that has ended stands with its best. Device seconds: of k average trials; a "
    "lead counts from where two backbones have one."
)


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """One pair's search.

    Attributes:
        trials: 1 ... n; all tuples but the last two are as long.
        expected, low, high: of the best of k; mean, 10th and 90th percentile over random orders.
        device_seconds: of k average trials.
        chance: to be the task's best when every backbone has had k trials.
        designed: how many of the n are the ladder's.
    """

    task: str
    backbone: str
    trials: tuple[int, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    device_seconds: tuple[float, ...]
    chance: tuple[float, ...]
    designed: int


@dataclass(frozen=True, slots=True)
class TaskBudget:
    """One task's curves, and who is expected best where on either axis."""

    task: str
    metric: str
    curves: tuple[BudgetCurve, ...]
    leaders: tuple[Leader, ...]

    def on(self, axis: Axis) -> tuple[Leader, ...]:
        return tuple(leader for leader in self.leaders if leader.axis == axis)

    def flips(self, axis: Axis = "trials") -> bool:
        """Whether the backbone that is expected best depends on the budget."""
        return len(self.on(axis)) > 1


@dataclass(frozen=True, slots=True)
class Budget:
    """All tasks; ``aside``: those that the means leave out, since a backbone has no trial yet."""

    metric: str
    tasks: tuple[TaskBudget, ...]
    means: tuple[MeanCurve, ...]
    leaders: tuple[Leader, ...]
    aside: tuple[str, ...]
    note: str = NOTE

    @property
    def sentences(self) -> tuple[str, ...]:
        """One per task and axis where the leader depends on the budget, one for all others."""
        shown = [task for task in self.tasks if task.curves]
        short = numbers.short_names(curve.backbone for task in shown for curve in task.curves)
        flips = [_flip_sentence(t, axis, short) for t in shown for axis in AXES if t.flips(axis)]
        steady = [task.task for task in shown if not any(task.flips(axis) for axis in AXES)]
        if steady:
            flips.append(
                f"On {numbers.listing(steady)} one backbone is expected best at any budget that "
                "gives two of them a trial."
            )
        return tuple(flips)


def budget(analysis: Analysis) -> Budget:
    """Curves, leaders and means of every task that has trials."""
    ladder, metric = ladder_length(analysis.snapshot.spec), analysis.snapshot.metric
    searches = {task: task_searches(found, ladder) for task, found in analysis.by_task.items()}
    means, leading, aside = mean_curves(analysis.by_task, searches)
    tasks = tuple(_task_budget(task, metric, found) for task, found in searches.items())
    return Budget(metric, tasks, means, leading, aside)


def _task_budget(task: str, metric: str, searches: Sequence[Search]) -> TaskBudget:
    sign = -1.0 if is_minimised(metric) else 1.0
    longest = max((len(search.values) for search in searches), default=0)
    counts = np.arange(1.0, longest + 1)
    chance = chances_at(searches, "trials", counts) if searches else np.empty((0, 0))
    return TaskBudget(
        task=task,
        metric=metric,
        curves=tuple(_curve(task, s, sign, chance[:, i]) for i, s in enumerate(searches)),
        leaders=tuple(leader for axis in AXES for leader in task_leaders(searches, axis)),
    )


def _curve(task: str, search: Search, sign: float, chance: Floats) -> BudgetCurve:
    values, count = search.values, len(search.values)
    ends = sorted(BAND) if sign > 0 else sorted(BAND, reverse=True)
    low, high = ((sign * best_quantile(values, end)).tolist() for end in ends)
    trials = np.arange(1, count + 1)
    return BudgetCurve(
        task=task,
        backbone=search.backbone,
        trials=tuple(trials.tolist()),
        expected=tuple((sign * expected_best(values)).tolist()),
        low=tuple(low),
        high=tuple(high),
        device_seconds=tuple((trials * search.cost).tolist()),
        chance=tuple(chance[:count].tolist()),
        designed=search.designed,
    )


def _flip_sentence(task: TaskBudget, axis: Axis, short: Mapping[str, str]) -> str:
    """Who is expected best from which budget on, and in how many orders it is."""
    found = task.on(axis)
    left_out = len(found) - _LEADERS_NAMED
    shown = found if left_out <= 0 else (found[0], found[-1])
    parts = [f"{short[leader.backbone]} {_words(leader)}" for leader in shown]
    between = f", with {numbers.plural(len(found) - 2, 'change')} between" if left_out > 0 else ""
    return f"On {task.task} the expected best is {numbers.listing(parts)}{between}."


def _words(leader: Leader) -> str:
    if leader.axis == "trials":
        start = numbers.plural(round(leader.start), "trial")
    else:
        start = f"{numbers.duration(leader.start)} of device time"
    return f"from {start} on ({numbers.chance(leader.chance)} of orders at its start)"
