"""The estimator against plain enumeration of what it stands for."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench.analysis.best_of_k import best_quantile, chances, expected_best

SCORES = st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.7, 0.9]), min_size=1, max_size=6)


def best_of(values: list[float], k: int) -> list[float]:
    return sorted(max(drawn) for drawn in combinations(values, k))


def test_by_hand() -> None:
    """Of {1, 2, 4} two at a time: {1,2} {1,4} {2,4}, so (2 + 4 + 4) / 3."""
    np.testing.assert_allclose(expected_best(np.array([4.0, 1.0, 2.0])), [7 / 3, 10 / 3, 4.0])


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_expectation_and_quantiles_are_those_of_all_subsets(values: list[float]) -> None:
    expected = expected_best(np.array(values))
    for share in (0.1, 0.5, 0.9):
        quantiles = best_quantile(np.array(values), share)
        for k in range(1, len(values) + 1):
            drawn = best_of(values, k)
            assert expected[k - 1] == pytest.approx(np.mean(drawn))
            assert quantiles[k - 1] == drawn[math.ceil(share * len(drawn) - 1e-9) - 1]


def test_drawing_with_replacement_would_be_too_low() -> None:
    """Dodge et al.'s own estimator, which Tang et al. show to be biased."""
    values = np.sort(np.random.default_rng(0).normal(size=20))
    reached = np.arange(1, 21) / 20
    theirs = [float(np.diff(reached**k, prepend=0.0) @ values) for k in range(1, 21)]
    ours = expected_best(values)
    assert ours[0] == pytest.approx(theirs[0])
    assert (ours[1:] > np.array(theirs)[1:]).all()


def test_thousands_of_trials_overflow_nothing() -> None:
    values = np.random.default_rng(0).uniform(size=1500)
    expected = expected_best(values)
    assert expected[0] == pytest.approx(values.mean())
    assert expected[-1] == values.max()
    assert (np.diff(expected) >= -1e-12).all()
    # n uniform draws: the best of k is k / (k + 1) of the way up.
    assert expected[99] == pytest.approx(100 / 101, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(SCORES, SCORES, SCORES, st.data())
def test_chances_are_those_of_all_draws_with_ties_shared(
    a: list[float], b: list[float], c: list[float], data: st.DataObject
) -> None:
    k = [data.draw(st.integers(1, len(values))) for values in (a, b, c)]
    shares = np.zeros(3)
    draws = [best_of(values, count) for values, count in zip((a, b, c), k, strict=True)]
    for bests in product(*draws):
        first = np.array(bests) == max(bests)
        shares += first / first.sum()
    (found,) = chances([np.array(values) for values in (a, b, c)], np.array([k]))
    np.testing.assert_allclose(found, shares / shares.sum(), atol=1e-12)


def test_who_has_no_trial_takes_no_part() -> None:
    searches = [np.array([0.5]), np.array([0.9])]
    found = chances(searches, np.array([[1, 0], [0, 0], [1, 1]]))
    np.testing.assert_allclose(found, [[1, 0], [0, 0], [0, 1]])
    assert chances([], np.zeros((0, 0), dtype=int)).shape == (0, 0)


@pytest.mark.parametrize(("count", "error"), [(16, 1e-12), (40, 2e-4)])
def test_equal_backbones_share_the_chance_however_many(count: int, error: float) -> None:
    (found,) = chances([np.full(3, 0.5)] * count, np.full((1, count), 2))
    np.testing.assert_allclose(found, 1 / count, atol=error)


def test_hundreds_of_searches_with_thousands_of_values() -> None:
    """Independent and alike, so that each wins as often; only the top of the grid is looked at."""
    values = np.random.default_rng(0).permutation(3000).reshape(300, 10).astype(float)
    found = chances(list(values), np.full((1, 300), 10))
    assert found[0].argmax() == values.max(axis=1).argmax() and found.max() == pytest.approx(1)
    spread = chances(list(values), np.full((1, 300), 2))
    assert spread.sum() == pytest.approx(1, abs=1e-6)
