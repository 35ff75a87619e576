"""Whether tuning changes who is ahead of whom in a task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval
from raybench.analysis.results import PairResult
from raybench.analysis.reversals import Reversal, Side, reversals
from raybench.records import is_minimised

Split = Literal["test", "validation"]


@dataclass(frozen=True, slots=True)
class Place:
    """One backbone among the others of its task, at the default and tuned; None: no result."""

    backbone: str
    default: float | None
    tuned: float | None
    default_interval: Interval | None
    tuned_interval: Interval | None
    default_rank: int | None
    tuned_rank: int | None


@dataclass(frozen=True, slots=True)
class RankChange:
    """One task.

    Attributes:
        split: what the values are of; on validation there is one run each and no interval.
        at: the default's hyperparameters in words.
        places: best tuned one first, those without a result last.
        tau: Kendall's tau-b of the two orders; None with fewer than two backbones that have both.
        leader_default, leader_tuned: empty where nobody has both values.
        pairs: of backbones that have both values. changed: of them change places. shown: of these
            beyond chance.
        flip: the leaders, where they change places.
        reversals: those beyond chance, and ``flip``; by p-value.
    """

    task: str
    split: Split
    metric: str
    at: str
    places: tuple[Place, ...]
    tau: float | None
    leader_default: str
    leader_tuned: str
    pairs: int
    changed: int
    shown: int
    flip: Reversal | None
    reversals: tuple[Reversal, ...]

    @property
    def leader_flips(self) -> bool:
        return self.flip is not None

    @property
    def flip_shown(self) -> bool:
        return self.flip is not None and self.flip.shown

    @property
    def sentence(self) -> str:
        """Who leads at the default and tuned, by how much, and whether a change is shown."""
        names = numbers.short_names(place.backbone for place in self.places)
        if not self.leader_default:
            return f"On {self.task} no backbone has a result at the default and tuned yet."
        if self.flip is not None:
            return f"On {self.task} {self._flip_words(self.flip, names)}{self._kind}."
        return (
            f"On {self.task} {names[self.leader_default]} leads at the default ({self.at}) and "
            f"tuned; {self.changed:,} of {numbers.plural(self.pairs, 'pair')} of backbones "
            f"change places, {self.shown:,} of them beyond chance{self._kind}."
        )

    @property
    def _kind(self) -> str:
        return "" if self.split == "test" else " (validation, one run each)"

    def _flip_words(self, flip: Reversal, names: Mapping[str, str]) -> str:
        behind, ahead = names[flip.ahead_after], names[flip.ahead_before]
        before, after = (numbers.points(self.metric, gap) for gap in (flip.before, flip.after))
        return (
            f"{behind} is {before} behind {ahead} at the default ({self.at}); tuned, it leads it "
            f"by {after}: {flip.judged}"
        )


def rank_change(
    results: Sequence[PairResult], split: Split, metric: str, default: Side, tuned: Side
) -> RankChange:
    """The two orders of one task's backbones, and who changes places."""
    both = [
        result.pair.backbone
        for result in results
        if result.pair.backbone in default.values.keys() & tuned.values.keys()
    ]
    ranks = [_ranks({b: side.values[b] for b in both}, metric) for side in (default, tuned)]
    found = reversals(both, default, tuned, is_minimised(metric))
    places = [_place(result.pair.backbone, default, tuned, ranks) for result in results]
    return RankChange(
        task=results[0].task,
        split=split,
        metric=metric,
        at=_default_words(results[0]),
        places=tuple(sorted(places, key=lambda place: place.tuned_rank or math.inf)),
        tau=_tau([default.values[b] for b in both], [tuned.values[b] for b in both]),
        leader_default=found.leader_before,
        leader_tuned=found.leader_after,
        pairs=found.pairs,
        changed=found.changed,
        shown=found.shown,
        flip=found.flip,
        reversals=found.named,
    )


def _place(backbone: str, default: Side, tuned: Side, ranks: Sequence[Mapping[str, int]]) -> Place:
    return Place(
        backbone=backbone,
        default=default.values.get(backbone),
        tuned=tuned.values.get(backbone),
        default_interval=default.intervals.get(backbone),
        tuned_interval=tuned.intervals.get(backbone),
        default_rank=ranks[0].get(backbone),
        tuned_rank=ranks[1].get(backbone),
    )


def _ranks(values: Mapping[str, float], metric: str) -> dict[str, int]:
    """1 is the best; equal ones share."""
    sign = 1.0 if is_minimised(metric) else -1.0
    rising = np.sort(sign * np.array(list(values.values())))
    return {key: 1 + int(np.searchsorted(rising, sign * v)) for key, v in values.items()}


def _tau(default: Sequence[float], tuned: Sequence[float]) -> float | None:
    if len(default) < 2:
        return None
    from scipy.stats import kendalltau

    tau = float(kendalltau(default, tuned).statistic)
    return None if math.isnan(tau) else tau


def _default_words(result: PairResult) -> str:
    params = result.pair.default_params
    return ("lr " if list(params) == ["lr"] else "") + numbers.hyperparameters(params)
