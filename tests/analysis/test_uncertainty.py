"""Intervals of one pair: seeds, images, both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.intervals import t_interval
from raybench.analysis.uncertainty import bootstrap, uncertainties
from tests.analysis.finished import crossed_sample, sample

HITS = np.array([1.0] * 8 + [0.0] * 2)


def test_seeds_are_the_t_interval() -> None:
    found = uncertainties([sample("a", (0.7, 0.8, 0.9))])["a"]
    assert found.seeds == t_interval((0.7, 0.8, 0.9), (0, 1))
    assert (found.images, found.both, found.clusters, found.runs) == (None, None, 0, 3)
    assert found.widest == found.seeds


def test_seeds_that_are_all_alike_say_nothing_of_other_images() -> None:
    """A linear probe's: its interval over seeds is a point, and nobody would believe it."""
    alike = uncertainties([sample("a", (0.8, 0.8, 0.8)), sample("b", (0.8, 0.8), HITS)])
    assert alike["a"].seeds == pytest.approx((0.8, 0.8)) and alike["a"].widest is None
    assert alike["b"].widest == alike["b"].both != (0.8, 0.8)
    right = uncertainties([sample("c", (1.0, 1.0), np.ones(60))])["c"]
    assert right.both == (1.0, 1.0) and right.widest is None


def test_few_images_have_a_t_interval() -> None:
    found = uncertainties([sample("a", (0.8,), HITS)])["a"]
    expected = stats.t.interval(0.95, 9, loc=0.8, scale=stats.sem(HITS))
    assert found.images == pytest.approx((expected[0], 1.0))  # clipped
    assert (found.seeds, found.both) == (None, None)


def test_many_images_are_resampled() -> None:
    hits = np.tile(HITS, 40)
    found = uncertainties([sample("a", (0.8,), hits)], "digits")["a"]
    assert found.images is not None
    expected = stats.bootstrap((hits,), np.mean, method="percentile", rng=1).confidence_interval
    assert found.images == pytest.approx(tuple(expected), abs=0.006)


def test_the_draw_has_a_name() -> None:
    one = [sample("a", (0.8,), np.tile(HITS, 40))]
    assert uncertainties(one, "digits") == uncertainties(one, "digits")
    assert uncertainties(one, "digits") != uncertainties(one, "other")


def test_resamples_are_shared_by_all_columns() -> None:
    """Paired: columns that are alike but for a shift stay so in every draw."""
    values = np.random.default_rng(0).random((500, 1)).astype(np.float32)
    draws = bootstrap(np.hstack([values, values + 0.25]), seed=3, count=2500)
    assert draws.shape == (2500, 2)
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 0.25, atol=1e-5)
    assert draws[:, 0].std() == pytest.approx(values.std() / 500**0.5, rel=0.05)


def test_both_adds_the_variances_and_counts_the_shared_part_once() -> None:
    rng = np.random.default_rng(4)
    one = crossed_sample("a", rng.normal(0.5, 0.2, 60) + rng.normal(0, 0.1, (4, 60)))
    found = uncertainties([one])["a"]
    seeds, images = one.seed_variance, one.image_variance
    assert seeds is not None and images is not None and found.both is not None
    own = images - one.residual
    total = seeds + own
    degrees = total**2 / (seeds**2 / 3 + own**2 / 59)
    half = stats.t.ppf(0.975, degrees) * total**0.5
    assert found.both == pytest.approx((one.mean - half, one.mean + half))
    assert found.widest == found.both


def test_both_is_never_narrower_than_either() -> None:
    """Three seeds that differ by much: many images bring degrees of freedom, not certainty."""
    rng = np.random.default_rng(4)
    runs = np.array([[-0.1], [0.0], [0.1]]) + rng.normal(0.5, 0.3, 60)
    found = uncertainties([crossed_sample("a", runs)])["a"]
    assert found.seeds is not None and found.both == pytest.approx(found.seeds)


def test_folds_hold_their_images_already() -> None:
    one = sample("a", (0.7, 0.8, 0.9), HITS)
    by_run = {(0, fold): value for fold, value in enumerate((0.7, 0.8, 0.9))}
    folded = replace(one, final=replace(one.final, by_run=by_run, folds=3))
    found = uncertainties([folded])["a"]
    assert found.both == found.seeds == folded.final.ci95


def test_networks_that_are_always_right_have_no_width() -> None:
    found = uncertainties([sample("a", (1.0, 1.0), np.ones(300))])["a"]
    assert (found.seeds, found.images, found.both) == ((1, 1), (1, 1), (1, 1))
