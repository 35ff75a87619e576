"""The data set is the unit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.averages import by_data_set, data_set_interval, everywhere, known
from raybench.analysis.results import by_task, pair_results
from tests.factories import make_pair, make_snapshot


def test_subsets_are_averaged_first() -> None:
    values = {"a": np.array([1.0, 2.0]), "a (10%)": np.array([3.0, 4.0]), "b": np.array([5.0, 6.0])}
    found = by_data_set(values, {"a": "a", "a (10%)": "a", "b": "b"})
    np.testing.assert_array_equal(found, [[2, 3], [5, 6]])


def test_an_interval_from_six_data_sets_on() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.2, 0.4, 0.6])
    assert data_set_interval(values[:5]) is None
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert data_set_interval(values) == pytest.approx(expected)


def test_only_backbones_of_every_task_are_compared() -> None:
    pairs = [make_pair(b, dataset=d) for b, d in (("a", "x"), ("b", "x"), ("a", "y"))]
    assert everywhere(by_task(pair_results(make_snapshot(*pairs)))) == ("a",)


def test_what_is_no_number_is_none() -> None:
    assert known(np.array([1.0, np.nan, np.inf])) == (1.0, None, None)
