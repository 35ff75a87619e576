"""Tests over data sets that need no common scale (Demsar 2006, JMLR 7, 1-30).

Friedman's test with Nemenyi's critical difference of mean ranks; Wilcoxon's signed-rank test of
every two backbones with Holm's correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.intervals import ALPHA, holm_adjusted

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CriticalDifference:
    """Friedman's test and Nemenyi's critical difference of mean ranks.

    Attributes:
        statistic, p_value: Friedman's, chi-squared with backbones - 1 degrees, corrected for ties.
        width: mean ranks that differ by less cannot be told apart (5%, all backbones).
        groups: backbones that one bar joins, in the order of mean rank; only maximal ones of two or
            more; one of all where Friedman's test finds nothing.
    """

    statistic: float
    p_value: float
    width: float
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Paired:
    """Wilcoxon's signed-rank test of two backbones' values over data sets.

    ``difference``: by how much the mean of ``first`` is better than that of ``second``.
    """

    first: str
    second: str
    difference: float
    p_value: float
    adjusted: float


def critical_difference(names: Sequence[str], ranks: Matrix) -> CriticalDifference:
    """Of (D, B) ranks within each data set."""
    statistic, p_value = friedman(ranks)
    data_sets, count = ranks.shape
    width = _studentized_range(count) * math.sqrt(count * (count + 1) / (12 * data_sets))
    means = ranks.mean(axis=0)
    order = np.argsort(means, kind="stable")
    reach = width if p_value < ALPHA else math.inf
    groups = _groups(means[order], reach)
    named = tuple(tuple(names[order[place]] for place in group) for group in groups)
    return CriticalDifference(statistic, p_value, width, named)


def friedman(ranks: Matrix) -> tuple[float, float]:
    """Statistic and p-value; (0, 1) where every data set ties all."""
    from scipy.special import chdtrc

    data_sets, count = ranks.shape
    squares = float((ranks.sum(axis=0) ** 2).sum())
    raw = 12 * squares / (data_sets * count * (count + 1)) - 3 * data_sets * (count + 1)
    sizes = np.concatenate([np.unique(row, return_counts=True)[1] for row in ranks])
    tied = float((sizes**3 - sizes).sum())
    correction = 1 - tied / (data_sets * count * (count**2 - 1))
    if correction <= 0:
        return 0.0, 1.0
    statistic = raw / correction
    return statistic, float(chdtrc(count - 1, statistic))


def wilcoxon(names: Sequence[str], values: Matrix) -> tuple[Paired, ...]:
    """Every two columns of (D, B) values, the larger the better and best first, Holm over them.

    Exact where it can be.
    """
    from scipy import stats

    first, second = np.triu_indices(values.shape[1], k=1)
    gaps = np.round(values[:, first] - values[:, second], 12)
    p_values = np.ones(len(first))
    moved = (gaps != 0).any(axis=0)
    if moved.any():
        p_values[moved] = stats.wilcoxon(gaps[:, moved], axis=0).pvalue
    adjusted, means = holm_adjusted(p_values), gaps.mean(axis=0)
    return tuple(
        Paired(names[a], names[b], float(means[i]), float(p_values[i]), float(adjusted[i]))
        for i, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True))
    )


@cache
def _studentized_range(count: int) -> float:
    """95% point for ``count`` means with known spread; 3.31 for three."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, count, math.inf))


def _groups(means: Matrix, reach: float) -> list[range]:
    """Maximal runs of (B,) rising ``means`` whose ends differ by less than ``reach``."""
    groups: list[range] = []
    for start, mean in enumerate(means):
        end = int(np.searchsorted(means, mean + reach, side="left"))
        if end - start > 1 and (not groups or end > groups[-1].stop):
            groups.append(range(start, end))
    return groups
