"""Fronts, knees and what uncertainty does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.analysis.pareto import Front, knee, on_line
from raybench.analysis.whole import Analysis
from raybench.measurements import Profile
from raybench.records import PairRow
from tests.factories import final_trial, make_pair, make_snapshot, pair_id, search_trial
from tests.measurements import make_profile, make_timing

POINTS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8)


@given(POINTS)
def test_the_line_is_what_nobody_dominates(points: list[tuple[int, int]]) -> None:
    costs, scores = (np.array(values, dtype=float) for values in zip(*points, strict=True))
    expected = [
        not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
        for cost, score in points
    ]
    assert on_line(costs, scores).tolist() == expected


def test_the_knee_by_hand() -> None:
    """Costs 1, 10, 100 are evenly spaced; the middle one has 90% of the rise: 0.4 above."""
    costs, scores = np.array([1.0, 10.0, 100.0]), np.array([0.0, 0.9, 1.0])
    every = np.ones(3, dtype=bool)
    assert knee(costs, scores, every) == 1
    assert knee(costs[::-1], scores[::-1], every) == 1
    assert knee(costs, np.array([0.0, 0.4, 1.0]), every) is None  # below the chord
    assert knee(costs[:2], scores[:2], every[:2]) is None
    assert knee(costs, scores, np.array([True, False, True])) is None
    assert knee(np.array([0.0, 10.0, 100.0]), scores, every) is None  # no logarithm of 0


def pair(backbone: str, values: Sequence[float], millions: float, seconds: float = 1) -> PairRow:
    name = pair_id(backbone)
    size = int(millions * 1e6)
    search = search_trial(name, 0, parameters=size)
    slow = tuple(replace(epoch, device_share=seconds / 4) for epoch in search.epochs)
    finals = [final_trial(name, s, s, value, parameters=size) for s, value in enumerate(values)]
    found = make_pair(backbone, (replace(search, epochs=slow), *finals))
    return replace(found, backbone_spec={"name": backbone})


CHEAP = pair("timm:cheap", (0.700, 0.702, 0.704), 1, 30)
MIDDLE = pair("timm:middle", (0.900, 0.902, 0.904), 10, 20)
DEAR = pair("timm:dear", (0.903, 0.907, 0.911), 100, 10)
POOR = pair("timm:poor", (0.600, 0.602, 0.604), 50, 5)


def fronts(*pairs: PairRow, profiles: Sequence[Profile] = ()) -> dict[str, Front]:
    snapshot = replace(make_snapshot(*pairs), profiles=tuple(profiles))
    return {front.axis.key: front for front in Analysis(snapshot).fronts}


def test_a_front_knows_its_line_its_knee_and_its_doubts() -> None:
    front = fronts(DEAR, POOR, CHEAP, MIDDLE)["parameters"]
    assert [p.backbone for p in front.points] == [
        "timm:cheap", "timm:middle", "timm:poor", "timm:dear",
    ]  # fmt: skip
    assert [p.line for p in front.points] == [True, True, False, True]
    # dear is ahead of middle by its mean, but not beyond chance.
    assert [p.front for p in front.points] == ["yes", "yes", "no", "perhaps"]
    assert [p.backbone for p in front.points if p.knee] == ["timm:middle"]
    assert front.points[0].interval is not None and front.points[0].cost == 1.0
    assert front.sentence == (
        "On digits, against parameters: cheap and middle, perhaps dear; the knee is middle."
    )
    assert front.where == "" and front.missing == ()


def test_a_worse_mean_may_still_be_on_the_front() -> None:
    """A dearer one that is behind by less than can be told."""
    behind = pair("timm:behind", (0.897, 0.901, 0.905), 20)
    front = fronts(MIDDLE, behind)["parameters"]
    assert [(p.line, p.front) for p in front.points] == [(True, "yes"), (False, "perhaps")]


def test_one_seed_tells_nothing() -> None:
    front = fronts(pair("a", (0.9,), 1), pair("b", (0.5,), 2))["parameters"]
    assert [p.front for p in front.points] == ["yes", "perhaps"]
    front = fronts(pair("a", (0.9,), 1), pair("b", (0.9,), 1))["parameters"]
    assert front.sentence == "On digits, against parameters: perhaps a and b."


def test_every_cost_has_its_own_front() -> None:
    profiles = [
        make_profile(
            backbone=backbone,
            macs=int(scale * 1e9),
            single=make_timing(median_ms=scale),
            training=make_timing(peak_memory_gb=2 * scale),
            batched=make_timing(energy_j=3 * scale),
            shared=backbone == "timm:dear",
        )
        for backbone, scale in (("timm:cheap", 1.0), ("timm:dear", 4.0))
    ]
    found = fronts(CHEAP, MIDDLE, DEAR, profiles=profiles)
    costs = {key: [p.cost for p in front.points] for key, front in found.items()}
    assert costs == {
        "parameters": [1, 10, 100], "macs": [1, 4], "latency": [1, 4], "memory": [2, 8],
        "energy": [3, 12], "tuning": [10, 20, 30],
    }  # fmt: skip
    assert found["latency"].missing == ("timm:middle",)
    assert found["latency"].where == "cpu, fp32, 1 CPU thread, 96 px"
    assert [p.shared for p in found["latency"].points] == [False, True]
    assert not any(p.shared for p in found["parameters"].points)


def test_without_a_measurement_or_a_result_there_is_no_front() -> None:
    assert set(fronts(CHEAP, MIDDLE)) == {"parameters", "tuning"}
    assert fronts(CHEAP, make_pair("b", state="failed")) == {}
    front = fronts(CHEAP, MIDDLE, make_pair("b", state="failed"))["parameters"]
    assert front.missing == ("b",)


def test_smaller_is_better_where_it_is() -> None:
    pairs = [
        replace(p, trials=tuple(replace(t, end=replace(t.end, test={"test/nll": v})) if t.end else t
                                for t in p.trials))
        for p, v in ((CHEAP, 1.0), (MIDDLE, 0.5), (POOR, 0.7))
    ]  # fmt: skip
    snapshot = make_snapshot(*pairs, metric="val/nll")
    front = next(f for f in Analysis(snapshot).fronts if f.axis.key == "parameters")
    assert [(p.backbone, p.line) for p in front.points] == [
        ("timm:cheap", True), ("timm:middle", True), ("timm:poor", False),
    ]  # fmt: skip


@pytest.mark.parametrize("values", list(product([1.0, 2.0], repeat=2)))
def test_equal_costs_leave_the_better_one(values: tuple[float, float]) -> None:
    line = on_line(np.array([1.0, 1.0]), np.array(values))
    assert line.tolist() == [values[0] >= values[1], values[1] >= values[0]]
