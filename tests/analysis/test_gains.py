"""Default against tuned: gains, rank changes, and what is beyond chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.gains import Tunability
from raybench.analysis.tunability_json import tunability_json
from raybench.analysis.whole import Analysis
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
from tests.predictions import Memory, from_hits


def both(
    backbone: str,
    default: Sequence[float],
    tuned: Sequence[float],
    validation: tuple[float, float] = (0.7, 0.8),
    metric: str = "val/accuracy",
) -> PairRow:
    """Finals of both configurations, one per value; trial 1 wins the search."""
    name = pair_id(backbone)
    search = [
        search_trial(name, number, lr, (value,), metric=metric)
        for number, (lr, value) in enumerate(zip((3e-4, 1e-3), validation, strict=True))
    ]
    values = [("default", v, s) for s, v in enumerate(default)]
    values += [("tuned", v, s) for s, v in enumerate(tuned)]
    finals = [
        final_trial(name, number, seed, value, (config,), metric=metric)
        for number, (config, value, seed) in enumerate(values)
    ]
    return make_pair(backbone, (*search, *finals), quota=2, configs=("tuned", "default"))


def of(*pairs: PairRow, metric: str = "val/accuracy") -> Tunability:
    return Analysis(make_snapshot(*pairs, metric=metric)).tunability


LOW, HIGH = (0.70, 0.71, 0.72), (0.90, 0.91, 0.92)
VIT = both("vit", (0.60, 0.62, 0.61), (0.95, 0.96, 0.97))
CNN = both("cnn", LOW, HIGH)


def test_a_gain_has_the_interval_of_scipy() -> None:
    (gain,) = of(CNN).gains
    expected = stats.ttest_ind(HIGH, LOW, equal_var=False)
    assert gain.validation == pytest.approx(0.1)
    assert (gain.test_default, gain.test_tuned) == pytest.approx((0.71, 0.91))
    assert gain.test is not None and gain.test.mean == pytest.approx(0.2)
    assert gain.test.p_value == pytest.approx(expected.pvalue)
    assert gain.test.ci95 == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_images_narrow_the_gain_of_what_no_seed_changes() -> None:
    """A linear probe's seeds are equal: only its images can tell tuned from default."""
    pair = both("probe", (0.5,) * 2, (0.9,) * 2)
    hits = {"default": [1, 0] * 50, "tuned": [1] * 90 + [0] * 10}
    source = Memory({t.key: from_hits(hits[t.configs[0]]) for t in pair.final_trials()})
    snapshot = make_snapshot(pair)
    (without,) = Analysis(snapshot).tunability.gains
    (gain,) = Analysis(snapshot, source).tunability.gains
    assert without.test is not None and without.test.p_value is None
    assert gain.test is not None and gain.test.p_value is not None
    change = np.array(hits["tuned"]) - np.array(hits["default"])
    assert gain.test.mean == pytest.approx(0.4)
    assert gain.test.standard_error == pytest.approx(stats.sem(change))


def test_a_default_that_wins_gains_nothing_for_sure() -> None:
    name = pair_id("a")
    finals = [final_trial(name, s, s, v, ("tuned", "default")) for s, v in enumerate(LOW)]
    pair = make_pair("a", [search_trial(name, 0), *finals], configs=("tuned", "default"))
    (gain,) = of(pair).gains
    assert gain.same and gain.test is not None
    assert (gain.test.mean, gain.test.ci95) == (0.0, None)


def test_a_leader_that_changes_beyond_chance() -> None:
    found = of(VIT, CNN)
    (change,) = found.changes
    assert (change.leader_default, change.leader_tuned, change.tau) == ("cnn", "vit", -1)
    assert [p.backbone for p in change.places] == ["vit", "cnn"]
    assert [(p.default_rank, p.tuned_rank) for p in change.places] == [(2, 1), (1, 2)]
    (reversal,) = change.reversals
    before = stats.ttest_ind((0.60, 0.62, 0.61), LOW, equal_var=False).pvalue
    after = stats.ttest_ind((0.95, 0.96, 0.97), HIGH, equal_var=False).pvalue
    assert reversal.p_value == pytest.approx(max(before, after))
    assert (reversal.before, reversal.after) == pytest.approx((0.1, 0.05))
    assert change.flip is reversal and change.leader_flips and change.flip_shown
    assert found.sentences[0] == (
        "Tuning changes the leader on 1 of 1 task, 1 of them beyond chance."
    )
    assert found.sentences[-1].startswith(
        "On digits vit is 10.0 points behind cnn at the default (lr 3.0e-04); tuned, it leads it "
        "by 5.0 points: beyond chance (p = 0.0"
    )


def test_one_clear_difference_is_not_enough() -> None:
    """Behind for sure at the default, ahead by a hair when tuned."""
    near = both("vit", (0.60, 0.62, 0.61), (0.91, 0.93, 0.92))
    (change,) = of(near, CNN).changes
    assert change.leader_flips and not change.flip_shown
    assert "may be chance (p = 0.29)" in change.sentence


def test_holm_runs_over_all_pairs_of_the_task() -> None:
    """Three pairs of backbones, one of which changes places."""
    third = both("third", (0.1, 0.11, 0.12), (0.2, 0.21, 0.22))
    alone, among = (of(*pairs).changes[0].reversals[0] for pairs in ((VIT, CNN), (VIT, CNN, third)))
    assert alone.p_value is not None
    assert among.p_value == pytest.approx(3 * alone.p_value)
    assert of(VIT, CNN, third).changes[0].pairs == 3


def test_a_leader_that_stays() -> None:
    first = both("first", (0.93, 0.94, 0.95), (0.98, 0.99, 0.985))
    (change,) = of(first, VIT, CNN).changes
    assert change.flip is None and not change.flip_shown
    assert "first leads at the default (lr 3.0e-04) and tuned; 1 of 3 pairs" in change.sentence


def test_equal_leaders_are_no_change() -> None:
    (change,) = of(both("a", (0.7,), (0.9,)), both("b", (0.7,), (0.8,))).changes
    assert change.leader_default == change.leader_tuned == "a"
    assert [p.default_rank for p in change.places] == [1, 1]
    assert change.tau is None and change.reversals == ()


def test_smaller_is_better_where_it_is() -> None:
    pairs = [
        both("a", (1.0, 1.1), (0.5, 0.6), (0.9, 0.5), "val/nll"),
        both("b", (0.8, 0.9), (0.7, 0.71), (0.9, 0.5), "val/nll"),
    ]
    found = of(*pairs, metric="val/nll")
    assert [gain.test.mean for gain in found.gains if gain.test] == pytest.approx([0.5, 0.145])
    (change,) = found.changes
    assert (change.leader_default, change.leader_tuned) == ("b", "a")
    assert [p.backbone for p in change.places] == ["a", "b"]


def test_without_finals_the_search_speaks_and_nothing_is_shown() -> None:
    pairs = [
        replace(pair, trials=pair.search_trials())
        for pair in (both("a", (), (), (0.7, 0.9)), both("b", (), (), (0.75, 0.8)))
    ]
    found = of(*pairs)
    (change,) = found.changes
    assert (change.split, change.metric) == ("validation", "val/accuracy")
    assert (change.leader_default, change.leader_tuned) == ("b", "a")
    assert change.leader_flips and not change.flip_shown
    assert change.places[0].default_interval is None
    assert change.sentence.endswith(
        "too few runs to tell whether that is chance (validation, one run each)."
    )
    assert all(gain.test is None for gain in found.gains)
    assert found.sentences[0] == (
        "On validation, one run each, tuning changes the leader on 1 of 1 task."
    )


def test_backbones_without_a_result_are_named_last() -> None:
    (change,) = of(VIT, make_pair("none", state="failed"), CNN).changes
    assert change.places[-1].backbone == "none"
    assert (change.places[-1].tuned, change.places[-1].tuned_rank) == (None, None)
    assert change.pairs == 1


def test_what_tuning_did_at_most_and_at_least() -> None:
    (_, extremes, _) = of(VIT, CNN).sentences
    assert extremes.startswith("Tuning helped vit on digits (+35.0 [+3")
    assert "cnn on digits (+20.0 [+1" in extremes and extremes.endswith("points) least.")
    harmed = both("harmed", HIGH, LOW)
    (_, extremes, _) = of(VIT, harmed).sentences
    assert "harmed on digits (-20.0 [-2" in extremes
    assert extremes.endswith("points) least: there validation chose what test would not have.")


def test_the_worst_of_many_is_not_taken_for_harm() -> None:
    """p = 0.026 by itself, times the 3 gains that Holm has not rejected before it."""
    slight = both("slight", (0.75, 0.77, 0.79), (0.70, 0.72, 0.74))
    others = [both(f"b{n}", (0.70, 0.72, 0.74), (0.71, 0.73, 0.75)) for n in range(2)]
    (_, extremes, *_) = of(slight, *others).sentences
    assert "slight on digits (-5.0 [-9" in extremes
    assert extremes.endswith("least: a loss, which may be chance among 3 pairs.")


def test_nothing_run() -> None:
    found = of(*empty_snapshot().pairs)
    assert found.sentences == ()
    assert found.changes[0].leader_default == "" and found.changes[0].tau is None


def test_json_has_no_nan_and_the_ids_of_the_pairs() -> None:
    for snapshot in (realistic_snapshot(), empty_snapshot()):
        data = tunability_json(Analysis(snapshot))
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert {p["id"] for p in data["pairs"]} == {p.id for p in snapshot.pairs if p.current}
    data = tunability_json(Analysis(make_snapshot(VIT, CNN)))
    (task,) = data["tasks"]
    assert task["leader_changes"] and task["beyond_chance"]
    assert task["reversals"][0]["ahead_after"] == "vit"
    assert data["budget"]["tasks"][0]["curves"][0]["trials"] == [1, 2]
    assert data["sensitivity"][0]["best"] == 1e-3
