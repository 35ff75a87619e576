"""Budget curves of whole sweeps: what enters, who leads where, averages over data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from raybench.analysis.budget import Budget, budget
from raybench.analysis.searches import AXES
from raybench.analysis.whole import Analysis
from raybench.records import FailureClass, PairRow
from tests.factories import (
    empty_snapshot,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
)


def searched(
    backbone: str, values: Sequence[float], seconds: float = 0.5, **options: str
) -> PairRow:
    """One trial per value; ``seconds`` of device time each."""
    name = pair_id(backbone, **options)
    trials = [search_trial(name, number, values=(value,)) for number, value in enumerate(values)]
    slow = [
        replace(t, epochs=tuple(replace(e, device_share=seconds / 2) for e in t.epochs))
        for t in trials
    ]
    return make_pair(backbone, slow, quota=len(values), **options)  # type: ignore[arg-type]


def of(*pairs: PairRow, metric: str = "val/accuracy") -> Budget:
    return budget(Analysis(make_snapshot(*pairs, metric=metric)))


STEADY, LUCKY = (0.80, 0.81, 0.82), (0.60, 0.70, 0.95)


def test_a_curve_by_hand() -> None:
    (task,) = of(searched("a", LUCKY)).tasks
    (curve,) = task.curves
    assert curve.trials == (1, 2, 3)
    assert curve.expected == pytest.approx((0.75, (0.7 + 0.95 + 0.95) / 3, 0.95))
    assert curve.low == (0.6, 0.7, 0.95)
    assert curve.high == (0.95, 0.95, 0.95)
    assert curve.device_seconds == pytest.approx((0.5, 1.0, 1.5))
    assert curve.chance == pytest.approx((1, 1, 1))


def test_the_leader_depends_on_the_number_of_trials() -> None:
    """One trial: 0.81 against 0.75. Two: (0.81 + 2 x 0.82) / 3 against 0.867."""
    found = of(searched("a", STEADY), searched("b", LUCKY))
    (task,) = found.tasks
    assert [(p.start, p.end, p.backbone) for p in task.on("trials")] == [(1, 2, "a"), (2, 3, "b")]
    assert [p.chance for p in task.on("trials")] == pytest.approx([2 / 3, 2 / 3])
    assert task.flips("trials")
    assert found.sentences[0] == (
        "On digits the expected best is a from 1 trial on (67% of orders at its start) and b from "
        "2 trials on (67% of orders at its start)."
    )


def test_the_leader_depends_on_device_time_where_trials_cost_differently() -> None:
    """4 s buy 1 trial of "dear" (0.65 on average) or 4 of "cheap", 8 s 2 trials or all 4."""
    found = of(searched("cheap", (0.6, 0.7, 0.7, 0.7), 1.0), searched("dear", (0.4, 0.9), 4.0))
    (task,) = found.tasks
    leaders = [(p.start, p.end, p.backbone) for p in task.on("device_seconds")]
    assert leaders == [(4.0, 8.0, "cheap"), (8.0, 8.0, "dear")]
    assert "cheap from 4.0 s of device time on (50% of orders at its start)" in found.sentences[-1]


def test_a_lead_without_a_rival_is_none() -> None:
    """The cheap one is alone before 4 s; that is no change of the leader."""
    found = of(searched("cheap", (0.7, 0.7), 1.0), searched("dear", (0.9, 0.9), 4.0))
    (task,) = found.tasks
    assert not any(task.flips(axis) for axis in AXES)
    (leader,) = task.on("device_seconds")
    assert (leader.start, leader.end, leader.backbone) == (4.0, 8.0, "dear")
    assert leader.chance == pytest.approx(1)
    assert found.sentences == (
        "On digits one backbone is expected best at any budget that gives two of them a trial.",
    )


def test_stretches_leave_no_gap() -> None:
    for task in budget(Analysis(realistic_snapshot())).tasks:
        for axis in AXES:
            found = task.on(axis)
            assert [p.end for p in found[:-1]] == [p.start for p in found[1:]]


def test_equals_do_not_take_turns() -> None:
    (task,) = of(searched("a", STEADY), searched("b", STEADY)).tasks
    assert len(task.on("trials")) == 1
    assert task.curves[0].chance == pytest.approx((0.5, 0.5, 0.5))
    (task,) = of(searched("dear", STEADY[:1], 1.5), searched("cheap", STEADY[:1], 1.0)).tasks
    assert [leader.backbone for leader in task.on("device_seconds")] == ["cheap"]


@pytest.mark.parametrize(
    ("failure", "trials", "expected"),
    [("diverged", 3, (0.2 + 0.5 + 0.9) / 3), ("infrastructure", 2, 0.7)],
)
def test_a_divergence_is_the_tasks_worst_and_a_crash_is_nothing(
    failure: FailureClass, trials: int, expected: float
) -> None:
    pair = searched("a", (0.5, 0.9))
    ended = search_trial(pair.id, 2, values=(0.99,), state="failed", failure=failure)
    pair = replace(pair, trials=(*pair.trials, ended))
    (task,) = of(pair, searched("b", (0.2, 0.3))).tasks
    assert len(task.curves[0].trials) == trials
    assert task.curves[0].expected[0] == pytest.approx(expected)


def test_pruned_trials_count_with_what_they_reached_and_running_ones_do_not() -> None:
    name = pair_id("a")
    trials = [
        search_trial(name, 0, values=(0.9,)),
        search_trial(name, 1, values=(0.3,), state="pruned"),
        search_trial(name, 2, values=(0.99,), state="running"),
    ]
    (task,) = of(make_pair("a", trials)).tasks
    assert task.curves[0].expected == pytest.approx((0.6, 0.9))


def test_smaller_is_better_where_it_is() -> None:
    name = pair_id("a")
    trials = [search_trial(name, i, values=(v,), metric="val/nll") for i, v in enumerate((3, 1))]
    (task,) = of(make_pair("a", trials), metric="val/nll").tasks
    (curve,) = task.curves
    assert curve.expected == pytest.approx((2.0, 1.0))
    assert curve.low == (1, 1) and curve.high == (3, 1)


def test_the_ladders_trials_are_counted() -> None:
    curves = [c for t in budget(Analysis(realistic_snapshot())).tasks for c in t.curves]
    assert {c.designed for c in curves if len(c.trials) == 7} == {5}


def test_means_are_over_data_sets_and_failed_pairs_are_the_worst() -> None:
    failed = make_pair("b", state="failed", dataset="two")
    one = searched("a", (0.5, 0.9)), searched("b", (0.7, 0.8))
    found = of(*one, searched("a", (0.4, 0.6), dataset="two"), failed)
    behind = {m.backbone: m.behind for m in found.means if m.axis == "trials"}
    # a: (0.9 - 0.7 + 0.6 - 0.5) / 2; b: (0.9 - 0.75 + 0.6 - 0.4) / 2
    assert behind["a"] == pytest.approx((0.15, 0.0))
    assert behind["b"] == pytest.approx((0.175, 0.15))
    assert [p.backbone for p in found.leaders if p.axis == "trials"] == ["a"]
    assert found.aside == ()


def test_subsets_of_one_data_set_count_once() -> None:
    found = of(
        searched("a", (0.9,)), searched("b", (0.8,)),
        searched("a", (0.7,), subset="10%"), searched("b", (0.5,), subset="10%"),
        searched("a", (0.6,), dataset="two"), searched("b", (0.8,), dataset="two"),
    )  # fmt: skip
    behind = {m.backbone: m.behind for m in found.means if m.axis == "trials"}
    assert behind["b"] == pytest.approx(((0.1 + 0.2) / 2 / 2,))
    assert behind["a"] == pytest.approx((0.2 / 2,))


def test_a_task_that_not_all_have_begun_stands_aside() -> None:
    found = of(
        searched("a", (0.9,)), searched("b", (0.8,)),
        searched("a", (0.9,), dataset="two"), make_pair("b", state="waiting", dataset="two"),
    )  # fmt: skip
    assert found.aside == ("two",)
    assert len(found.tasks) == 2


def test_nothing_run() -> None:
    found = budget(Analysis(empty_snapshot()))
    assert found.means == () and found.sentences == ()
    assert [task.curves for task in found.tasks] == [()]
