"""The JSON contract of ``status`` and ``report``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from scipy import stats

from raybench.analysis.contract import report_json, summarize
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot
from tests.analysis.finished import finished
from tests.factories import (
    DEFAULT_LR,
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
)

BACKBONE = "timm:resnet10t.c3_in1k"
NAME = pair_id(BACKBONE)
CONTRACT = {
    "": {"sweep", "attempt", "metric", "pairs"},
    "pair": {
        *("id", "backbone", "dataset", "subset", "state", "trials"),
        *("epochs", "device_seconds", "best", "default", "final"),
    },
    "trials": {"quota", "complete", "pruned", "failed", "running", "owed"},
    "best": {"trial", "params", "val/accuracy"},
    "default": {"val/accuracy"},
    "final": {"seeds", "test/accuracy", "mean", "ci95"},
}


def only_pair(snapshot: SweepSnapshot) -> dict[str, Any]:
    (pair,) = summarize(snapshot)["pairs"]
    return dict(pair)


@pytest.mark.parametrize("snapshot", [realistic_snapshot(), empty_snapshot(), make_snapshot()])
def test_every_key_of_the_contract_is_there_and_is_json(snapshot: SweepSnapshot) -> None:
    summary = json.loads(json.dumps(summarize(snapshot), allow_nan=False))
    assert summary.keys() >= CONTRACT[""]
    for pair in summary["pairs"]:
        assert pair.keys() >= CONTRACT["pair"]
        for section in ("best", "default", "final"):
            assert pair[section].keys() >= CONTRACT[section]
        assert pair["trials"].keys() == CONTRACT["trials"]


def test_a_finished_pair() -> None:
    trials = (
        search_trial(NAME, 0, DEFAULT_LR, (0.5, 0.90, 0.88)),
        search_trial(NAME, 1, 1e-3, (0.6, 0.95)),
        search_trial(NAME, 2, 1e-2, (0.97,), state="pruned"),
        final_trial(NAME, 0, 1, 0.92),
        final_trial(NAME, 1, 0, 0.90),
        final_trial(NAME, 2, 0, 0.11, superseded=True),
        final_trial(NAME, 3, 0, 0.80, configs=("default",)),
    )
    pair = only_pair(
        make_snapshot(make_pair(BACKBONE, trials, quota=3, configs=("tuned", "default")))
    )
    assert pair["trials"] == {
        "quota": 3, "complete": 2, "pruned": 1, "failed": 0, "running": 0, "owed": 0
    }  # fmt: skip
    assert pair["best"] == {"trial": 1, "params": {"lr": 1e-3}, "val/accuracy": 0.95}
    assert pair["default"]["val/accuracy"] == 0.90
    assert pair["epochs"] == 6
    assert pair["device_seconds"] == 6 * 2.0 * 0.25
    assert pair["parameters"] == 5_000_000
    final = pair["final"]
    assert (final["seeds"], final["test/accuracy"]) == ([0, 1], [0.90, 0.92])
    assert final["mean"] == pytest.approx(0.91)
    low, _ = stats.t.interval(0.95, 1, loc=0.91, scale=stats.sem([0.90, 0.92]))
    assert final["ci95"] == pytest.approx([low, 1.0])  # clipped
    assert final["default"]["test/accuracy"] == [0.80]
    assert final["device_seconds"] == 3 * 2 * 2.0 * 0.25


def test_a_running_and_a_waiting_trial_are_owed() -> None:
    trials = (
        search_trial(NAME, 0, state="running", values=(0.4,)),
        search_trial(NAME, 1, state="waiting", values=(0.4,)),
        search_trial(NAME, 2, state="failed", values=(), failure="oom"),
    )
    pair = only_pair(make_snapshot(make_pair(BACKBONE, trials, quota=5, state="searching")))
    assert pair["trials"] == {
        "quota": 5, "complete": 0, "pruned": 0, "failed": 1, "running": 1, "owed": 4
    }  # fmt: skip
    assert pair["epochs"] == 2


def test_a_lowered_budget_owes_nothing() -> None:
    trials = [search_trial(NAME, number) for number in range(4)]
    pair = only_pair(make_snapshot(make_pair(BACKBONE, trials, quota=2)))
    assert pair["trials"]["owed"] == 0


def test_nothing_yet_is_null() -> None:
    for pair in summarize(empty_snapshot())["pairs"]:
        assert pair["best"] == {"trial": None, "params": None, "val/accuracy": None}
        assert pair["default"]["val/accuracy"] is None
        final = pair["final"]
        assert (final["seeds"], final["test/accuracy"]) == ([], [])
        assert final["mean"] is None
        assert final["ci95"] is None


def test_one_seed_has_a_mean_and_no_interval() -> None:
    pair = only_pair(make_snapshot(make_pair(BACKBONE, [final_trial(NAME, 0, 7, 0.9)])))
    assert pair["final"]["seeds"] == [7]
    assert (pair["final"]["mean"], pair["final"]["ci95"]) == (0.9, None)


def test_one_trial_may_stand_for_both_configurations() -> None:
    trials = [
        search_trial(NAME, 0),
        *(final_trial(NAME, s, s, 0.9, configs=("tuned", "default")) for s in (0, 1)),
    ]
    final = only_pair(
        make_snapshot(make_pair(BACKBONE, trials, configs=("tuned", "default"), seeds=(0, 1)))
    )["final"]
    assert final["test/accuracy"] == final["default"]["test/accuracy"] == [0.9, 0.9]


def test_a_file_that_asks_for_the_default_only_reports_it() -> None:
    trials = [final_trial(NAME, 0, 0, 0.9, configs=("default",))]
    final = only_pair(make_snapshot(make_pair(BACKBONE, trials, configs=("default",))))["final"]
    assert (final["config"], final["test/accuracy"]) == ("default", [0.9])


def test_another_metric_stands_in_the_same_places_and_may_be_minimised() -> None:
    trials = (
        search_trial(NAME, 0, values=(1.4, 1.2), metric="val/nll"),
        search_trial(NAME, 1, 1e-3, values=(0.9, 1.0), metric="val/nll"),
        final_trial(NAME, 0, 0, 0.01, metric="val/nll"),
        final_trial(NAME, 1, 1, 0.40, metric="val/nll"),
    )
    pair = only_pair(make_snapshot(make_pair(BACKBONE, trials), metric="val/nll"))
    assert pair["best"] == {"trial": 1, "params": {"lr": 1e-3}, "val/nll": 0.9}
    assert pair["default"]["val/nll"] == 1.2
    assert pair["final"]["test/nll"] == [0.01, 0.40]
    assert pair["final"]["ci95"][0] == 0
    assert pair["final"]["ci95"][1] > 1


def test_a_default_that_failed_is_null() -> None:
    trials = (
        search_trial(NAME, 0, state="failed", failure="diverged"),
        search_trial(NAME, 1, values=(0.8,)),
    )
    pair = only_pair(make_snapshot(make_pair(BACKBONE, trials)))
    assert pair["default"]["val/accuracy"] is None
    assert pair["best"]["trial"] == 1


def test_failures_say_why() -> None:
    trials = (
        search_trial(NAME, 3, state="failed", values=(), failure="oom", reason="needs 20 GB"),
        final_trial(NAME, 0, 2, None, state="failed", failure="disk", reason="disk full"),
        final_trial(NAME, 1, 2, None, state="failed", failure="disk", superseded=True),
    )
    assert only_pair(make_snapshot(make_pair(BACKBONE, trials)))["failures"] == [
        {"trial": 3, "phase": "search", "seed": None, "failure": "oom", "reason": "needs 20 GB"},
        {"trial": 0, "phase": "final", "seed": 2, "failure": "disk", "reason": "disk full"},
    ]


def test_the_oracle_is_reported_beside_and_only_where_asked_for() -> None:
    plain = make_snapshot(make_pair(BACKBONE, [final_trial(NAME, 0, 0, 0.9)]))
    asked = make_snapshot(make_pair(BACKBONE, [final_trial(NAME, 0, 0, 0.9, oracle=0.93)]))
    assert "oracle" not in only_pair(plain)["final"]
    assert only_pair(asked)["final"]["oracle"]["mean"] == 0.93
    assert only_pair(asked)["final"]["mean"] == 0.9


def test_pairs_that_left_the_file_stand_apart() -> None:
    summary = summarize(realistic_snapshot())
    assert "torchvision:resnet18" not in {p["backbone"] for p in summary["pairs"]}
    assert [p["backbone"] for p in summary["former_pairs"]] == ["torchvision:resnet18"]


def test_the_lease_is_shown() -> None:
    held = dataclasses.replace(empty_snapshot(), lease={"host": "node7", "pid": 12})
    assert summarize(held)["lease"] == {"host": "node7", "pid": 12}
    assert summarize(empty_snapshot())["lease"] is None


@pytest.mark.parametrize("snapshot", [realistic_snapshot(), empty_snapshot(), make_snapshot()])
def test_a_report_adds_to_the_summary_and_is_json(snapshot: SweepSnapshot) -> None:
    analysis = Analysis(snapshot, reference="paper", notes=("Two sweeps.",))
    report = json.loads(json.dumps(report_json(analysis), allow_nan=False))
    assert report.items() >= json.loads(json.dumps(summarize(snapshot))).items()
    added = {"headline", "tasks", "overall", "tunability", "literature", "notes"}
    assert report.keys() - summarize(snapshot).keys() == added
    assert report["headline"]["first"] == analysis.headline.first
    plain = report_json(Analysis(snapshot))
    assert "literature" not in plain and "notes" not in plain


def test_a_task_in_the_report() -> None:
    task = report_json(Analysis(realistic_snapshot()))["tasks"][0]
    leader = pair_id("timm:resnet10t.c3_in1k")
    second = pair_id("timm:vit_tiny_patch16_224.augreg_in21k")
    assert (task["task"], task["metric"]) == ("digits", "test/accuracy")
    assert task["tiers"][0] == [leader] and task["tiers"][1] == [second]
    assert sum(filter(None, task["chances"].values())) == pytest.approx(1)
    assert task["power"]["leader"] == leader and task["power"]["separated"] is True
    first, behind, *_, broken = task["standings"]
    assert (first["pair"], first["rank"], first["behind"], first["p_holm"]) == (
        leader,
        1,
        None,
        None,
    )
    low, high = behind["behind_ci95"]
    assert low < behind["behind"] < high and behind["ci95"]["images"] is None
    assert task["chances"][broken["pair"]] is None and broken["loose"] is False
    assert broken["rank"] is None and broken["ci95"] == dict.fromkeys(("seeds", "images", "both"))


def test_all_tasks_in_the_report() -> None:
    pairs = [
        finished(name, (mean - 0.01, mean, mean + 0.01), dataset=f"d{d}")
        for name, mean in (("a", 0.9), ("b", 0.8), ("c", 0.7))
        for d in range(6)
    ]
    overall = report_json(Analysis(make_snapshot(*pairs)))["overall"]
    assert [score["backbone"] for score in overall["backbones"]] == ["a", "b", "c"]
    assert overall["backbones"][0]["mean_rank_ci"] == (1.0, 1.0)
    assert overall["critical_difference"]["p_value"] < 0.05 and len(overall["wilcoxon"]) == 3
    assert overall["chance_of"] == "to have the best mean accuracy over data sets like these"
    assert overall["data_sets"] == [f"d{d}" for d in range(6)] and overall["aside"] == {}
