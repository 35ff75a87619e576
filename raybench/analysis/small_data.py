"""How backbones do with fewer training images, and where their curves cross."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval
from raybench.analysis.ranking import Standing
from raybench.analysis.results import final_metric
from raybench.analysis.reversals import Reversal, Side, reversals, tested_side
from raybench.records import is_minimised

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis, TaskAnalysis

NOTE = (
    "Mean test metric over the training images of each subset, with the widest 95% interval known. "
    "A crossing is listed where it changes who leads, or is beyond chance: both differences hold "
    "at 5% (the larger of the two p-values, Holm over all pairs of backbones)."
)


@dataclass(frozen=True, slots=True)
class SizePoint:
    """One subset; ``images``: of its training split; ``runs``: final seeds (and folds)."""

    subset: str
    images: int
    mean: float
    interval: Interval | None
    runs: int


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """One backbone on one data set; fewest images first."""

    backbone: str
    dataset: str
    points: tuple[SizePoint, ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two backbones that change places between two numbers of training images.

    Attributes:
        reversal: ``before`` with ``fewer`` images, ``after`` with ``more``.
        leads: whether it changes who leads.
    """

    dataset: str
    fewer: int
    more: int
    reversal: Reversal
    leads: bool

    @property
    def small(self) -> str:
        """Who is ahead with fewer images."""
        return self.reversal.ahead_before

    @property
    def large(self) -> str:
        """Who is ahead with more images."""
        return self.reversal.ahead_after

    @property
    def shown(self) -> bool:
        return self.reversal.shown


@dataclass(frozen=True, slots=True)
class SmallData:
    """Data sets with results on two subsets or more; empty without any."""

    metric: str
    curves: tuple[SizeCurve, ...]
    crossings: tuple[Crossing, ...]
    note: str = NOTE

    @property
    def sentences(self) -> tuple[str, ...]:
        """One per crossing."""
        names = numbers.short_names(curve.backbone for curve in self.curves)
        return tuple(
            f"On {crossing.dataset} {names[crossing.small]} is ahead of {names[crossing.large]} "
            f"with {crossing.fewer:,} training images and behind with {crossing.more:,}: "
            f"{crossing.reversal.judged}."
            for crossing in self.crossings
        )


def small_data(analysis: Analysis) -> SmallData:
    """Curves and crossings of every data set with subsets."""
    groups: dict[str, list[TaskAnalysis]] = {}
    for task in analysis.tasks.values():
        if _images(task) and task.comparison.samples:
            groups.setdefault(task.dataset, []).append(task)
    sized = {name: sorted(tasks, key=_images) for name, tasks in groups.items() if len(tasks) > 1}
    return SmallData(
        metric=final_metric(analysis.snapshot.metric),
        curves=tuple(c for name, tasks in sized.items() for c in _curves(name, tasks)),
        crossings=tuple(
            crossing
            for name, tasks in sized.items()
            for fewer, more in pairwise(tasks)
            for crossing in _crossings(name, fewer, more)
        ),
    )


def _images(task: TaskAnalysis) -> int:
    """Training images; 0 before the preflight."""
    return max(int(result.pair.facts.get("train_images", 0)) for result in task.results)


def _curves(dataset: str, tasks: Sequence[TaskAnalysis]) -> Iterator[SizeCurve]:
    points: dict[str, list[SizePoint]] = {}
    for task in tasks:
        for standing in task.standings:
            if standing.rank is not None:
                backbone = standing.result.pair.backbone
                points.setdefault(backbone, []).append(_point(task, standing))
    for backbone, found in points.items():
        yield SizeCurve(backbone, dataset, tuple(found))


def _point(task: TaskAnalysis, standing: Standing) -> SizePoint:
    final, uncertainty = standing.result.final, standing.uncertainty
    assert final.mean is not None
    interval = uncertainty.widest if uncertainty else None
    return SizePoint(task.subset, _images(task), final.mean, interval, len(final.by_run))


def _crossings(dataset: str, fewer: TaskAnalysis, more: TaskAnalysis) -> Iterator[Crossing]:
    before, after = _side(fewer), _side(more)
    both = [backbone for backbone in before.values if backbone in after.values]
    found = reversals(both, before, after, is_minimised(fewer.metric))
    for reversal in found.named:
        leads = reversal is found.flip
        yield Crossing(dataset, _images(fewer), _images(more), reversal, leads)


def _side(task: TaskAnalysis) -> Side:
    names = {result.pair.id: result.pair.backbone for result in task.results}
    return tested_side(task.comparison, names, task.uncertainties)
