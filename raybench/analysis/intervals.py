"""Intervals, and p-values corrected for their number: how sure a handful of seeds lets us be.

Only ``scipy.special`` and numpy are used, imported inside the functions: ``plan`` asks for the
Wilson interval and must stay quick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
ALPHA = 0.05
Interval = tuple[float, float]

_UNIT_METRICS = frozenset(
    "accuracy balanced_accuracy macro_f1 auroc average_precision sensitivity specificity "
    "ece".split()
)


def metric_bounds(metric: str) -> Interval:
    """Smallest and largest value that ``metric`` (``val/...`` or ``test/...``) can take."""
    name = metric.split("/", 1)[-1]
    if name in _UNIT_METRICS:
        return (0.0, 1.0)
    return (0.0, 2.0 if name == "brier" else math.inf)


def t_interval(
    values: Sequence[float], bounds: Interval = (-math.inf, math.inf), overlap: float = 0.0
) -> Interval | None:
    """95% Student t interval of the mean, clipped to ``bounds``; None under two values.

    ``overlap``: test over training images where the values come from cross-validation, whose folds
    share training images; 0: independent values. The variance of the mean is then taken as
    s^2 (1/n + overlap). Source: Nadeau and Bengio (2003), Machine Learning 52, 239-281.
    """
    if len(values) < 2:
        return None
    error = stdev(values) * math.sqrt(1 / len(values) + overlap)
    return t_interval_of(fmean(values), error, len(values) - 1, bounds)


def t_interval_of(
    mean: float, error: float, degrees: float, bounds: Interval = (-math.inf, math.inf)
) -> Interval:
    """95% Student t interval from a standard error and its degrees of freedom, clipped."""
    half = t_quantile(degrees) * error
    return (max(bounds[0], mean - half), min(bounds[1], mean + half))


def t_quantile(degrees: float, tail: float = 1 - CONFIDENCE) -> float:
    """What Student's t exceeds, on either side, with probability ``tail``."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - tail / 2))


def wilson_interval(proportion: float, n_images: int) -> Interval:
    """95% Wilson score interval of a proportion measured on ``n_images``.

    Source: Wilson (1927), JASA 22, 209-212. Unlike mean +- 1.96 standard errors it keeps its
    coverage near 0 and 1, where accuracies live.

    Raises:
        ValueError: no images, or a proportion outside [0, 1].
    """
    if n_images < 1 or not 0 <= proportion <= 1:
        raise ValueError(
            f"needs at least 1 image and a proportion in [0, 1], got {n_images} and {proportion:g}"
        )
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    scale = 1 / (1 + z * z / n_images)
    centre = scale * (proportion + z * z / (2 * n_images))
    variance = proportion * (1 - proportion) / n_images
    half = scale * z * math.sqrt(variance + z * z / (4 * n_images * n_images))
    return (max(0.0, centre - half), min(1.0, centre + half))


def proportion_halfwidth(n_images: int, proportion: float = 0.5) -> float:
    """Half the width of the Wilson interval: how far sampling the test images moves an accuracy.

    The default proportion is the worst case.
    """
    low, high = wilson_interval(proportion, n_images)
    return (high - low) / 2


def holm_adjusted(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) p-values adjusted for their number; NaN, a test that could not be made, does not count.

    Source: Holm (1979), Scand. J. Statist. 6, 65-70.
    """
    import numpy as np

    adjusted = np.full(len(p_values), math.nan)
    order = np.argsort(p_values)[: int(np.isfinite(p_values).sum())]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted
