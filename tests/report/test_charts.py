"""Charts draw what the results hold, and nothing where they hold nothing."""

from __future__ import annotations

import re

from raybench.analysis.ranking import standings
from raybench.analysis.results import pair_results
from raybench.analysis.tunability import responses
from raybench.report import charts
from tests.factories import empty_snapshot, realistic_snapshot

RESULTS = [r for r in pair_results(realistic_snapshot()) if r.task == "digits"]
LOOKS = charts.looks(list(dict.fromkeys(r.pair.backbone for r in RESULTS)))


def test_a_backbone_looks_the_same_everywhere_and_has_its_short_name() -> None:
    assert len(set(LOOKS.values())) == len(LOOKS)
    assert LOOKS["timm:resnet10t.c3_in1k"].name == "resnet10t"


def test_response_chart_joins_ladders_rings_winners_and_marks_the_default() -> None:
    found = [r for r in responses(realistic_snapshot()) if r.result.task == "digits"]
    chart = str(charts.response_chart(found, LOOKS))
    ladders = re.findall(r'<polyline points="([^"]+)"', chart)
    assert [len(points.split()) for points in ladders] == [5, 5, 5]
    assert chart.count('r="9"') == 3
    assert chart.count("×") == 5
    assert chart.count('class="default"') == 1
    assert "resnet10t.c3_in1k, trial 5 (complete), lr 1.3e-03: 98.4%" in chart


def test_tuning_chart_has_a_row_per_backbone_with_both_values() -> None:
    chart = str(charts.tuning_chart(RESULTS, LOOKS))
    assert chart.count('class="gain"') == 3
    assert chart.count('class="name"') == 3


def test_cost_chart_leaves_out_what_is_unknown() -> None:
    costs = [1.5, None, 0.0, 3.0]
    chart = str(charts.cost_chart(RESULTS, costs, "parameters in millions", LOOKS))
    assert chart.count("<title>") == 1  # one is unknown, one is zero, one has no result
    assert charts.cost_chart(RESULTS, [None] * 4, "x", LOOKS) is None


def test_interval_bars_share_one_scale() -> None:
    ranked = standings(realistic_snapshot())["digits"]
    scale = charts.interval_scale(ranked)
    assert scale is not None
    bars = [charts.interval_bar(s, scale, ranked[0].result.mean) for s in ranked]
    leader = [re.search(r'x1="([\d.]+)"[^>]*class="leader"', str(bar)) for bar in bars[:3]]
    assert len({match[1] for match in leader if match}) == 1
    assert all(leader)
    assert bars[3] is None


def test_nothing_to_draw() -> None:
    results = pair_results(empty_snapshot())
    looks = charts.looks([r.pair.backbone for r in results])
    assert charts.response_chart(responses(empty_snapshot()), looks) is None
    assert charts.tuning_chart(results, looks) is None
    assert charts.interval_scale(standings(empty_snapshot())["digits"]) is None
