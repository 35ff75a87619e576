"""Ranking, ties and the sentence that answers the question."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scipy import stats

from raybench.analysis.ranking import answer, answers, leaderboard, standings
from raybench.records import PairRow
from tests.factories import (
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
)


def finished(backbone: str, values: Sequence[float], metric: str = "val/accuracy") -> PairRow:
    name = pair_id(backbone)
    finals = [final_trial(name, s, s, v, metric=metric) for s, v in enumerate(values)]
    return make_pair(backbone, [search_trial(name, 0, metric=metric), *finals])


def test_best_mean_first_and_no_row_is_dropped() -> None:
    board = leaderboard(
        make_snapshot(
            finished("slow", (0.80, 0.82, 0.81)),
            finished("none", ()),
            finished("best", (0.95, 0.96, 0.94)),
        )
    )
    assert list(board["backbone"]) == ["best", "slow", "none"]
    assert board["rank"].to_list()[:2] == [1, 2]
    assert board["rank"].isna().to_list() == [False, False, True]
    assert board["leads"].to_list() == [True, False, False]
    assert board["seeds"].to_list() == [3, 3, 0]


def test_a_minimised_metric_ranks_the_other_way_and_its_gain_stays_positive() -> None:
    better = pair_id("better")
    pair = make_pair(
        "better",
        [
            search_trial(better, 0, values=(1.0,), metric="val/nll"),
            search_trial(better, 1, 1e-3, values=(0.7,), metric="val/nll"),
            final_trial(better, 0, 0, 0.2, metric="val/nll"),
        ],
    )
    board = leaderboard(make_snapshot(finished("worse", (0.9,), "val/nll"), pair, metric="val/nll"))
    assert list(board["backbone"]) == ["better", "worse"]
    assert board["gain"].to_list() == pytest.approx([0.3, 0.0])


def test_ties_come_from_the_paired_test_not_from_overlapping_intervals() -> None:
    hard, easy, middle = 0.80, 0.96, 0.90  # seeds differ a lot, and by the same amount for both
    snapshot = make_snapshot(
        finished("leader", (hard, easy, middle)),
        finished("always_behind", (hard - 0.010, easy - 0.012, middle - 0.011)),
        finished("sometimes_ahead", (0.90, 0.86, 0.88)),
    )
    board = leaderboard(snapshot).set_index("backbone")
    leader, behind = board.loc["leader"], board.loc["always_behind"]
    assert behind["ci_high"] > leader["test_mean"]
    assert not behind["tied"]
    assert board.loc["sometimes_ahead", "tied"]
    raw = stats.ttest_rel([0.80, 0.96, 0.90], [0.79, 0.948, 0.889]).pvalue
    assert behind["p_holm"] == pytest.approx(2 * raw)


@pytest.mark.parametrize(
    "values",
    [
        (0.5,),  # one shared seed
        (0.80, 0.86, 0.80),  # the same difference for every seed
    ],
)
def test_what_seeds_cannot_tell_is_tied(values: tuple[float, ...]) -> None:
    ranked = standings(
        make_snapshot(finished("leader", (0.90, 0.96, 0.90)), finished("other", values))
    )["digits"]
    assert [s.tied for s in ranked] == [False, True]
    assert ranked[1].p_value is None


def test_tasks_keep_the_order_of_the_file() -> None:
    board = leaderboard(realistic_snapshot())
    assert list(board["task"].unique()) == ["digits", "digits (10%)"]
    assert len(board) == 8
    assert (board["task"] == "digits").sum() == 4


def test_columns_do_not_depend_on_what_exists() -> None:
    full, empty = leaderboard(realistic_snapshot()), leaderboard(empty_snapshot())
    none = leaderboard(make_snapshot())
    assert list(full.columns) == list(empty.columns)
    assert [c for c in empty.columns if c != "params/lr"] == list(none.columns)
    assert full.dtypes["test_mean"] == empty.dtypes["test_mean"] == none.dtypes["test_mean"]
    assert len(none) == 0


def test_costs_and_failures() -> None:
    board = leaderboard(realistic_snapshot()).set_index("pair")
    row = board.loc[pair_id("timm:resnet10t.c3_in1k")]
    assert row["parameters_m"] == 5.44
    assert row["search_device_seconds"] == (6 * 6 + 2) * 0.5
    assert row["final_device_seconds"] == 6 * 2 * 0.5
    assert row["params/lr"] == 1.3e-3
    assert row["test_default"] < row["test_mean"]
    assert board.loc[pair_id("python:my_models:<b>Net</b>"), "failures"] == 5


def test_the_answer_names_leader_and_ties() -> None:
    sentences = answers(realistic_snapshot())
    assert sentences["digits"] == (
        "On digits resnet10t leads with 97.5% ± 0.8 test accuracy (3 seeds); vit_tiny_patch16_224 "
        "cannot be told apart from it (1 of 4 without a result)."
    )
    assert sentences["digits (10%)"].endswith("the other is behind (2 of 4 without a result).")


def test_the_answer_without_a_result_says_what_is_going_on() -> None:
    assert answer(empty_snapshot()) == "On digits there is no final result yet (2 waiting)."


def test_the_answer_with_one_seed_claims_nothing() -> None:
    snapshot = make_snapshot(finished("a", (0.91,)), finished("b", (0.80,)))
    assert answer(snapshot) == (
        "On digits a leads with 91.0% test accuracy (1 seed); b cannot be told apart from it."
    )


def test_the_answer_with_one_result() -> None:
    snapshot = make_snapshot(finished("a", (0.91, 0.91)), make_pair("b", state="failed"))
    assert answer(snapshot) == (
        "On digits only a has a final result: 91.0% ± 0.0 test accuracy (2 seeds) "
        "(1 of 2 without a result)."
    )
