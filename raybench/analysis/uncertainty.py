"""How sure one pair's mean is: over its final seeds, over the test images, and over both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.intervals import (
    CONFIDENCE,
    Interval,
    metric_bounds,
    t_interval,
    t_interval_of,
)
from raybench.analysis.samples import Sample
from raybench.seeding import derive_seed

RULE = (
    "Over seeds: 95% t interval of the mean (over folds, where a data set is cross-validated, with "
    "Nadeau and Bengio's correction). Over images: percentile bootstrap of the test images, of "
    "whole groups where there are any; under 200 of them a t interval. Over both: the variances "
    "added, what both hold counted once; never narrower than either."
)
ENOUGH_TO_RESAMPLE = 200
"""Images (groups) from which on the percentile bootstrap keeps its coverage: 74% for 3 values, 89%
for 10 (``tests/analysis/test_simulation.py``)."""
RESAMPLES = 1000
_CHUNK = 1 << 20  # resampled clusters at a time, to bound the memory


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """95% intervals of one pair's mean test metric, clipped to what the metric can be.

    Attributes:
        mean: over seeds (folds).
        seeds: other seeds on the same images: a t interval; None under two. With folds: over folds,
            which differ by their images as well.
        images: the same networks on other images; None without predictions.
        both: other seeds and other images; None unless both are known. With folds: ``seeds``.
        runs: seeds, or folds.
        clusters: of test images; 0 without predictions.
    """

    mean: float
    seeds: Interval | None
    images: Interval | None
    both: Interval | None
    runs: int
    clusters: int

    @property
    def widest(self) -> Interval | None:
        """The one of those known that claims least.

        None where that is a point: seeds and images that are all alike say nothing of others.
        """
        found = self.both or self.seeds or self.images
        return None if found is None or math.isclose(*found) else found


def uncertainties(samples: Sequence[Sample], *seed_names: str | int) -> dict[str, Uncertainty]:
    """By pair. The images of one task are drawn alike for all; ``seed_names`` name the draw."""
    images = _image_intervals(samples, derive_seed("images", *seed_names))
    return {one.pair: _uncertainty(one, images.get(one.pair)) for one in samples}


def bootstrap(
    values: NDArray[np.float32], seed: int, count: int = RESAMPLES
) -> NDArray[np.float32]:
    """(count, P) means of (G, P) ``values`` over G of their rows, drawn with replacement."""
    size = len(values)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // size)
    return np.concatenate(
        [_weights(rng, min(chunk, count - done), size) @ values for done in range(0, count, chunk)]
    )


def _weights(rng: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    """(count, size): how often each row is drawn, over the size."""
    drawn = rng.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=count * size)
    return (counts.reshape(count, size) / size).astype(np.float32)


def _image_intervals(samples: Sequence[Sample], seed: int) -> dict[str, Interval]:
    known = [one for one in samples if one.images is not None and len(one.images) > 1]
    if not known:
        return {}
    values = np.stack([one.images for one in known if one.images is not None], axis=1)
    if len(values) >= ENOUGH_TO_RESAMPLE:
        centre = values.mean(axis=0)
        means = centre + bootstrap((values - centre).astype(np.float32), seed)
        tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
        lows, highs = np.quantile(means, tails, axis=0)
    else:
        found = [t_interval(column.tolist()) or (math.nan, math.nan) for column in values.T]
        lows, highs = np.array(found).T
    ends = zip(known, lows.tolist(), highs.tolist(), strict=True)
    return {one.pair: _clipped(one, (low, high)) for one, low, high in ends}


def _uncertainty(one: Sample, images: Interval | None) -> Uncertainty:
    seeds = one.final.ci95
    both = seeds if one.final.folds > 1 else _over_both(one, seeds, images)
    clusters = 0 if one.images is None else len(one.images)
    return Uncertainty(one.mean, seeds, images, both, one.runs, clusters)


def _over_both(
    one: Sample, over_seeds: Interval | None, over_images: Interval | None
) -> Interval | None:
    """Degrees of freedom by Satterthwaite (1946).

    They may be so many more than three seeds have that the sum looks surer than one of its parts,
    which nobody would believe: it reaches as far as either.
    """
    seeds, images = one.seed_variance, one.image_variance
    if seeds is None or images is None or one.images is None:
        return None
    assert over_seeds is not None and over_images is not None
    own = max(0.0, images - min(one.residual, seeds))
    total = seeds + own
    if total == 0:
        return (one.mean, one.mean)
    spread = seeds**2 / (one.runs - 1) + own**2 / (len(one.images) - 1)
    bounds = metric_bounds(one.final.metric)
    both = t_interval_of(one.mean, math.sqrt(total), total**2 / spread, bounds)
    lows, highs = zip(both, over_seeds, over_images, strict=True)
    return (min(lows), max(highs))


def _clipped(one: Sample, interval: Interval) -> Interval:
    low, high = metric_bounds(one.final.metric)
    return (max(low, interval[0]), min(high, interval[1]))
