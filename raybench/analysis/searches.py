"""The searches of one task as arrays, and who is expected best at which budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.averages import Floats
from raybench.analysis.best_of_k import chances, expected_best
from raybench.analysis.results import PairResult
from raybench.analysis.tunability import informs, told_value
from raybench.records import is_minimised

Axis = Literal["trials", "device_seconds"]
AXES: tuple[Axis, ...] = ("trials", "device_seconds")
_SAME = 1e-12  # differences below are rounding


@dataclass(frozen=True, slots=True)
class Leader:
    """Who is expected best from ``start`` of an axis until ``end``, where the next one leads.

    ``chance``: to be the best at ``start``, over random orders; None for averages over tasks.
    """

    axis: Axis
    start: float
    end: float
    backbone: str
    chance: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One pair's trials that count, in their order.

    ``values`` (n,): best metric, larger is better; ``seconds`` (n,): device seconds; ``designed``:
    how many are the ladder's.
    """

    backbone: str
    values: Floats
    seconds: Floats
    designed: int

    @property
    def cost(self) -> float:
        """Device seconds of an average trial."""
        return max(float(self.seconds.mean()), 1e-9)

    def price(self, axis: Axis) -> float:
        """Of one trial."""
        return 1.0 if axis == "trials" else self.cost

    def affordable(self, axis: Axis, budgets: Floats) -> NDArray[np.int64]:
        """(S,) whole trials within each budget, at most all of them."""
        whole = np.floor(budgets / self.price(axis) + 1e-9).astype(np.int64)
        return np.minimum(whole, len(self.values))

    def expected(self, axis: Axis, budgets: Floats) -> Floats:
        """(S,) expected best within each budget; -inf where not one trial fits."""
        reached: Floats = np.concatenate([[-np.inf], expected_best(self.values)])
        best: Floats = reached[self.affordable(axis, budgets)]
        return best


def task_searches(results: Sequence[PairResult], ladder: int) -> list[Search]:
    """Of one task, those with a trial that counts; no value is worse than the task's worst.

    Args:
        results: of one task.
        ladder: how many trials of each pair are the ladder's.
    """
    metric = results[0].metric
    sign = -1.0 if is_minimised(metric) else 1.0
    told = {r.pair.backbone: [t for t in r.pair.search_trials() if informs(t)] for r in results}
    values = {
        backbone: [None if (v := told_value(t, metric)) is None else sign * v for t in trials]
        for backbone, trials in told.items()
    }
    worst = min((v for row in values.values() for v in row if v is not None), default=None)
    if worst is None:
        return []
    return [
        Search(
            backbone=backbone,
            values=np.array([worst if value is None else value for value in values[backbone]]),
            seconds=np.array([trial.device_seconds for trial in trials]),
            designed=sum(trial.number < ladder for trial in trials),
        )
        for backbone, trials in told.items()
        if trials
    ]


def chances_at(searches: Sequence[Search], axis: Axis, budgets: Floats) -> Floats:
    """(K, S) chance of each search to hold the best value once everybody has spent a budget."""
    counts = [search.affordable(axis, budgets) for search in searches]
    return chances([search.values for search in searches], np.stack(counts, axis=1))


def task_leaders(searches: Sequence[Search], axis: Axis) -> Iterator[Leader]:
    """Who is expected best where, over the budgets at which any curve steps.

    From the first budget that gives two of them a trial: nobody leads where nobody follows.
    """
    prices = sorted(search.price(axis) for search in searches)
    first = prices[:2][-1] if prices else 0.0
    steps = [
        (max(first, search.price(axis) * count), float(value), index)
        for index, search in sorted(enumerate(searches), key=lambda one: one[1].price(axis))
        for count, value in enumerate(expected_best(search.values), start=1)
    ]
    found = list(stretches(steps))
    if not found:
        return
    starts = np.array([start for start, _, _ in found])
    chance = chances_at(searches, axis, starts)
    for row, (start, end, index) in enumerate(found):
        yield Leader(axis, start, end, searches[index].backbone, float(chance[row, index]))


Step = tuple[float, float, int]
"""At a budget, a value is reached by a backbone, given by its index."""


def stretches(steps: Iterable[Step]) -> Iterator[tuple[float, float, int]]:
    """Start, end and index of each stretch with the same leader; one starts where another ends.

    Curves only rise, so a step need only be compared with the leader's. A leader stays until
    somebody is better, and of equals the one that is given first leads.
    """
    start = end = 0.0
    leader, best = -1, -math.inf
    ordered = sorted(steps, key=lambda step: (step[0], -step[1]))
    for budget, group in groupby(ordered, key=lambda step: step[0]):
        _, value, index = next(group)
        if index != leader and value > best + _SAME:
            if leader >= 0:
                yield start, budget, leader
            start, leader = budget, index
        best, end = max(best, value), budget
    if leader >= 0:
        yield start, end, leader
