"""Accuracy against cost: who is on the front, and where a larger bill stops paying."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.averages import Floats
from raybench.analysis.comparison import Comparison, Matrix
from raybench.analysis.cost import Measured, measured
from raybench.analysis.intervals import ALPHA, Interval
from raybench.analysis.ranking import Standing
from raybench.measurements import Profile, Timing
from raybench.records import is_minimised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from raybench.analysis.whole import Analysis

NOTE = (
    "Line: nobody has a better mean for the same cost or less. On the front: every cheaper "
    "backbone is worse beyond chance (the task's own test). Perhaps: nobody cheaper is better "
    "beyond chance, but somebody may be as good. Knee: the point of the line highest above the "
    "straight line between its ends, cost on a log scale, both axes scaled to the ends; beyond it "
    "a backbone costs more than it brings."
)
Membership = Literal["yes", "perhaps", "no"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A cost: its key, what it is, in what unit."""

    key: str
    title: str
    unit: str


AXES = (
    Axis("parameters", "parameters", "M"),
    Axis("macs", "multiply-accumulates of one image", "G"),
    Axis("latency", "latency of one image", "ms"),
    Axis("memory", "peak memory of training", "GB"),
    Axis("energy", "energy of one image", "J"),
    Axis("tuning", "device time of the search", "s"),
)
_NEVER_MEASURED_ALONE = {"parameters", "tuning"}


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """One backbone.

    Attributes:
        score: mean test metric; interval: the widest known.
        line: on the front by the means alone.
        front: the same with their uncertainty.
        shared: something else used the device meanwhile, so the cost may be too high.
    """

    backbone: str
    cost: float
    score: float
    interval: Interval | None
    line: bool
    front: Membership
    knee: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class Front:
    """One task and one cost.

    Attributes:
        points: cheapest first.
        missing: backbones without this cost or without a result.
        where: device and setting that the cost was measured in; empty where it does not matter.
    """

    task: str
    metric: str
    axis: Axis
    points: tuple[ParetoPoint, ...]
    missing: tuple[str, ...]
    where: str

    @property
    def sentence(self) -> str:
        """Who is on the front, who may be, and the knee."""
        names = numbers.short_names((*(p.backbone for p in self.points), *self.missing))
        sure = [names[point.backbone] for point in self.points if point.front == "yes"]
        perhaps = [names[point.backbone] for point in self.points if point.front == "perhaps"]
        knee = [f"the knee is {names[point.backbone]}" for point in self.points if point.knee]
        members = [numbers.listing(sure)] if sure else []
        members += [f"perhaps {numbers.listing(perhaps)}"] if perhaps else []
        found = "; ".join([", ".join(members), *knee])
        return f"On {self.task}, against {self.axis.title}: {found}."


def fronts(analysis: Analysis) -> tuple[Front, ...]:
    """Per task and cost, where two backbones or more have both."""
    costs = measured(analysis.snapshot)
    return tuple(
        front
        for name, task in analysis.tasks.items()
        for axis in AXES
        for front in _front(name, task.standings, task.comparison, axis, costs)
    )


def _front(
    task: str,
    standings: Sequence[Standing],
    comparison: Comparison,
    axis: Axis,
    measured: Measured,
) -> Iterator[Front]:
    costs = {s.result.pair.id: _cost(s, axis.key, measured) for s in standings}
    found = [s for s in standings if s.rank is not None and costs[s.result.pair.id] is not None]
    if len(found) < 2:
        return
    found.sort(key=lambda s: (costs[s.result.pair.id] or 0.0, s.rank or 0))
    shown = {s.result.pair.id for s in found}
    yield Front(
        task=task,
        metric=found[0].result.final.metric,
        axis=axis,
        points=tuple(_points(found, costs, comparison, axis, measured)),
        missing=tuple(s.result.pair.backbone for s in standings if s.result.pair.id not in shown),
        where="" if axis.key in _NEVER_MEASURED_ALONE else measured.title,
    )


def _points(
    standings: Sequence[Standing],
    costs: Mapping[str, float | None],
    comparison: Comparison,
    axis: Axis,
    measured: Measured,
) -> Iterator[ParetoPoint]:
    pairs = [standing.result.pair.id for standing in standings]
    bill = np.array([costs[pair] for pair in pairs], dtype=float)
    sign = -1.0 if is_minimised(standings[0].result.metric) else 1.0
    scores = np.array([standing.result.mean for standing in standings], dtype=float)
    line = on_line(bill, sign * scores)
    membership = _membership(bill, *_tested(comparison, pairs))
    top = knee(bill, sign * scores, line)
    for row, standing in enumerate(standings):
        uncertainty, profile = standing.uncertainty, measured.by_pair.get(pairs[row])
        yield ParetoPoint(
            backbone=standing.result.pair.backbone,
            cost=float(bill[row]),
            score=float(scores[row]),
            interval=uncertainty.widest if uncertainty else None,
            line=bool(line[row]),
            front=membership[row],
            knee=row == top,
            shared=axis.key not in _NEVER_MEASURED_ALONE and profile is not None and profile.shared,
        )


def on_line(costs: Floats, scores: Floats) -> NDArray[np.bool_]:
    """(P,) whether nobody is better for the same cost or less, nor as good for less."""
    as_cheap, as_good = costs <= costs[:, None], scores >= scores[:, None]
    strictly = (costs < costs[:, None]) | (scores > scores[:, None])
    return np.asarray(~np.any(as_cheap & as_good & strictly, axis=1))


def _tested(comparison: Comparison, pairs: Sequence[str]) -> tuple[Matrix, Matrix]:
    """How much better rows are than columns, and the adjusted p-values, in the order of pairs."""
    rows = {pair: row for row, pair in enumerate(comparison.pairs)}
    index = np.ix_([rows[pair] for pair in pairs], [rows[pair] for pair in pairs])
    return comparison.difference[index], comparison.adjusted[index]


def _membership(costs: Floats, difference: Matrix, p_values: Matrix) -> list[Membership]:
    rivals = costs <= costs[:, None]
    np.fill_diagonal(rivals, False)
    sure = p_values < ALPHA  # NaN, where nothing can be told, is not
    beaten = np.any(rivals & sure & (difference < 0), axis=1)
    beats_all = np.all(~rivals | (sure & (difference > 0)), axis=1)
    return [
        "no" if lost else "yes" if won else "perhaps"
        for lost, won in zip(beaten.tolist(), beats_all.tolist(), strict=True)
    ]


def knee(costs: Floats, scores: Floats, line: NDArray[np.bool_]) -> int | None:
    """Index of the point of ``line`` farthest above the chord between its ends; None below three.

    Costs (P,) of 0 have no place on a log scale and are passed over; larger scores are better.
    """
    members = np.flatnonzero(line & (costs > 0))
    members = members[np.argsort(costs[members], kind="stable")]
    x, y = np.log(costs[members]), scores[members]
    if len(members) < 3 or x[-1] == x[0] or y[-1] == y[0]:
        return None
    above = (y - y[0]) / (y[-1] - y[0]) - (x - x[0]) / (x[-1] - x[0])
    best = int(above.argmax())
    return int(members[best]) if above[best] > 0 else None


def _cost(standing: Standing, key: str, measured: Measured) -> float | None:
    """In the axis's unit; None where it is not known."""
    result, profile = standing.result, measured.by_pair.get(standing.result.pair.id)
    if key == "parameters":
        return None if result.parameters is None else result.parameters / 1e6
    if key == "tuning":
        return result.search_device_seconds or None
    return None if profile is None else _MEASURED[key](profile)


def _timed(timing: Timing | None, name: str) -> float | None:
    value: float | None = None if timing is None else getattr(timing, name)
    return value


_MEASURED: Mapping[str, Callable[[Profile], float | None]] = {
    "macs": lambda profile: None if profile.macs is None else profile.macs / 1e9,
    "latency": lambda profile: _timed(profile.single, "median_ms"),
    "memory": lambda profile: _timed(profile.training, "peak_memory_gb"),
    "energy": lambda profile: _timed(profile.batched, "energy_j"),
}
