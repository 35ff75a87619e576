"""Differences within a task, Holm over all of them, and tiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.comparison import compare, difference, tiers
from raybench.analysis.intervals import holm_adjusted
from tests.analysis.finished import crossed_sample, sample

A, B, C = (0.95, 0.96, 0.94), (0.90, 0.93, 0.87), (0.80, 0.81, 0.82, 0.79)


def test_seeds_are_compared_as_scipy_does_without_equal_variances() -> None:
    found = compare([sample("b", B), sample("c", C), sample("a", A)])
    assert found.pairs == ("a", "b", "c")
    for first, second in (("a", "b"), ("a", "c"), ("b", "c")):
        values = {"a": A, "b": B, "c": C}
        expected = stats.ttest_ind(values[first], values[second], equal_var=False)
        gap = found.between(first, second)
        assert gap.p_value == pytest.approx(expected.pvalue)
        assert gap.degrees == pytest.approx(expected.df)
        assert gap.ci95 == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert gap.mean == pytest.approx(np.mean(values[first]) - np.mean(values[second]))


def test_holm_runs_over_all_differences_of_the_task() -> None:
    found = compare([sample("a", A), sample("b", B), sample("c", C)])
    upper = np.triu_indices(3, k=1)
    np.testing.assert_allclose(found.adjusted[upper], holm_adjusted(found.p_value[upper]))
    np.testing.assert_allclose(found.adjusted, found.adjusted.T)


def test_a_minimised_metric_is_turned_round() -> None:
    a = sample("a", (0.2, 0.3), metric="test/nll")
    found = compare([a, sample("b", (0.1, 0.12), metric="test/nll")])
    assert found.pairs == ("b", "a")
    assert found.between("b", "a").mean == pytest.approx(0.14)


def test_images_are_added_and_what_both_hold_is_counted_once() -> None:
    """Two seeds each, three images, worked on paper.

    a: images .5 1 1, by seed 2/3 1; b: images 0 .5 1, by seed 1/3 2/3. Seeds: 1/36 + 1/36. Images:
    gaps .5 .5 0 have variance 1/12, over 3 images 1/36; single images in single seeds: 1/36 each,
    more than that, so nothing of the images is left to add.
    """
    a = crossed_sample("a", np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
    b = crossed_sample("b", np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    assert a.residual == pytest.approx(1 / 36) and b.residual == pytest.approx(1 / 36)
    found = compare([a, b])
    assert found.variances.seeds[0, 1] == pytest.approx(2 / 36)
    assert found.variances.images[0, 1] == 0
    assert found.variances.clusters[0, 1] == 3


def test_no_more_is_taken_off_than_seeds_hold() -> None:
    """Seeds alike by luck do not hide what the images leave open."""
    rng = np.random.default_rng(7)
    runs = [rng.normal(0.5, 0.3, (3, 80)) for _ in range(2)]
    a, b = (
        crossed_sample(n, r - r.mean(axis=1, keepdims=True) + 0.5)
        for n, r in zip("ab", runs, strict=True)
    )
    assert a.seed_variance == 0 and a.residual > 0 and a.images is not None and b.images is not None
    found = compare([a, b]).variances.images[0, 1]
    assert found == pytest.approx((a.images - b.images).var(ddof=1) / 80)


def test_what_seeds_leave_alike_is_told_apart_by_its_images() -> None:
    """Linear probes: every seed gives the same, so the paired test over images is all there is."""
    rng = np.random.default_rng(1)
    hard = rng.integers(0, 2, 300).astype(float)
    better, worse = np.maximum(hard, rng.random(300) < 0.3), hard
    a, b = (sample(n, [v.mean()] * 3, v) for n, v in (("a", better), ("b", worse)))
    found = compare([a, b])
    expected = stats.ttest_rel(better, worse)
    assert found.between("a", "b").p_value == pytest.approx(expected.pvalue)
    assert found.between("a", "b").degrees == pytest.approx(299)
    assert found.tiers == (("a",), ("b",))


def test_satterthwaite_weighs_the_parts() -> None:
    rng = np.random.default_rng(2)
    a, b = (crossed_sample(n, rng.normal(0.5, 0.3, (3, 50))) for n in "ab")
    found = compare([a, b])
    parts = [*(one.seed_variance or 0 for one in (a, b)), float(found.variances.images[0, 1])]
    expected = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2 + parts[2] ** 2 / 49)
    assert found.variances.degrees[0, 1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0.9,), (0.5, 0.6)),  # one seed: its spread is unknown
        ((0.9, 0.9), (0.5, 0.5)),  # seeds without spread, and no predictions
    ],
)
def test_where_nothing_can_be_told_all_stand_in_one_tier(
    one: tuple[float, ...], other: tuple[float, ...]
) -> None:
    found = compare([sample("a", one), sample("b", other)])
    assert found.tiers == (("a", "b"),)
    gap = found.between("a", "b")
    assert gap.mean == pytest.approx(np.mean(one) - np.mean(other))
    assert (gap.p_value, gap.ci95, gap.standard_error) == (None, None, None)


def test_predictions_of_one_only_add_nothing() -> None:
    a, b = sample("a", A, np.array([1.0, 0.9, 0.95])), sample("b", B)
    assert compare([a, b]).p_value[0, 1] == pytest.approx(
        stats.ttest_ind(A, B, equal_var=False).pvalue
    )
    assert compare([a, b]).variances.clusters[0, 1] == 0


def test_a_tier_is_its_best_and_all_not_told_apart_from_it() -> None:
    """c is not told apart from a though b, which is better, is; e goes with b, d with nobody."""
    told = {"ab": 0.01, "ad": 0.001, "ae": 0.01, "bd": 0.04, "cd": 0.9, "ac": 0.2, "be": 0.5}
    adjusted = np.full((5, 5), math.nan)
    for pair, p in told.items():
        row, column = ("abcde".index(name) for name in pair)
        adjusted[row, column] = adjusted[column, row] = p
    assert tiers(list("abcde"), adjusted) == (("a", "c"), ("b", "e"), ("d",))


def test_two_configurations_of_one_pair() -> None:
    gap = difference(sample("p", A), sample("p", B))
    assert gap.p_value == pytest.approx(stats.ttest_ind(A, B, equal_var=False).pvalue)


def test_nobody_and_one_alone() -> None:
    assert compare([]).tiers == ()
    alone = compare([sample("a", A)])
    assert alone.tiers == (("a",),) and alone.tier("a") == 1 and alone.tier("b") is None
