"""Friedman, Nemenyi and Wilcoxon against scipy and Demsar's table."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.intervals import holm_adjusted
from raybench.analysis.rank_tests import critical_difference, friedman, wilcoxon

TABLE = np.random.default_rng(2).random((14, 4)) + [0.0, 0.2, 0.05, 0.3]
RANKS = stats.rankdata(-TABLE, axis=1)


def test_friedman_is_scipys_with_ties_too() -> None:
    for table in (TABLE, np.random.default_rng(0).random((8, 5)), np.round(TABLE, 1)):
        expected = stats.friedmanchisquare(*table.T)
        found = friedman(stats.rankdata(-table, axis=1))
        assert found == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(("count", "value"), [(2, 1.960), (3, 2.343), (4, 2.569), (10, 3.164)])
def test_the_critical_values_are_those_of_demsars_table(count: int, value: float) -> None:
    """Demsar (2006), table 5a; critical difference q sqrt(k (k + 1) / 6 N)."""
    ranks = stats.rankdata(np.random.default_rng(0).random((14, count)), axis=1)
    found = critical_difference([str(i) for i in range(count)], ranks)
    assert found.width == pytest.approx(value * (count * (count + 1) / 84) ** 0.5, rel=5e-4)


def test_groups_are_maximal_runs_within_the_width() -> None:
    """Ten data sets that all rank alike: mean ranks 1, 2, 3, 4, width 1.48."""
    found = critical_difference("abcd", np.tile([1.0, 2.0, 3.0, 4.0], (10, 1)))
    assert found.width == pytest.approx(1.483, abs=1e-3)
    assert found.groups == (("a", "b"), ("b", "c"), ("c", "d"))


def test_where_friedman_finds_nothing_all_are_one_group() -> None:
    """Though the ends of the mean ranks are farther apart than the critical difference."""
    ranks = stats.rankdata(np.random.default_rng(14).random((6, 6)), axis=1)
    found = critical_difference("abcdef", ranks)
    assert np.ptp(ranks.mean(axis=0)) > found.width and found.p_value > 0.05
    assert [set(group) for group in found.groups] == [set("abcdef")]


def test_all_tied_is_no_finding() -> None:
    assert friedman(np.full((6, 3), 2.0)) == (0.0, 1.0)


def test_wilcoxon_is_scipys_with_holm_over_all() -> None:
    table = np.random.default_rng(1).random((9, 3)) + [0.4, 0.2, 0.0]
    found = wilcoxon("abc", table)
    assert [(p.first, p.second) for p in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [stats.wilcoxon(table[:, i], table[:, j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [p.p_value for p in found] == pytest.approx(raw)
    assert [p.adjusted for p in found] == pytest.approx(holm_adjusted(np.array(raw)).tolist())
    assert found[0].difference == pytest.approx((table[:, 0] - table[:, 1]).mean())


def test_wilcoxon_of_equal_scores_is_no_finding() -> None:
    (pair,) = wilcoxon("ab", np.full((6, 2), 0.5))
    assert (pair.p_value, pair.adjusted, pair.difference) == (1, 1, 0)
