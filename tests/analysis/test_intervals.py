"""Intervals against hand-worked cases and scipy's own."""

from __future__ import annotations

import math
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raybench.analysis.intervals import (
    holm_adjusted,
    metric_bounds,
    proportion_halfwidth,
    t_interval,
    t_quantile,
    wilson_interval,
)


def test_t_interval_by_hand() -> None:
    # mean 0.92, deviation 0.02, t(2 degrees, 97.5%) = 4.3027: half = 0.02 * 4.3027 / sqrt 3
    low, high = t_interval((0.90, 0.92, 0.94)) or (0.0, 0.0)
    assert low == pytest.approx(0.92 - 0.049683, abs=1e-6)
    assert high == pytest.approx(0.92 + 0.049683, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda v: stdev(v) > 1e-6))
def test_t_interval_agrees_with_scipy(values: list[float]) -> None:
    expected = stats.t.interval(
        0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values)
    )
    assert t_interval(values) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_t_interval_is_clipped_to_what_the_metric_can_be() -> None:
    assert t_interval((0.99, 1.0), (0.0, 1.0)) == pytest.approx((0.93147, 1.0), abs=1e-5)


@pytest.mark.parametrize("values", [(), (0.9,)])
def test_t_interval_needs_two_seeds(values: tuple[float, ...]) -> None:
    assert t_interval(values) is None


def test_bounds() -> None:
    assert metric_bounds("test/accuracy") == (0, 1)
    assert metric_bounds("val/brier") == (0, 2)
    assert metric_bounds("test/nll") == (0, math.inf)


def test_wilson_by_hand() -> None:
    # 8 of 10: (0.8 + 1.9207 / 10 +- 1.95996 sqrt(0.16 / 10 + 0.96036 / 100)) / 1.38415
    assert wilson_interval(0.8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_agrees_with_scipy(n_images: int, share: float) -> None:
    hits = round(share * n_images)
    expected = stats.binomtest(hits, n_images).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits / n_images, n_images) == pytest.approx(tuple(expected), abs=1e-9)


def test_halfwidth_shrinks_with_images_and_is_worst_in_the_middle() -> None:
    assert proportion_halfwidth(360) == pytest.approx(0.0514, abs=1e-4)
    assert proportion_halfwidth(2000) < proportion_halfwidth(360)
    assert proportion_halfwidth(360, 0.97) < proportion_halfwidth(360)


@pytest.mark.parametrize(("proportion", "images"), [(0.5, 0), (-0.1, 10), (1.1, 10)])
def test_wilson_refuses_what_is_no_proportion(proportion: float, images: int) -> None:
    with pytest.raises(ValueError, match="needs at least 1 image"):
        wilson_interval(proportion, images)


def test_holm_by_hand() -> None:
    adjusted = holm_adjusted(np.array([0.01, 0.04, 0.03, 0.5]))
    assert adjusted.tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    found = np.array(p_values)
    adjusted = holm_adjusted(found)
    assert ((found <= adjusted) & (adjusted <= 1)).all()
    assert (np.diff(adjusted[np.argsort(found)]) >= 0).all()


def test_overlap_widens_the_interval_as_nadeau_and_bengio_say() -> None:
    """Five folds, 20 test on 60 training images: s^2 (1/5 + 1/3) by hand."""
    values = (0.80, 0.84, 0.78, 0.86, 0.82)
    low, high = t_interval(values, overlap=1 / 3) or (0.0, 0.0)
    half = 2.7764451 * 0.0316228 * (1 / 5 + 1 / 3) ** 0.5
    assert (low, high) == pytest.approx((0.82 - half, 0.82 + half), abs=1e-6)


def test_holm_does_not_count_tests_that_could_not_be_made() -> None:
    adjusted = holm_adjusted(np.array([0.03, math.nan, 0.01]))
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.03, 0.02])
    assert math.isnan(adjusted[1])


def test_t_quantile_is_scipys() -> None:
    assert t_quantile(2) == pytest.approx(stats.t.ppf(0.975, 2))
    assert t_quantile(7.5, 0.01) == pytest.approx(stats.t.ppf(0.995, 7.5))
