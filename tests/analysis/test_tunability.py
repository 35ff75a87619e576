"""Response curves and the warning at the edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from raybench.analysis.tunability import Response, responses, tuned_names, warnings
from raybench.analysis.whole import Analysis
from raybench.records import TrialRow
from tests.factories import (
    LADDER,
    empty_snapshot,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
    tuned_pair,
)

NAME = pair_id("resnet10t")


def response(trials: Sequence[TrialRow], quota: int | None = None) -> Response:
    pair = make_pair("resnet10t", trials, quota=len(trials) if quota is None else quota)
    (found,) = responses(Analysis(make_snapshot(pair)))
    return found


def search(*points: tuple[float, float]) -> list[TrialRow]:
    return [search_trial(NAME, i, lr, (value,)) for i, (lr, value) in enumerate(points)]


def test_points_are_sorted_and_know_the_ladder() -> None:
    found = response(search((3e-4, 0.9), (1e-3, 0.95), (1e-4, 0.8)))
    assert [(p.value, p.metric_value, p.trial) for p in found.points] == [
        (1e-4, 0.8, 2),
        (3e-4, 0.9, 0),
        (1e-3, 0.95, 1),
    ]
    by_lr = {r.result.pair.id: r for r in responses(Analysis(realistic_snapshot()))}
    points = by_lr[pair_id("timm:resnet10t.c3_in1k")].points
    assert {p.value for p in points if p.on_ladder} == set(LADDER)
    assert {p.value for p in points if not p.on_ladder} == {1.3e-3, 8e-3}


def test_default_best_and_gain() -> None:
    found = response(search((3e-4, 0.90), (1e-3, 0.95), (3e-3, 0.80)))
    assert (found.default, found.best) == (3e-4, 1e-3)
    assert found.result.gain == pytest.approx(0.05)
    assert found.edge is None
    assert found.warning is None


@pytest.mark.parametrize(
    ("values", "edge", "words"),
    [
        ((0.8, 0.7, 0.95), "high", "the best lr (3.0e-03) is the largest one tried"),
        ((0.8, 0.95, 0.7), "low", "(the range ends at 1.0e-05)"),
    ],
)
def test_a_winner_at_the_end_of_what_was_tried_is_warned_of(
    values: tuple[float, float, float], edge: str, words: str
) -> None:
    found = response(search(*zip((3e-4, 3e-5, 3e-3), values, strict=True)))
    assert found.edge == edge
    assert words in (found.warning or "")


def test_a_divergence_beyond_the_winner_closes_the_edge_and_a_crash_does_not() -> None:
    trials = search((3e-4, 0.8), (3e-3, 0.95))
    diverged = search_trial(NAME, 2, 1e-2, (), "failed", failure="diverged")
    crashed = search_trial(NAME, 2, 1e-2, (), "failed", failure="infrastructure")
    assert response([*trials, diverged]).edge is None
    assert response([*trials, crashed]).edge == "high"


def test_no_warning_while_the_search_goes_on_or_with_one_value() -> None:
    trials = search((3e-4, 0.8), (3e-3, 0.95))
    assert response(trials, quota=5).edge is None
    assert response(trials[:1]).edge is None


def test_micro_batches_are_not_hidden() -> None:
    """BatchNorm saw fewer images in some trials than in others: the reader must know."""
    pair = tuned_pair("timm:resnet50", 0.9, 1e-3)
    whole, cut = ({"micro_batch": size} for size in (64, 16))
    ended = [
        replace(
            t,
            end=replace(
                t.end, facts=dict(t.end.facts) | (cut if t.key.endswith("search/1") else whole)
            ),
        )
        for t in pair.trials
        if t.end is not None
    ]
    snapshot = make_snapshot(replace(pair, trials=tuple(ended)), recipe={"batch_size": 64})
    found = [line for line in warnings(Analysis(snapshot)) if "micro-batches" in line]
    assert len(found) == 1
    assert "of 16 images" in found[0]
    same = make_snapshot(replace(pair, trials=tuple(ended)), recipe={"batch_size": 16})
    assert not [line for line in warnings(Analysis(same)) if "micro-batches" in line]


def test_warnings_name_pair_and_task() -> None:
    pair = make_pair("resnet10t", search((3e-4, 0.8), (3e-3, 0.95)), quota=2, subset="5-shot")
    (sentence,) = warnings(Analysis(make_snapshot(pair)))
    assert sentence.startswith("resnet10t on digits (5-shot): the best lr (3.0e-03)")


def test_nothing_tuned_or_nothing_run() -> None:
    assert tuned_names(make_snapshot()) == ()
    assert responses(Analysis(empty_snapshot()), "weight_decay") == ()
    assert [r.points for r in responses(Analysis(empty_snapshot()))] == [(), ()]
    assert warnings(Analysis(empty_snapshot())) == ()
