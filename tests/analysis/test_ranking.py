"""Places within a task, and the table of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.ranking import Standing
from raybench.analysis.whole import Analysis
from raybench.records import PairRow, SweepSnapshot
from tests.analysis.finished import finished
from tests.factories import (
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
)
from tests.predictions import Memory, from_hits


def leaderboard(snapshot: SweepSnapshot):  # type: ignore[no-untyped-def]
    return Analysis(snapshot).leaderboard()


def standings(*pairs: PairRow) -> tuple[Standing, ...]:
    return Analysis(make_snapshot(*pairs)).standings["digits"]


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
    assert board["tier"].to_list()[:2] == [1, 2]
    assert board["rank"].isna().to_list() == [False, False, True]
    assert board["leads"].to_list() == [True, False, False]
    assert board["seeds"].to_list() == [3, 3, 0]
    assert board["chance"].to_list()[:2] == pytest.approx([1, 0], abs=0.02)
    assert np.isnan(board["chance"].to_list()[2])


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


def test_ties_come_from_the_test_with_holm_over_all_differences() -> None:
    leader, behind, wild = (0.95, 0.96, 0.94), (0.90, 0.91, 0.90), (0.99, 0.86, 0.88)
    first, *others = standings(
        finished("leader", leader), finished("behind", behind), finished("wild", wild)
    )
    assert first.leads and (first.tied, first.p_value, first.tier) == (False, None, 1)
    by_name = {s.result.pair.backbone: s for s in others}
    raw = stats.ttest_ind(leader, behind, equal_var=False).pvalue
    assert by_name["behind"].p_value == pytest.approx(3 * raw)
    assert (by_name["behind"].tied, by_name["behind"].tier) == (False, 2)
    assert (by_name["wild"].tied, by_name["wild"].tier) == (True, 1)


def test_a_tier_better_than_one_above_is_loose() -> None:
    """The wild ones are below ``behind``, yet too uncertain to be told apart from the leader."""
    ranked = standings(
        finished("leader", (0.95, 0.96, 0.94)),
        finished("behind", (0.90, 0.91, 0.90)),
        finished("wild", (0.99, 0.80, 0.82)),
        finished("wilder", (0.99, 0.77, 0.79)),
        finished("last", (0.50, 0.51, 0.50)),
        finished("broken", (), state="failed"),
    )
    assert [(s.result.pair.backbone, s.tier, s.loose) for s in ranked] == [
        ("leader", 1, False),
        ("behind", 2, False),
        ("wild", 1, True),
        ("wilder", 1, True),
        ("last", 3, False),
        ("broken", None, False),
    ]


@pytest.mark.parametrize(
    ("leader", "other"), [((0.9,), (0.5,)), ((0.9, 0.9), (0.8, 0.8)), ((0.9, 0.95), (0.5,))]
)
def test_what_seeds_cannot_tell_is_tied(
    leader: tuple[float, ...], other: tuple[float, ...]
) -> None:
    ranked = standings(finished("leader", leader), finished("other", other))
    assert [s.tied for s in ranked] == [False, True]
    assert ranked[1].p_value is None


def test_predictions_tell_probes_apart_that_no_seed_changes() -> None:
    """90 and 60 of the same 120 images."""
    pairs = [finished("strong", (0.75, 0.75)), finished("weak", (0.5, 0.5))]
    hits = {"strong": [1] * 90 + [0] * 30, "weak": [1] * 60 + [0] * 60}
    source = Memory({t.key: from_hits(hits[p.backbone]) for p in pairs for t in p.final_trials()})
    analysis = Analysis(make_snapshot(*pairs), source)
    ranked = analysis.standings["digits"]
    assert ranked[1].p_value is not None and ranked[1].p_value < 1e-6
    assert ranked[0].uncertainty is not None and ranked[0].uncertainty.images is not None
    board = analysis.leaderboard()
    assert board["ci_images_low"].notna().all() and board["ci_both_high"].notna().all()
    assert source.reads == 4


def test_a_failed_backbone_has_no_rank_and_no_chance() -> None:
    ranked = standings(
        finished("a", (0.9, 0.91)), finished("b", (0.9, 0.92)), finished("c", (), state="failed")
    )
    assert ranked[-1].result.pair.backbone == "c"
    assert (ranked[-1].rank, ranked[-1].tier, ranked[-1].chance) == (None, None, None)


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
