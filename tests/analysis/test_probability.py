"""Chances to be best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.probability import (
    DRAWS,
    chances,
    draw_data_sets,
    draw_means,
    task_chances,
)
from raybench.analysis.samples import Sample
from tests.analysis.finished import crossed_sample, sample


def best_of(*samples: Sample) -> dict[str, float]:
    found = task_chances(samples, draw_means(samples, "digits"))
    assert found is not None and found.draws == DRAWS
    assert sum(found.best.values()) == pytest.approx(1)
    return dict(found.best)


def test_alike_means_are_alike_likely() -> None:
    found = best_of(*(sample(name, (0.90, 0.92, 0.94)) for name in "abc"))
    assert list(found.values()) == pytest.approx([1 / 3] * 3, abs=0.03)


def test_seeds_move_a_mean_by_a_student_t() -> None:
    """Against a backbone without spread: the tail of one t distribution."""
    values = (0.90, 0.92, 0.94)
    found = best_of(sample("a", values), sample("b", (0.95, 0.95, 0.95)))
    assert found["a"] == pytest.approx(stats.t.sf(0.03 / stats.sem(values), 2), abs=0.015)
    assert list(found) == ["b", "a"]


def test_images_move_all_means_together() -> None:
    """Two probes that differ on few of the images: as sure as the paired difference is."""
    rng = np.random.default_rng(0)
    base = (rng.random(400) < 0.7).astype(float)
    other = base.copy()
    other[np.flatnonzero(base == 0)[:12]] = 1
    other[np.flatnonzero(base == 1)[:6]] = 0
    found = best_of(sample("a", [other.mean()] * 3, other), sample("b", [base.mean()] * 3, base))
    gap = other - base
    assert found["a"] == pytest.approx(stats.norm.cdf(gap.mean() / stats.sem(gap)), abs=0.015)


def test_what_seeds_and_images_both_hold_moves_a_mean_once() -> None:
    """One mean's spread over draws: t of the seeds' own part, normal of the images'."""
    runs = np.random.default_rng(6).normal(0.7, 0.4, (8, 100))
    one = crossed_sample("a", runs)
    draws = draw_means([one, sample("b", (0.5,) * 8)], "digits")
    seeds, images = one.seed_variance, one.image_variance
    assert draws is not None and seeds is not None and images is not None
    own = max(0.0, seeds - one.residual)
    expected = own * 7 / 5 + images  # a t with 7 degrees has variance 7 / 5
    assert draws[:, 0].var() == pytest.approx(expected, rel=0.08)
    assert expected < 0.8 * (seeds * 7 / 5 + images)


def test_folds_move_a_mean_by_the_corrected_t() -> None:
    values = (0.80, 0.84, 0.78, 0.86, 0.82, 0.80)
    by_run = {(0, fold): value for fold, value in enumerate(values)}
    one = sample("a", values)
    folded = replace(one, final=replace(one.final, by_run=by_run, folds=6))
    draws = draw_means([folded], "digits")
    error = np.std(values, ddof=1) * (1 / 6 + 1 / 4) ** 0.5
    assert draws is not None
    inside = np.abs(draws[:, 0] - np.mean(values)) < stats.t.ppf(0.975, 5) * error
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


def test_a_minimised_metric() -> None:
    low, high = (0.1, 0.12), (0.9, 0.92)
    found = best_of(sample("a", low, metric="test/nll"), sample("b", high, metric="test/nll"))
    assert found["a"] > 0.9


def test_one_seed_borrows_the_median_spread() -> None:
    """Of three, neither the least nor the largest: the t of one degree has that quartile."""
    spreads = {"a": 0.001, "b": 0.01, "c": 0.1}
    known = [sample(name, (0.5 - s, 0.5, 0.5 + s)) for name, s in spreads.items()]
    draws = draw_means([*known, sample("lone", (0.5,))], "digits")
    assert draws is not None
    assert np.quantile(np.abs(draws[:, 3] - 0.5), 0.5) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("values", [(0.9,), (0.9, 0.9)])
def test_without_any_spread_nothing_is_said(values: tuple[float, ...]) -> None:
    samples = (sample("a", values), sample("b", [v - 0.1 for v in values]))
    assert draw_means(samples, "digits") is None
    assert task_chances(samples, None) is None


def test_the_draw_has_a_name_and_one_backbone_has_no_rival() -> None:
    samples = [sample("a", (0.90, 0.92)), sample("b", (0.91, 0.93))]
    first, again = draw_means(samples, "digits"), draw_means(samples, "digits")
    assert first is not None and again is not None
    np.testing.assert_array_equal(first, again)
    other = draw_means(samples, "other")
    assert other is not None and not np.array_equal(first, other)
    assert task_chances(samples[:1], first[:, :1]) is None


def test_equal_draws_are_shared() -> None:
    found = chances(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]]), list("abc"), False, "")
    assert dict(found.best) == {"b": 0.5, "a": 0.25, "c": 0.25}


def test_what_they_speak_for_is_named() -> None:
    bare = [sample(n, (0.9, 0.8)) for n in "ab"]
    seen = [sample(n, (0.9, 0.8), np.array([1.0, 0.7, 0.85])) for n in "ab"]
    for samples, scope in ((bare, "seeds"), (seen, "seeds and test images")):
        found = task_chances(samples, draw_means(samples))
        assert found is not None and found.scope == scope


def test_data_sets_move_a_difference_by_a_student_t() -> None:
    values = np.random.default_rng(2).normal(0.7, [0.05, 0.1], (7, 2))
    found = chances(draw_data_sets(values, "x"), "ab", False, "data sets like these")
    gaps = values[:, 0] - values[:, 1]
    expected = stats.t.cdf(gaps.mean() / stats.sem(gaps), 6)
    assert 0.6 < expected < 0.95
    assert found.best["a"] == pytest.approx(expected, abs=0.02)
