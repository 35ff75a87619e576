"""All backbones of one task against each other, and the tiers that follow.

Seeds of two backbones share a number and nothing else, so they are compared as independent samples
(Welch 1947). Folds share their images, so they are compared in pairs (Nadeau and Bengio 2003). Test
images are shared too: with predictions, the images' paired part is added to that of the seeds,
which also tells networks apart that no seed changes (linear probes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.intervals import ALPHA, Interval, holm_adjusted, t_quantile
from raybench.analysis.samples import Sample
from raybench.records import is_minimised

Matrix = NDArray[np.float64]

RULE = (
    "A tier is its best backbone and all that cannot be told apart from it: Welch's t test over "
    "final seeds (over folds, where a data set is cross-validated, the paired t test corrected for "
    "shared training images), with the paired spread over test images added where predictions are "
    "kept; 5%, Holm over all differences of the task. Without two seeds nothing can be told apart."
)
_NO_VARIANCE = 1e-24


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one sample is than another (positive: better), and how sure that is.

    All but ``mean`` are None where nothing can be told.
    """

    mean: float
    standard_error: float | None
    degrees: float | None
    p_value: float | None
    ci95: Interval | None


@dataclass(frozen=True, slots=True, eq=False)
class Variances:
    """What (P, P) differences of means vary by; NaN unknown.

    Attributes:
        seeds: over seeds or folds.
        images: the rest, over test images: without what the seeds' part holds already.
        degrees: Satterthwaite's, of the sum.
        clusters: of test images; 0 where ``images`` is left out.
    """

    seeds: Matrix
    images: Matrix
    degrees: Matrix
    clusters: NDArray[np.int64]

    @property
    def total(self) -> Matrix:
        return self.seeds + self.images


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Every sample of one task against every other one.

    Matrices are (P, P), row against column, NaN where nothing can be told: one seed only, or seeds
    that are all alike and no predictions.

    Attributes:
        samples: best mean first.
        difference: how much better the row is than the column (positive: better).
        variances: of the differences.
        p_value: two-sided.
        adjusted: by Holm, over all differences of the task.
        tiers: pair ids; a tier is its best member and all that cannot be told apart from it.
    """

    samples: tuple[Sample, ...]
    difference: Matrix
    variances: Variances
    p_value: Matrix
    adjusted: Matrix
    tiers: tuple[tuple[str, ...], ...]

    @property
    def pairs(self) -> tuple[str, ...]:
        """Ids, in the order of the rows."""
        return tuple(one.pair for one in self.samples)

    def index(self, pair: str) -> int:
        """The row of a pair; ValueError where it has no result."""
        return self.pairs.index(pair)

    def tier(self, pair: str) -> int | None:
        """1 for the leader's; None without a result."""
        return next((n for n, tier in enumerate(self.tiers, 1) if pair in tier), None)

    def between(self, better: str, worse: str) -> Difference:
        """Not adjusted for the other differences."""
        row, column = self.index(better), self.index(worse)
        return _difference(self.difference, self.variances, self.p_value, row, column)


def compare(samples: Sequence[Sample]) -> Comparison:
    """All differences between the samples of one task; their images are in one order."""
    ranked = sorted(samples, key=lambda one: (-_sign(one) * one.mean, one.pair))
    difference, variances = _differences(ranked)
    p_value = _p_values(difference, variances)
    adjusted = _adjusted(p_value)
    found = tiers([one.pair for one in ranked], adjusted)
    return Comparison(tuple(ranked), difference, variances, p_value, adjusted, found)


def difference(a: Sample, b: Sample) -> Difference:
    """How much better ``a`` is than ``b``, two samples of one task."""
    found, variances = _differences([a, b])
    return _difference(found, variances, _p_values(found, variances), 0, 1)


def t_p_value(statistic: Matrix, degrees: Matrix) -> Matrix:
    """Two-sided; NaN stays NaN."""
    from scipy.special import stdtr

    return np.asarray(np.minimum(1.0, 2 * stdtr(degrees, -np.abs(statistic))))


def _difference(
    found: Matrix, variances: Variances, p_value: Matrix, row: int, column: int
) -> Difference:
    mean, p = float(found[row, column]), float(p_value[row, column])
    if math.isnan(p):
        return Difference(mean, None, None, None, None)
    error = math.sqrt(variances.total[row, column])
    degrees = float(variances.degrees[row, column])
    half = t_quantile(degrees) * error
    return Difference(mean, error, degrees, p, (mean - half, mean + half))


def _sign(one: Sample) -> int:
    return -1 if is_minimised(one.final.metric) else 1


def _differences(samples: Sequence[Sample]) -> tuple[Matrix, Variances]:
    if not samples:
        nothing = np.zeros((0, 0))
        return nothing, Variances(nothing, nothing, nothing, nothing.astype(np.int64))
    if any(one.final.folds > 1 for one in samples):
        return _by_folds(samples)
    return _by_seeds(samples)


def _by_seeds(samples: Sequence[Sample]) -> tuple[Matrix, Variances]:
    """Welch's, with the images' paired part added; degrees of freedom by Satterthwaite (1946)."""
    means = np.array([_sign(one) * one.mean for one in samples])
    own = np.array([math.nan if (v := one.seed_variance) is None else v for one in samples])
    squared = own**2 / np.array([max(1, one.runs - 1) for one in samples])
    seeds = own[:, None] + own[None, :]
    images, clusters = _image_part(samples, seeds)
    by_images = images**2 / np.maximum(clusters - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = (seeds + images) ** 2 / (squared[:, None] + squared[None, :] + by_images)
    return means[:, None] - means[None, :], Variances(seeds, images, degrees, clusters)


def _image_part(samples: Sequence[Sample], seeds: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """What test images add to the variances of differences, and by how many clusters.

    0 where one of the two has no predictions. What single images do in single seeds is in the
    spread over seeds already, so it is taken off, as far as ``seeds`` hold it.
    """
    covariance, has = image_covariance(samples)
    own, residual = np.diag(covariance), np.array([one.residual for one in samples])
    total = own[:, None] + own[None, :] - 2 * covariance
    shared = np.minimum(residual[:, None] + residual[None, :], seeds)
    both = has[:, None] & has[None, :]
    size = max((len(one.images) for one in samples if one.images is not None), default=0)
    return np.where(both, np.maximum(0.0, total - shared), 0.0), np.where(both, size, 0)


def image_covariance(samples: Sequence[Sample]) -> tuple[Matrix, NDArray[np.bool_]]:
    """Covariance (P, P) of the means over test images, 0 without predictions; and who has them."""
    has = np.array([one.image_variance is not None for one in samples], dtype=bool)
    covariance = np.zeros((len(samples), len(samples)))
    if has.any():
        known = [one.images for one, keeps in zip(samples, has, strict=True) if keeps]
        values = np.stack([np.asarray(images) for images in known])
        found = np.atleast_2d(np.cov(values)) / values.shape[1]
        covariance[np.ix_(has, has)] = found
    return covariance, has


def _by_folds(samples: Sequence[Sample]) -> tuple[Matrix, Variances]:
    """Paired by fold, over those that both have; their images differ, so no part is added."""
    folds = sorted({fold for one in samples for fold in one.units})
    units = np.array([[_sign(one) * one.units.get(f, math.nan) for f in folds] for one in samples])
    shape = (len(samples), len(samples))
    means, seeds, degrees = (np.full(shape, math.nan) for _ in range(3))
    overlap = max(one.final.overlap for one in samples)
    for row, values in enumerate(units):
        gaps = values - units
        count = np.isfinite(gaps).sum(axis=1)
        known = count >= 2
        means[row] = np.nansum(gaps, axis=1) / np.maximum(count, 1)
        spread = np.nanvar(gaps[known], axis=1, ddof=1)
        seeds[row, known] = spread * (1 / count[known] + overlap)
        degrees[row, known] = count[known] - 1
    return means, Variances(seeds, np.zeros(shape), degrees, np.zeros(shape, dtype=np.int64))


def _p_values(difference: Matrix, variances: Variances) -> Matrix:
    total = variances.total
    known = total > _NO_VARIANCE
    statistic = difference / np.sqrt(np.where(known, total, math.nan))
    return np.asarray(t_p_value(statistic, variances.degrees))


def _adjusted(p_value: Matrix) -> Matrix:
    """Holm over the upper triangle, mirrored."""
    upper = np.triu_indices(len(p_value), k=1)
    adjusted = np.full_like(p_value, math.nan)
    adjusted[upper] = holm_adjusted(p_value[upper])
    return np.where(np.isnan(adjusted), adjusted.T, adjusted)


def tiers(names: Sequence[str], adjusted: Matrix) -> tuple[tuple[str, ...], ...]:
    """From the best name down: it and all those left whose difference from it is not shown."""
    left = list(range(len(names)))
    found = []
    while left:
        best = left[0]
        tier = [row for row in left if row == best or not adjusted[best, row] < ALPHA]
        found.append(tuple(names[row] for row in tier))
        left = [row for row in left if row not in tier]
    return tuple(found)
