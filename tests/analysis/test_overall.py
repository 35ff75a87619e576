"""The sweep over all its data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.overall import Overall
from raybench.analysis.whole import Analysis
from raybench.records import PairRow
from tests.analysis.finished import finished
from tests.factories import make_pair, make_snapshot

BEST, MIDDLE, WORST = 0.9, 0.8, 0.7


def sweep(means: dict[str, Sequence[float]], spread: float = 0.005) -> list[PairRow]:
    """A final mean per backbone and data set, three seeds each."""
    return [
        finished(name, (mean - spread, mean, mean + spread), dataset=f"d{number}")
        for name, row in means.items()
        for number, mean in enumerate(row)
    ]


def overall(*pairs: PairRow, metric: str = "val/accuracy") -> Overall:
    return Analysis(make_snapshot(*pairs, metric=metric)).overall


EIGHT = {
    "a": [0.90, 0.91, 0.88, 0.93, 0.92, 0.90, 0.95, 0.90],
    "b": [0.85, 0.86, 0.89, 0.88, 0.90, 0.85, 0.90, 0.86],
    "c": [0.80, 0.70, 0.75, 0.81, 0.79, 0.74, 0.70, 0.80],
}


def test_means_with_studentised_intervals_over_data_sets() -> None:
    found = overall(*sweep(EIGHT))
    first = found.scores[0]
    assert first.backbone == "a" and found.enough
    ranks = [1, 1, 2, 1, 1, 1, 1, 1]
    assert first.mean_rank == np.mean(ranks)
    low, high = stats.t.interval(0.95, 7, loc=np.mean(ranks), scale=stats.sem(ranks))
    assert first.mean_rank_ci == pytest.approx((max(1.0, low), high))
    assert first.mean == pytest.approx(np.mean(EIGHT["a"]))
    own = stats.t.interval(0.95, 7, loc=np.mean(EIGHT["a"]), scale=stats.sem(EIGHT["a"]))
    assert first.mean_ci == pytest.approx(own)
    assert first.win_rate == pytest.approx((7 + 0.5) / 8)
    values = found.normalised[:, 0]
    assert values[2] == pytest.approx((0.88 - 0.75) / (0.89 - 0.75))
    low, _ = stats.t.interval(0.95, 7, loc=values.mean(), scale=stats.sem(values))
    assert first.score_ci == pytest.approx((low, 1.0))  # clipped


def test_tests_over_data_sets() -> None:
    found = overall(*sweep(EIGHT))
    assert found.critical_difference is not None
    assert [f"{p.first}{p.second}" for p in found.wilcoxon] == ["ab", "ac", "bc"]
    # eight data sets, all in one direction: 2 / 2^8, times three
    assert found.wilcoxon[1].adjusted == pytest.approx(3 * 2 / 2**8)
    assert found.tiers == (("a",), ("b",), ("c",))


def test_under_six_data_sets_nothing_is_said_about_others() -> None:
    found = overall(*sweep({name: row[:5] for name, row in EIGHT.items()}))
    assert not found.enough
    assert all(s.mean_rank_ci is s.score_ci is s.win_rate_ci is None for s in found.scores)
    assert (found.critical_difference, found.wilcoxon, found.tiers) == (None, (), ())
    assert "too few to speak about others" in found.note
    assert found.chances is not None and found.chances.scope == "these 5 data sets"


def test_subsets_do_not_make_data_sets() -> None:
    pairs = [
        finished(name, (mean, mean + 0.01), subset=subset)
        for name, mean in (("a", 0.9), ("b", 0.8))
        for subset in ("full", "50%", "25%", "10%", "5%", "2%")
    ]
    found = overall(*pairs)
    assert found.data_sets == ("digits",) and not found.enough


def test_from_six_on_chances_speak_for_new_data_sets() -> None:
    """a is far ahead on one data set and a little behind on the others: a t over the gaps."""
    means = {"a": [0.9] + [0.79] * 6, "b": [0.1] + [0.80] * 6, "c": [0.5] + [0.2] * 6}
    found = overall(*sweep(means, spread=1e-4))
    assert found.chances is not None and found.chances.scope == "data sets like these"
    gaps = np.subtract(means["a"], means["b"])
    expected = stats.t.cdf(gaps.mean() / stats.sem(gaps), 6)
    assert found.chances.best["a"] == pytest.approx(expected, abs=0.03)
    here = overall(*sweep({name: row[:5] for name, row in means.items()}, spread=1e-4))
    assert here.chances is not None and here.chances.best["a"] > 0.99


@pytest.mark.parametrize("count", [4, 7])
def test_losers_do_not_change_who_is_best(count: int) -> None:
    """By normalised score they do: a and b take turns, and c says how much a turn is worth."""
    rng = np.random.default_rng(3)
    two = {
        "a": np.tile([0.90, 0.70], 4)[:count] + rng.normal(0, 0.005, count),
        "b": np.tile([0.86, 0.72], 4)[:count] + rng.normal(0, 0.005, count),
    }
    near = np.tile([0.85, 0.30], 4)[:count]
    alone = overall(*sweep({name: row.tolist() for name, row in two.items()}, 0.02))
    three = {**two, "c": near}
    with_loser = overall(*sweep({name: row.tolist() for name, row in three.items()}, 0.02))
    assert [s.score for s in alone.scores] != [s.score for s in with_loser.scores[:2]]
    assert [s.backbone for s in alone.scores] == [s.backbone for s in with_loser.scores[:2]]
    assert alone.chances is not None and with_loser.chances is not None
    assert with_loser.chances.best["a"] == pytest.approx(alone.chances.best["a"], abs=0.025)
    assert alone.power is not None and with_loser.power is not None
    assert with_loser.power.gap == pytest.approx(alone.power.gap)


def test_the_order_goes_by_the_metric_whatever_the_score_says() -> None:
    found = overall(*sweep({"a": [0.90, 0.60], "b": [0.50, 0.62], "c": [0.10, 0.60]}))
    assert [s.backbone for s in found.scores] == ["a", "b", "c"]
    assert [s.score for s in found.scores] == pytest.approx([0.5, 0.75, 0.0])


def test_subsets_of_a_data_set_are_averaged_in_each_draw() -> None:
    """b is better on average of both subsets, a on the first."""
    pairs = [
        finished(name, (mean - 1e-3, mean, mean + 1e-3), subset=subset)
        for subset, means in (("full", (0.9, 0.8)), ("10%", (0.4, 0.7)))
        for name, mean in zip("ab", means, strict=True)
    ]
    found = overall(*pairs, *sweep({"a": [0.6], "b": [0.6]}, spread=1e-3))
    assert found.chances is not None and found.chances.best["b"] > 0.99


def test_a_backbone_that_failed_somewhere_does_not_lead() -> None:
    """Nobody knows its mean, and the power line is about those whose mean is known."""
    pairs = [
        *sweep({"a": [0.9] * 6, "b": [0.5] * 7}),
        finished("a", (), "val/accuracy", "d6", state="failed"),
    ]
    found = overall(*pairs)
    assert [s.backbone for s in found.scores] == ["b", "a"] and found.power is None
    three = overall(*pairs, *sweep({"c": [0.6] * 7}))
    assert [s.backbone for s in three.scores] == ["c", "b", "a"]
    assert three.power is not None and three.power.leader == "c" and three.power.second == "b"


def test_a_failed_backbone_has_neither_mean_nor_chance_and_the_metric_of_the_worst() -> None:
    means = {"a": [0.9] * 6, "b": [0.7] * 5}
    pairs = [*sweep(means), finished("b", (), dataset="d5", state="failed")]
    found = overall(*pairs, *sweep({"c": [0.8] * 6}))
    assert [(s.backbone, s.mean) for s in found.scores] == [
        ("a", pytest.approx(0.9)), ("c", pytest.approx(0.8)), ("b", None),
    ]  # fmt: skip
    assert found.chances is not None and set(found.chances.best) == {"a", "c"}
    assert found.scores[2].chance is None and found.scores[2].mean_ci is None
    gaps = {p.first + p.second: p.difference for p in found.wilcoxon}
    assert gaps["ab"] == pytest.approx((5 * 0.2 + 0.1) / 6)


def test_chances_need_every_task() -> None:
    pairs = sweep({"a": [0.9, 0.9], "b": [0.8, 0.8]})
    lone = [finished(name, (0.9,), dataset="d9") for name in "ab"]
    assert overall(*pairs).chances is not None
    found = overall(*pairs, *lone)
    assert found.chances is None and found.scores[0].chance is None


def test_failures_and_what_stands_aside_are_named() -> None:
    pairs = [
        *sweep({"a": [0.9, 0.9], "b": [0.8, 0.8]}),
        finished("c", (0.5, 0.6), dataset="d0"),
        finished("c", (), dataset="d1", state="failed"),
        *(make_pair(name, dataset="d2", state="waiting") for name in "abc"),
    ]
    found = overall(*pairs)
    assert found.note.endswith("d2 stands aside: 3 backbones not finished there. c failed on d1.")
    assert [score.failed for score in found.scores] == [(), (), ("d1",)]
    assert found.chances is not None and "c" not in found.chances.best


def test_a_minimised_metric() -> None:
    pairs = [
        finished(name, (v, v + 0.01), metric="val/nll", dataset=f"d{d}")
        for name, v in (("a", 0.9), ("b", 0.2))
        for d in range(6)
    ]
    found = overall(*pairs, metric="val/nll")
    assert found.scores[0].backbone == "b" and found.scores[0].mean_rank == 1
    assert found.scores[0].mean == pytest.approx(0.205)
    assert found.chances is not None and found.chances.best["b"] > 0.99


def test_power_names_more_data_sets() -> None:
    rng = np.random.default_rng(0)
    means = {
        "a": (0.80 + 0.02 * rng.standard_normal(7)).tolist(),
        "b": (0.79 + 0.02 * rng.standard_normal(7)).tolist(),
        "c": [0.6] * 7,
    }
    found = overall(*sweep(means))
    assert found.power is not None and not found.power.separated
    assert found.power.more_data_sets is None or found.power.more_data_sets > 0
    assert overall(*sweep(EIGHT)).power.separated  # type: ignore[union-attr]
    assert overall(*sweep({"a": [0.9], "b": [0.8]})).power is None


def test_one_backbone_and_no_pair() -> None:
    assert overall(*sweep({"a": [0.9] * 6})).scores == ()
    empty = overall()
    assert (empty.scores, empty.data_sets, empty.chances) == ((), (), None)
