"""The best of k trials drawn without replacement from the n that were run, in closed form.

Source: Dodge et al. (2019), Show Your Work (arXiv 1909.03004). Theirs draws with replacement and is
too low; this is the unbiased one that Tang et al. (2020, arXiv 2004.13705) ask for. At k = n it is
the best trial seen, with no spread left: there it says nothing about another n trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PIECE = 128
_NEGLIGIBLE = 1e-9  # chance that everybody is below what has been looked at
_NODES = 8  # at most, of the integral over ties: exact while no more than 16 tie


@lru_cache(maxsize=64)
def _reached(n: int) -> Floats:
    """(n + 1, n + 1): row k, column m: chance that the best of k is among the m smallest.

    It is C(m, k) / C(n, k); in logarithms, since C(2000, 1000) is beyond a float.
    """
    from scipy.special import gammaln

    log = gammaln(np.arange(n + 1) + 1.0)  # of factorials
    k, m = np.ogrid[: n + 1, : n + 1]
    enough = m >= k
    ratio = log[m] - log[np.where(enough, m - k, 0)] + log[n - k] - log[n]
    return np.where(enough, np.exp(ratio), 0.0)


def expected_best(values: Floats) -> Floats:
    """(n,) expected largest of k = 1 ... n of ``values`` (n,)."""
    mass: Floats = np.diff(_reached(len(values))[1:], axis=1)
    best: Floats = mass @ np.sort(values)
    return best


def best_quantile(values: Floats, share: float) -> Floats:
    """(n,) quantile of the largest of k = 1 ... n: the smallest value that ``share`` stay under."""
    enough = _reached(len(values))[1:, 1:] >= share - 1e-12
    quantile: Floats = np.sort(values)[np.argmax(enough, axis=1)]
    return quantile


def chances(searches: Sequence[Floats], counts: NDArray[np.int64]) -> Floats:
    """(K, S) chance of each of S searches to hold the largest value after so many own trials.

    Orders are independent, equal values toss a coin.

    Args:
        searches: their values.
        counts: (K, S) trials; 0 takes no part, and a row of zeros is nobody's.
    """
    rising = [np.sort(values) for values in searches]
    found = np.zeros(counts.shape)
    for row, count in enumerate(counts):
        found[row] = _chances(rising, count)
    return found


def _chances(rising: Sequence[Floats], counts: NDArray[np.int64]) -> Floats:
    taking = np.flatnonzero(counts).tolist()
    found = np.zeros(len(rising))
    if not taking:
        return found
    # The best of k is at least the k-th smallest, so somebody has this, and nobody wins with less.
    floor = max(rising[index][counts[index] - 1] for index in taking)
    able = [index for index in taking if rising[index][-1] >= floor]
    grid = np.unique(np.concatenate([rising[index] for index in able]))
    for points in _from_the_top(grid[grid >= floor]):
        under, reached = (
            np.stack([_below(rising[index], counts[index], points, side) for index in able])
            for side in ("left", "right")
        )
        found[able] += _first(under, reached - under)
        if under[:, 0].prod() < _NEGLIGIBLE:
            break
    return found


def _from_the_top(grid: Floats) -> Iterator[Floats]:
    """Pieces of a rising grid, the highest first: among many searches only they matter."""
    for end in range(len(grid), 0, -_PIECE):
        yield grid[max(0, end - _PIECE) : end]


def _below(rising: Floats, count: int, grid: Floats, side: Literal["left", "right"]) -> Floats:
    """(G,) chances that the best of ``count`` is below each point, or at most there (right)."""
    found: Floats = _reached(len(rising))[count, np.searchsorted(rising, grid, side=side)]
    return found


def _first(under: Floats, mass: Floats) -> Floats:
    """(S,) chances to be largest, from (S, G) chances to be under and at points of a common grid.

    A tie at a grid point is broken by a uniform number each, so that the point's mass is spread
    over [0, 1] and the usual integral of a density times the others' distributions holds.
    """
    nodes, weights = np.polynomial.legendre.leggauss(min(_NODES, len(mass) // 2 + 1))
    total = np.zeros(len(mass))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        spread = under + node * mass
        everyone = spread.prod(axis=0)
        # Where a search cannot be yet, the product is 0, and so is that search's own mass.
        others = np.divide(everyone, spread, out=np.zeros_like(spread), where=spread > 0)
        total += weight * (mass * others).sum(axis=1)
    return total
