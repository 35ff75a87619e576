"""Intervals and the paired comparison: how sure a handful of seeds lets us be.

Only ``scipy.special`` is used, imported inside the functions: ``plan`` asks for the Wilson interval
and must stay quick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95
Interval = tuple[float, float]

_UNIT_METRICS = frozenset(
    "accuracy balanced_accuracy macro_f1 auroc average_precision sensitivity specificity "
    "ece".split()
)
_NO_SPREAD = 1e-12


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
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2))
    half = quantile * stdev(values) * math.sqrt(1 / len(values) + overlap)
    mean = fmean(values)
    return (max(bounds[0], mean - half), min(bounds[1], mean + half))


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


def paired_p_value(
    a: Mapping[int, float], b: Mapping[int, float], overlap: float = 0.0
) -> float | None:
    """Two-sided paired t test over the seeds (or folds) that ``a`` and ``b`` share.

    ``overlap`` as in ``t_interval``. None where seeds cannot tell: fewer than two are shared, or
    the difference is the same for every seed (kNN, linear probes), so that there is no spread.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if len(differences) < 2:
        return None
    spread = stdev(differences)
    if spread <= _NO_SPREAD:
        return None
    from scipy.special import stdtr

    statistic = fmean(differences) / (spread * math.sqrt(1 / len(differences) + overlap))
    return min(1.0, 2 * float(stdtr(len(differences) - 1, -abs(statistic))))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values adjusted for their number. Source: Holm (1979), Scand. J. Statist. 6, 65-70."""
    adjusted: dict[str, float] = {}
    running = 0.0
    ranked = sorted(p_values.items(), key=lambda item: item[1])
    for index, (name, p_value) in enumerate(ranked):
        running = max(running, min(1.0, (len(ranked) - index) * p_value))
        adjusted[name] = running
    return adjusted
