"""Ranks, scores and wins per data set, and what is left out of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.results import by_task, pair_result
from raybench.analysis.scores import Scores, normalised, ranks_of, score_tasks
from raybench.records import PairRow
from tests.analysis.finished import finished

NAN = float("nan")


def scores(*pairs: PairRow, metric: str = "val/accuracy") -> Scores:
    results = [pair_result(pair, metric) for pair in pairs]
    return score_tasks(by_task(results), list(dict.fromkeys(p.backbone for p in pairs)))


def test_by_hand() -> None:
    found = scores(
        *(finished(n, (v,), dataset="d1") for n, v in zip("abc", (0.9, 0.7, 0.5), strict=True)),
        *(finished(n, (v,), dataset="d2") for n, v in zip("abc", (0.6, 0.8, 0.7), strict=True)),
    )
    assert (found.backbones, found.data_sets) == (("a", "b", "c"), ("d1", "d2"))
    assert found.ranks.tolist() == [[1, 2, 3], [3, 1, 2]]
    np.testing.assert_allclose(found.normalised, [[1, 0.5, 0], [0, 1, 0.5]])
    np.testing.assert_allclose(found.wins, [[1, 0.5, 0], [0, 1, 0.5]])


def test_subsets_of_a_data_set_are_one_unit() -> None:
    """Ranks (1, 2, 3) and (3, 1, 2) average to 2, 1.5, 2.5: ranked anew b, a, c."""
    found = scores(
        *(finished(n, (v,)) for n, v in zip("abc", (0.9, 0.7, 0.5), strict=True)),
        *(finished(n, (v,), subset="10%") for n, v in zip("abc", (0.6, 0.8, 0.7), strict=True)),
    )
    assert (found.data_sets, found.tasks) == (("digits",), ("digits", "digits (10%)"))
    assert found.ranks.tolist() == [[2, 1, 3]]
    np.testing.assert_allclose(found.normalised, [[0.5, 0.75, 0.25]])
    np.testing.assert_allclose(found.metric, [[0.75, 0.75, 0.6]])


def test_a_failed_backbone_is_last_with_score_0_and_no_win() -> None:
    found = scores(
        finished("a", (0.9,)), finished("b", (0.5,)),
        finished("c", (), state="failed"), finished("d", (), state="failed"),
    )  # fmt: skip
    assert found.ranks.tolist() == [[1, 2, 3.5, 3.5]]
    assert found.normalised.tolist() == [[1, 0, 0, 0]]
    assert found.metric.tolist() == [[0.9, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(found.wins, [[1, 2 / 3, 0, 0]])
    assert found.failures == {"c": ("digits",), "d": ("digits",)}


def test_a_task_that_is_not_finished_stands_aside_and_is_named() -> None:
    found = scores(
        finished("a", (0.9,), dataset="d1"), finished("b", (0.5,), dataset="d1"),
        finished("a", (0.9,), dataset="d2"), finished("b", (0.5,), dataset="d2", state="final"),
    )  # fmt: skip
    assert found.data_sets == ("d1",)
    assert found.aside == {"d2": "1 backbone not finished there"}


def test_a_backbone_that_is_not_tried_everywhere_stands_aside() -> None:
    found = scores(
        finished("a", (0.9,), dataset="d1"), finished("b", (0.5,), dataset="d1"),
        finished("a", (0.9,), dataset="d2"), finished("b", (0.5,), dataset="d2"),
        finished("c", (0.7,), dataset="d2"),
    )  # fmt: skip
    assert (found.backbones, found.left_out) == (("a", "b"), ("c",))
    assert found.aside == {}
    assert found.normalised.tolist() == [[1, 0], [1, 0]]


def test_where_all_failed_nothing_is_ranked() -> None:
    found = scores(finished("a", (), state="failed"), finished("b", (), state="failed"))
    assert found.aside == {"digits": "no backbone has a result there"}
    assert found.ranks.shape == (0, 0)


def test_a_tie_is_half_a_win() -> None:
    found = scores(finished("a", (0.9,)), finished("b", (0.9,)), finished("c", (0.5,)))
    assert found.ranks.tolist() == [[1.5, 1.5, 3]]
    np.testing.assert_allclose(found.wins, [[0.75, 0.75, 0]])


def test_a_minimised_metric_is_turned_round() -> None:
    found = scores(
        finished("a", (0.9,), metric="val/nll"), finished("b", (0.1,), metric="val/nll"),
        metric="val/nll",
    )  # fmt: skip
    assert found.ranks.tolist() == [[2, 1]] and found.normalised.tolist() == [[0, 1]]


@pytest.mark.parametrize("values", [(0.9, 0.7, 0.7, 0.5), (1.0, 1.0, 1.0)])
def test_ranks_are_scipys_from_the_best_down(values: tuple[float, ...]) -> None:
    expected = stats.rankdata([-v for v in values])
    np.testing.assert_array_equal(ranks_of(np.array(values)), expected)


def test_equal_values_are_all_as_good_as_the_best() -> None:
    assert normalised(np.array([0.7, 0.7, NAN])).tolist() == [1, 1, 0]
    assert normalised(np.array([[1.0, 3.0], [4.0, 2.0]])).tolist() == [[0, 1], [1, 0]]


def test_a_result_of_a_failed_pair_counts() -> None:
    """One of its seeds failed; the others say what it can do."""
    pair = replace(finished("b", (0.5, 0.6)), state="failed")
    assert scores(finished("a", (0.9,)), pair).failures == {}
