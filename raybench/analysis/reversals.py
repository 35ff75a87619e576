"""Backbones that change places between two rankings of one task, and whether that is chance.

The rankings are at the default and tuned, or with fewer and with more images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raybench.analysis.comparison import Comparison, Matrix
from raybench.analysis.intervals import ALPHA, Interval, holm_adjusted
from raybench.analysis.uncertainty import Uncertainty


@dataclass(frozen=True, slots=True)
class Side:
    """One ranking, by backbone.

    Attributes:
        values: of a metric. intervals: 95%, the widest known.
        rows: of ``comparison``; without one nothing can be told.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    comparison: Comparison | None = None

    def p_values(self, backbones: Sequence[str]) -> Matrix:
        """(P, P) that two of them differ, not adjusted; NaN where nothing can be told."""
        if self.comparison is None:
            return np.full((len(backbones), len(backbones)), math.nan)
        index = [self.rows[backbone] for backbone in backbones]
        return self.comparison.p_value[np.ix_(index, index)]

    def gaps(self, backbones: Sequence[str]) -> Matrix:
        """(P, P) of values, row minus column."""
        values = np.array([self.values[backbone] for backbone in backbones])
        gaps: Matrix = values[:, None] - values[None, :]
        return gaps


def tested_side(
    comparison: Comparison, names: Mapping[str, str], sure: Mapping[str, Uncertainty]
) -> Side:
    """The ranking that a comparison is of; ``names`` and ``sure`` by pair id."""
    return Side(
        values={names[one.pair]: one.mean for one in comparison.samples},
        intervals={names[one.pair]: sure[one.pair].widest for one in comparison.samples},
        rows={names[pair]: row for row, pair in enumerate(comparison.pairs)},
        comparison=comparison,
    )


@dataclass(frozen=True, slots=True)
class Reversal:
    """Two backbones that change places.

    Attributes:
        before: how much better ``ahead_before`` is in the first ranking.
        after: how much better ``ahead_after`` is in the second.
        p_value: that they change places, adjusted; None where nothing can be told.
    """

    ahead_before: str
    ahead_after: str
    before: float
    after: float
    p_value: float | None

    @property
    def shown(self) -> bool:
        return self.p_value is not None and self.p_value < ALPHA

    @property
    def judged(self) -> str:
        """Whether it is more than chance, in words."""
        if self.p_value is None:
            return "too few runs to tell whether that is chance"
        return f"{'beyond chance' if self.shown else 'may be chance'} (p = {self.p_value:.2g})"


@dataclass(frozen=True, slots=True)
class Reversals:
    """Who changes places among the backbones of both rankings.

    Attributes:
        leader_before, leader_after: empty without any backbone.
        pairs: of backbones. changed: of them change places. shown: of these beyond chance.
        named: those beyond chance, and the leaders where they change places; by p-value.
    """

    leader_before: str
    leader_after: str
    pairs: int
    changed: int
    shown: int
    named: tuple[Reversal, ...]

    @property
    def flip(self) -> Reversal | None:
        """The leaders', where they change places."""
        leaders = (self.leader_before, self.leader_after)
        return next((r for r in self.named if (r.ahead_before, r.ahead_after) == leaders), None)


def reversals(backbones: Sequence[str], before: Side, after: Side, minimised: bool) -> Reversals:
    """Which of ``backbones``, which have both values, change places.

    That two change places holds only if both differences do, so its p-value is the larger one
    (intersection-union test; Berger 1982, Technometrics 24, 295-300). Two that keep their order
    are as far from it as can be. Holm over all pairs.
    """
    if not backbones:
        return Reversals("", "", 0, 0, 0, ())
    sign = -1.0 if minimised else 1.0
    upper = np.triu_indices(len(backbones), 1)
    first, second = (sign * side.gaps(backbones) for side in (before, after))
    p_values = np.maximum(before.p_values(backbones), after.p_values(backbones))[upper]
    changed = (first * second < 0)[upper]
    adjusted = holm_adjusted(np.where(changed | np.isnan(p_values), p_values, 1.0))
    shown = changed & (adjusted < ALPHA)
    leaders = _leader(first, second), _leader(second, first)
    flip = (upper[0] == min(leaders)) & (upper[1] == max(leaders))
    columns = (*upper, first[upper], second[upper], adjusted)
    kept = (column[changed & (shown | flip)].tolist() for column in columns)
    rows = zip(*kept, strict=True)
    named = [_reversal(backbones[a], backbones[b], *found) for a, b, *found in rows]
    return Reversals(
        leader_before=backbones[leaders[0]],
        leader_after=backbones[leaders[1]],
        pairs=len(changed),
        changed=int(changed.sum()),
        shown=int(shown.sum()),
        named=tuple(sorted(named, key=lambda r: 2.0 if r.p_value is None else r.p_value)),
    )


def _leader(gaps: Matrix, others: Matrix) -> int:
    """Index of who is behind the fewest; equal ones are told apart by ``others``."""
    behind, there = (gaps < 0).sum(axis=1), (others < 0).sum(axis=1)
    return int(np.lexsort((there, behind))[0])


def _reversal(a: str, b: str, before: float, after: float, p_value: float) -> Reversal:
    """``before`` and ``after``: how much better ``a`` is than ``b``."""
    ahead, behind = (a, b) if before > 0 else (b, a)
    adjusted = None if math.isnan(p_value) else p_value
    return Reversal(ahead, behind, abs(before), abs(after), adjusted)
