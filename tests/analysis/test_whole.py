"""One analysis: read once, computed once, the same for all its views."""

from __future__ import annotations

import pytest
from scipy import stats

from raybench.analysis.results import optimism, pair_result
from raybench.analysis.whole import Analysis
from tests.analysis.finished import finished
from tests.factories import final_trial, make_pair, make_snapshot, realistic_snapshot
from tests.predictions import Memory, from_hits


def test_predictions_are_read_once_and_only_of_finals_that_count() -> None:
    snapshot = realistic_snapshot()
    keys = [t.key for p in snapshot.pairs for t in p.trials if t.phase == "final"]
    source = Memory({key: from_hits([1, 0] * 20) for key in keys})
    analysis = Analysis(snapshot, source)
    assert all(task.evidence is not None for task in analysis.tasks.values())
    assert analysis.overall is analysis.overall
    counted = sum(len(p.final_trials()) for p in snapshot.pairs if p.current)
    assert source.reads == counted == 30


def test_both_configurations_are_there() -> None:
    analysis = Analysis(realistic_snapshot())
    tuned, default = (analysis.samples("digits", config) for config in ("tuned", "default"))
    assert [one.pair for one in tuned] == [one.pair for one in default]
    assert tuned[0].mean > default[0].mean
    assert [one.mean for one in analysis.samples("digits")] == [one.mean for one in tuned]


def test_one_backbone_with_other_images_is_compared_by_its_seeds() -> None:
    pairs = [finished(name, (0.7, 0.8)) for name in "abc"]
    source = Memory(
        {
            t.key: from_hits([1, 1, 0] * 30, [f"{p.backbone == 'c'}{i}" for i in range(90)])
            for p in pairs
            for t in p.final_trials()
        }
    )
    task = Analysis(make_snapshot(*pairs), source).tasks["digits"]
    known = [s.uncertainty for s in task.standings if s.uncertainty is not None]
    assert [one.clusters for one in known] == [90, 90, 0]


def test_optimism_of_the_oracle_with_its_interval() -> None:
    honest, oracle = (0.90, 0.91, 0.92), (0.92, 0.92, 0.95)
    finals = [
        final_trial("a.digits.full", s, s, h, oracle=o)
        for s, (h, o) in enumerate(zip(honest, oracle, strict=True))
    ]
    result = pair_result(make_pair("a", finals), "val/accuracy")
    found = optimism(result)
    assert found is not None and found.gap == pytest.approx(0.02)
    half = stats.t.ppf(0.975, 2) * 0.01 / 3**0.5
    assert found.interval == pytest.approx((0.02 - half, 0.02 + half))
    assert optimism(pair_result(finished("b", (0.9,)), "val/accuracy")) is None
    analysis = Analysis(make_snapshot(make_pair("a", finals), finished("b", (0.9, 0.8))))
    assert [o.result.pair.backbone for o in analysis.optimism] == ["a"]


def test_optimism_of_a_minimised_metric_is_positive_too() -> None:
    final = final_trial("a.digits.full", 0, 0, 0.5, metric="val/nll", oracle=0.4)
    found = optimism(pair_result(make_pair("a", [final]), "val/nll"))
    assert found is not None and found.gap == pytest.approx(0.1) and found.interval is None
