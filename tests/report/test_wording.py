"""Sentences that tables and page share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raybench.analysis.results import pair_results
from raybench.analysis.whole import Analysis
from raybench.report.wording import (
    LOOSE,
    caption,
    failure_groups,
    failure_lines,
    loose_note,
    sampling_note,
    tier_text,
)
from tests.factories import (
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
)

NAME = pair_id("resnet10t")


def test_caption_names_metric_direction_and_seeds() -> None:
    pair = make_pair("resnet10t", seeds=(0, 5))
    text = caption(Analysis(make_snapshot(pair, metric="val/nll")))
    assert text.startswith("Test NLL, lower is better: mean of final runs (seeds 0 and 5) of the")
    assert "oracle" not in text.lower()
    assert caption(Analysis(make_snapshot())).startswith("Test accuracy: mean of final runs of")


def test_equal_failures_stand_together_and_many_kinds_are_counted() -> None:
    same = [search_trial(NAME, i, state="failed", values=(), failure="oom") for i in range(2)]
    kinds = [
        search_trial(NAME, i, state="failed", values=(), failure="user", reason=f"error {i}")
        for i in range(2, 12)
    ]
    snapshot = make_snapshot(make_pair("resnet10t", [*same, *kinds]))
    groups = failure_groups(pair_results(snapshot))
    assert (groups[0].failure, groups[0].trials) == ("oom", (0, 1))
    assert len(groups) == 11
    lines = failure_lines(Analysis(snapshot))
    assert lines[0] == "resnet10t on digits, search trials 0 and 1: oom"
    assert lines[1] == "resnet10t on digits, search trial 2: user: error 2"
    assert lines[-1] == "and 3 more kinds"


def test_no_failures() -> None:
    assert failure_lines(Analysis(empty_snapshot())) == []


@pytest.mark.parametrize(("means", "words"), [([0.9], "of 90.0%"), ([], "of 50.0%")])
def test_sampling_note_uses_the_accuracy_where_it_is_known(means: list[float], words: str) -> None:
    pair = make_pair("resnet10t", [final_trial(NAME, 0, 0, mean) for mean in means])
    (result,) = pair_results(make_snapshot(pair))
    assert f"at an accuracy {words}" in (sampling_note(result) or "")


@pytest.mark.parametrize("metric", ["val/nll", "val/auroc"])
def test_sampling_note_speaks_of_accuracies_alone(metric: str) -> None:
    pair = make_pair("resnet10t", [final_trial(NAME, 0, 0, 0.9, metric=metric)])
    (result,) = pair_results(make_snapshot(pair, metric=metric))
    assert sampling_note(result) is None


def test_a_loose_tier_has_a_mark_and_the_mark_a_note() -> None:
    standings = Analysis(realistic_snapshot()).standings["digits"]
    assert loose_note(standings) == [] and tier_text(standings[0]) == "1"
    loose = replace(standings[1], tier=1, loose=True)
    assert tier_text(loose) == "1?" and loose_note([*standings, loose]) == [LOOSE]
    assert tier_text(replace(loose, tier=None, loose=False)) == ""


def test_sampling_note_needs_the_preflight() -> None:
    assert sampling_note(pair_results(realistic_snapshot())[0]) is not None
    assert sampling_note(pair_results(empty_snapshot())[0]) is None
