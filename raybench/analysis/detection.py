"""How likely a t test finds a gap, where its variance is a sum of estimated parts.

The noncentral t, averaged over what the parts' estimates, and with them Satterthwaite's degrees of
freedom, may come out as. With three seeds that matters: the plain noncentral t promises 80% where
Welch's test finds 68% (``tests/analysis/test_simulation.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.intervals import ALPHA

Part = tuple[float, float]
"""A variance, and the degrees of freedom of its estimate."""

POWER = 0.8


def power(gap: float, parts: Sequence[Part], alpha: float = ALPHA) -> float:
    """Chance that the two-sided t test of ``gap`` finds it at ``alpha``.

    ``parts``: of the variance that the test estimates, each with its degrees of freedom; with one
    part, this is the noncentral t distribution.
    """
    return _found(gap, _needed_gaps(parts, alpha), sum(variance for variance, _ in parts))


def detectable_gap(parts: Sequence[Part], alpha: float = ALPHA) -> float:
    """The gap that is found with 80% power."""
    needed, variance = _needed_gaps(parts, alpha), sum(variance for variance, _ in parts)
    low, high = 0.0, math.sqrt(variance)
    while _found(high, needed, variance) < POWER:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        enough = _found(middle, needed, variance) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _needed_gaps(parts: Sequence[Part], alpha: float) -> NDArray[np.float64]:
    """What a measured gap must exceed, for equally likely outcomes of the parts' estimates."""
    from scipy.special import chdtri, stdtrit

    known = [(variance, degrees) for variance, degrees in parts if variance > 0]
    outcomes = np.meshgrid(*(v * chdtri(free, 1 - _midpoints(free)) / free for v, free in known))
    total = np.sum(outcomes, axis=0)
    frees = [free for _, free in known]
    squares = sum(part**2 / free for part, free in zip(outcomes, frees, strict=True))
    return np.asarray(stdtrit(total**2 / squares, 1 - alpha / 2) * np.sqrt(total))


def _midpoints(degrees: float) -> NDArray[np.float64]:
    """Of equally likely stretches; an estimate with many degrees of freedom needs few."""
    count = 24 if degrees < 10 else 12 if degrees < 30 else 4
    return (np.arange(count) + 0.5) / count


def _found(gap: float, needed: NDArray[np.float64], variance: float) -> float:
    from scipy.special import ndtr

    unit = math.sqrt(variance)
    return float((ndtr((gap - needed) / unit) + ndtr((-gap - needed) / unit)).mean())
