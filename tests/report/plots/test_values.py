"""The plots show the analysis' own numbers, in percent points where the metric is written so."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from altair import LayerChart

from raybench.analysis import numbers
from raybench.analysis.importance import Importance
from raybench.analysis.searches import AXES
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot
from raybench.report.plots import budgets, heatmap, overall, ranking, sensitivity, tuning
from raybench.report.plots.marks import Cast
from raybench.report.plots.plot import Rows
from raybench.report.wording import LOOSE
from tests.factories import make_pair, make_snapshot, profiled_snapshot, tuned_pair
from tests.report.plots.conftest import Plots, plots_of
from tests.wide_sweep import wide_snapshot


def _rows(plots: Plots, name: str, **wanted: object) -> Rows:
    return [r for r in plots[name].rows if all(r.get(k) == v for k, v in wanted.items())]


def test_ranking_follows_the_standings(wide: Analysis, wide_plots: Plots) -> None:
    for task, standings in wide.standings.items():
        rows = _rows(wide_plots, "ranking", task=task, kind="result")
        assert [row["row"] for row in rows] == [1, 2, 3]
        for row, standing in zip(rows, standings, strict=True):
            assert row["backbone"] == wide.short[standing.result.pair.backbone]
            assert row["tier"] == standing.tier
            sure = standing.uncertainty
            assert sure is not None and sure.seeds is not None and sure.both is not None
            assert row["mean"] == pytest.approx(100 * sure.mean)
            assert (row["low"], row["high"]) == pytest.approx(tuple(100 * v for v in sure.seeds))
            assert row["both_high"] == pytest.approx(100 * sure.both[1])
    runs = _rows(wide_plots, "ranking", kind="run")
    assert len(runs) == 3 * 3 * len(wide.tasks)


def test_ranking_lists_who_has_no_result_with_its_state(live_plots: Plots) -> None:
    rows = _rows(live_plots, "ranking", kind="none")
    states = {(row["task"], row["backbone"]): row["state"] for row in rows}
    assert states == {
        ("digits", "<b>Net</b>"): "failed",
        ("digits (10%)", "convnext_atto"): "searching",
        ("digits (10%)", "vit_tiny_patch16_224"): "waiting",
    }


def test_a_tier_is_named_where_it_begins(wide_plots: Plots) -> None:
    for task in wide_plots["ranking"].choices["task"]:
        rows = _rows(wide_plots, "ranking", task=task, kind="result")
        tiers = [0, *(row["tier"] for row in rows)]
        named = [row["tier_name"] is not None for row in rows]
        assert named == [tiers[i] != tiers[i + 1] for i in range(len(rows))]


def test_one_number_has_one_width_everywhere(wide: Analysis, wide_plots: Plots) -> None:
    """The widest known: over seeds and images, at the default too."""
    for change in wide.tunability.changes:
        sure = wide.tasks[change.task].uncertainties
        widest = {r.pair.backbone: sure[r.pair.id].widest for r in wide.by_task[change.task]}
        assert {place.backbone: place.tuned_interval for place in change.places} == widest
        cells = _rows(wide_plots, "heatmap", kind="cell", task=change.task)
        shown = {cell["backbone"]: cell["interval"] for cell in cells}
        for place in change.places:
            name, (low, high) = wide.short[place.backbone], place.tuned_interval or (0, 0)
            assert place.tuned is not None and place.default_interval is not None
            text = numbers.interval_text(change.metric, place.tuned, (low, high))
            assert shown[name] == text
        gain = wide.tunability.gains[0].result
    seeds = gain.final_default.ci95 if gain.final_default else None
    place = next(
        p
        for c in wide.tunability.changes
        for p in c.places
        if (c.task, p.backbone) == (gain.task, gain.pair.backbone)
    )
    assert seeds is not None and place.default_interval is not None
    assert place.default_interval[1] - place.default_interval[0] > seeds[1] - seeds[0]


def test_a_tier_out_of_order_is_marked_and_not_shaded() -> None:
    analysis = Analysis(wide_snapshot(3, 1))
    (name, task), *_ = analysis.tasks.items()
    loose = replace(task.standings[2], tier=1, loose=True)
    middle = replace(task.standings[1], tier=2)
    first = replace(task.standings[0], tier=1)
    analysis.tasks = {name: replace(task, standings=(first, middle, loose))}
    plot = ranking.ranking(analysis, Cast.of(analysis))
    assert plot is not None and LOOSE in plot.caption
    rows = [row for row in plot.rows if row["kind"] == "result"]
    assert [row["tier_name"] for row in rows] == ["tier 1", "tier 2", "tier 1?"]
    assert [row["tier"] for row in rows] == [1, 2, None]


def test_heatmap_has_every_pair_and_says_what_is_missing(live: Analysis, live_plots: Plots) -> None:
    cells = _rows(live_plots, "heatmap", kind="cell")
    assert len(cells) == len(live.results)
    assert Counter(c.get("value") for c in cells if not c.get("interval")) == {
        "failed": 1, "searching": 1, "waiting": 1,
    }  # fmt: skip
    best = [c for c in cells if c["task"] == "digits" and c["good"] == 1.0]
    assert [c["backbone"] for c in best] == ["resnet10t"]
    assert all(c["best"] for c in best)
    assert min(c["good"] for c in cells) == 0.0


def test_heatmap_badges_leaks_and_shared_timings() -> None:
    snapshot = profiled_snapshot()
    leaking = replace(snapshot.pairs[0], facts={**snapshot.pairs[0].facts, "leaks": "2 images"})
    rows = heatmap_rows(replace(snapshot, pairs=(leaking, *snapshot.pairs[1:])))
    heads = [row["task"] for row in rows if row["kind"] == "column"]
    assert heads == ["digits (leak)", "digits (10%)"]
    shared = {row["backbone"] for row in rows if "shared" in row.get("badges", "")}
    assert shared == {"mobilenetv3_small_050"}


def heatmap_rows(snapshot: SweepSnapshot) -> Rows:
    analysis = Analysis(snapshot)
    plot = heatmap.heatmap(analysis, Cast.of(analysis))
    assert plot is not None
    return plot.rows


def test_chances_are_those_of_the_analysis(wide: Analysis, wide_plots: Plots) -> None:
    tasks = wide_plots["chances"].choices["task"]
    assert tasks == ("all data sets", *wide.tasks)
    over_all = _rows(wide_plots, "chances", task="all data sets")
    assert wide.overall.chances is not None
    assert [row["chance"] for row in over_all] == pytest.approx(
        [100 * share for share in wide.overall.chances.best.values() if share >= 0.005]
    )


def test_overall_is_sorted_by_each_measure(wide: Analysis, wide_plots: Plots) -> None:
    ranks = _rows(wide_plots, "overall", measure="mean rank")
    scores = {wide.short[score.backbone]: score for score in wide.overall.scores}
    assert [row["value"] for row in ranks] == sorted(s.mean_rank for s in scores.values())
    for row in _rows(wide_plots, "overall", measure="win rate"):
        score = scores[row["backbone"]]
        assert row["value"] == pytest.approx(100 * score.win_rate)
        assert score.win_rate_ci is not None
        assert row["high"] == pytest.approx(100 * score.win_rate_ci[1])


def test_no_interval_is_claimed_over_few_data_sets() -> None:
    pairs = [tuned_pair(f"timm:{b}", 0.9, 1e-3, dataset=d) for b in "ab" for d in "xyz"]
    analysis = Analysis(make_snapshot(*pairs))
    plot = overall.overall(analysis, Cast.of(analysis))
    assert plot is not None and all(row["low"] is None for row in plot.rows)
    assert "no intervals" in plot.caption


def test_critical_difference_draws_ranks_groups_and_width(
    wide: Analysis, wide_plots: Plots
) -> None:
    test = wide.overall.critical_difference
    assert test is not None
    names = _rows(wide_plots, "critical-difference", kind="left")
    names = [*names, *_rows(wide_plots, "critical-difference", kind="right")]
    ranks = {wide.short[score.backbone]: score.mean_rank for score in wide.overall.scores}
    assert {row["backbone"]: row["rank"] for row in names} == ranks
    bars = _rows(wide_plots, "critical-difference", kind="clique")
    assert len(bars) == len(test.groups)
    for bar, group in zip(bars, test.groups, strict=True):
        inside = [ranks[wide.short[name]] for name in group]
        assert bar["rank"] < min(inside) < max(inside) < bar["end"] or len(set(inside)) == 1
    (width,) = _rows(wide_plots, "critical-difference", kind="width")
    assert width["end"] - width["rank"] == pytest.approx(test.width)


def test_wins_of_two_add_up(wide: Analysis, wide_plots: Plots) -> None:
    shares = {
        (row["first"], row["second"]): row["share"]
        for row in _rows(wide_plots, "wins", kind="cell")
    }
    assert len(shares) == 6
    assert all(share + shares[b, a] == pytest.approx(100) for (a, b), share in shares.items())
    names = [wide.short[score.backbone] for score in wide.overall.scores]
    ahead = (wide.overall.ranks[:, 0] < wide.overall.ranks[:, 1]).mean()
    level = (wide.overall.ranks[:, 0] == wide.overall.ranks[:, 1]).mean()
    assert shares[names[0], names[1]] == pytest.approx(100 * (ahead + level / 2))


def test_dumbbells_and_slopes_show_the_same_change(wide: Analysis, wide_plots: Plots) -> None:
    for change in wide.tunability.changes:
        dumbbells = _rows(wide_plots, "default-against-tuned", task=change.task)
        for row, place in zip(dumbbells, change.places, strict=True):
            assert place.default is not None and place.tuned is not None
            assert row["backbone"] == wide.short[place.backbone]
            assert row["default"] == pytest.approx(100 * place.default)
            assert row["tuned"] == pytest.approx(100 * place.tuned)
            assert row["gain"] == numbers.metric_change(change.metric, place.tuned - place.default)
            assert row["most"] >= max(row["tuned_high"], row["default_high"])
            left, right = (
                next(iter(_rows(wide_plots, "rank-change", task=change.task, side=side,
                                backbone=row["backbone"])))
                for side in (0, 1)
            )  # fmt: skip
            assert (left["rank"], right["rank"]) == (place.default_rank, place.tuned_rank)
            assert left["value"] == numbers.with_interval(
                change.metric, place.default, place.default_interval
            )
            assert left["moved"] == (place.default_rank != place.tuned_rank)


def test_titles_claim_what_was_counted(wide_plots: Plots) -> None:
    """At the default b is 4 points ahead; at each one's best a by 2."""
    pairs = (tuned_pair("timm:a", 0.95, 3e-3), tuned_pair("timm:b", 0.93, 3e-4))
    other = (tuned_pair("timm:a", 0.95, 3e-4, "x"), tuned_pair("timm:b", 0.93, 3e-4, "x"))
    analysis = Analysis(make_snapshot(*pairs, *other))
    cast = Cast.of(analysis)
    slopes, dumbbells = (
        make(analysis, cast) for make in (tuning.rank_changes, tuning.default_against_tuned)
    )
    assert slopes is not None and dumbbells is not None
    expected = "Tuning each backbone changes which one leads on 1 of 2 tasks, beyond chance on none"
    assert slopes.title == expected
    assert "1 of 2 pairs of backbones change places, 0 of them beyond chance" in slopes.caption
    assert dumbbells.title == "Tuning changes accuracy by -0.2 to +6.1 points (median +0.1)"
    assert wide_plots["rank-change"].title.startswith("On all 8 tasks the backbone that leads")


def test_a_flip_beyond_chance_is_called_so() -> None:
    pairs = (tuned_pair("timm:a", 0.95, 3e-3), tuned_pair("timm:b", 0.93, 3e-4))
    analysis = Analysis(make_snapshot(*pairs))
    (change,) = analysis.tunability.changes
    assert change.flip is not None
    shown = replace(change, flip=replace(change.flip, p_value=0.01), shown=1)
    analysis.tunability = replace(analysis.tunability, changes=(shown, replace(shown, task="x")))
    plot = tuning.rank_changes(analysis, Cast.of(analysis))
    assert plot is not None and plot.title.endswith("on 2 of 2 tasks, beyond chance on 2")
    assert plot.caption.endswith("among them the leaders of 2 tasks.")


def test_responses_join_the_ladder_and_ring_one_winner(live: Analysis, live_plots: Plots) -> None:
    digits = _rows(live_plots, "response", task="digits")
    ladders = Counter(row["backbone"] for row in digits if row.get("ladder"))
    assert ladders == {"mobilenetv3_small_050": 5, "resnet10t": 5, "vit_tiny_patch16_224": 5}
    winners = [row for row in digits if row.get("winner")]
    assert Counter(row["backbone"] for row in winners) == dict.fromkeys(ladders, 1)
    assert {row["kind"] for row in digits if row.get("backbone") == "<b>Net</b>"} == {"failed"}
    assert [row["x"] for row in digits if row["kind"] == "default"] == [3e-4]
    (response,) = (
        r for r in live.responses["lr"] if r.result.pair.id == "resnet10t.c3_in1k.digits.full"
    )
    points = {p.trial: p.metric_value for p in response.points}
    ring = next(row for row in winners if row["backbone"] == "resnet10t")
    assert ring["y"] == pytest.approx(100 * max(v for v in points.values() if v is not None))


def test_trials_at_work_are_not_drawn(live_plots: Plots) -> None:
    rows = _rows(live_plots, "response", task="digits (10%)", backbone="convnext_atto")
    assert [row["trial"] for row in rows] == ["0 (complete)", "3 (failed)"]


def test_learning_is_the_mean_and_range_of_the_runs(live: Analysis, live_plots: Plots) -> None:
    result = next(r for r in live.results if r.pair.backbone.startswith("timm:resnet10t"))
    finals = [t for t in result.pair.final_trials("tuned") if t.state == "complete"]
    last = [trial.epochs[-1].metrics["val/accuracy"] for trial in finals]
    row = _rows(live_plots, "learning", task="digits", backbone="resnet10t")[-1]
    assert row["runs"] == len(finals) == 3
    assert row["mean"] == pytest.approx(100 * fmean(last))
    assert (row["low"], row["high"]) == pytest.approx((100 * min(last), 100 * max(last)))


def test_mean_response_is_the_curves(wide: Analysis, wide_plots: Plots) -> None:
    curve = wide.curves[0]
    rows = _rows(wide_plots, "mean-response", backbone=wide.short[curve.backbone])
    assert [row["x"] for row in rows] == list(curve.values)
    assert [row["behind"] for row in rows] == pytest.approx(
        [100 * value for value in curve.behind if value is not None]
    )


def test_importance_is_a_row_per_backbone_and_a_column_per_hyperparameter() -> None:
    analysis = Analysis(make_snapshot(make_pair("timm:a")))
    shares = {"lr": 0.7, "weight_decay": 0.3}
    analysis.importance = (Importance("digits", "timm:a", shares, trials=24),)
    plot = sensitivity.importance(analysis, Cast.of(analysis))
    assert plot is not None
    cells = {row["second"]: row for row in plot.rows if row["kind"] == "cell"}
    assert {name: cell["share"] for name, cell in cells.items()} == {"lr": 70, "weight_decay": 30}
    assert cells["lr"]["column"] == 1 and cells["weight_decay"]["shown"] == "30% (24 trials)"
    LayerChart.from_dict({k: v for k, v in plot.spec().items() if k != "datasets"})


def test_small_data_has_every_point(wide: Analysis, wide_plots: Plots) -> None:
    found = wide.small_data.curves
    assert len(wide_plots["small-data"].rows) == sum(len(curve.points) for curve in found)
    row, point = wide_plots["small-data"].rows[0], found[0].points[0]
    assert (row["images"], row["mean"]) == (point.images, pytest.approx(100 * point.mean))


def test_budget_curves_and_who_leads(wide: Analysis, wide_plots: Plots) -> None:
    task = wide.budget.tasks[0]
    curve = task.curves[0]
    axes = wide_plots["budget"].choices["axis"]
    name = wide.short[curve.backbone]
    for axis, spent in zip(axes, (curve.trials, curve.device_seconds), strict=True):
        rows = _rows(wide_plots, "budget", task=task.task, axis=axis, kind="curve", backbone=name)
        assert [row["x"] for row in rows] == list(spent)
        assert [row["mean"] for row in rows] == pytest.approx([100 * v for v in curve.expected])


def test_the_strip_of_who_leads_has_no_gap() -> None:
    analysis = Analysis(wide_snapshot(4, 5))
    plot = budgets.budget(analysis, Cast.of(analysis))
    assert plot is not None
    axes = dict(zip(AXES, plot.choices["axis"], strict=True))
    found = [(task, axis) for task in analysis.budget.tasks for axis in AXES]
    assert any(len(task.on(axis)) > 1 for task, axis in found)
    for task, axis in found:
        strip = _rows({"budget": plot}, "budget", task=task.task, axis=axes[axis], kind="leader")
        assert [row["x"] for row in strip] == [leader.start for leader in task.on(axis)]
        assert [row["end"] for row in strip[:-1]] == [row["x"] for row in strip[1:]]
        assert strip[-1]["end"] == task.on(axis)[-1].end


def test_pareto_has_every_front(wide: Analysis, wide_plots: Plots) -> None:
    assert wide_plots["pareto"].choices["axis"][0] == "parameters"
    for front in wide.fronts:
        own = {"task": front.task, "axis": front.axis.title}
        rows = _rows(wide_plots, "pareto", kind="point", **own)
        for row, point in zip(rows, front.points, strict=True):
            assert (row["cost"], row["score"]) == (point.cost, pytest.approx(100 * point.score))
            assert (row["front"], row["knee"], row["line"]) == (point.front, point.knee, point.line)
            assert (row["label"] is not None) == (point.line or point.knee)


def test_reliability_recall_and_confusion_of_the_predictions(
    wide: Analysis, wide_plots: Plots
) -> None:
    found = wide.calibration[0]
    own = {"task": found.task, "backbone": wide.short[found.backbone]}
    bins = _rows(wide_plots, "reliability", **own)
    assert sum(row["images"] for row in bins) == found.runs * found.images
    recalls = {
        row["first"]: row["share"]
        for row in _rows(wide_plots, "recall", kind="cell", task=found.task, second=own["backbone"])
    }
    assert len(_rows(wide_plots, "recall", kind="column", task=found.task)) == 3
    assert recalls == pytest.approx({part.label: 100 * part.recall for part in found.recalls})


def test_confusion_is_the_leaders_and_its_rows_add_up(wide: Analysis, wide_plots: Plots) -> None:
    for task, standings in wide.standings.items():
        backbone = standings[0].result.pair.backbone
        (found,) = (c for c in wide.calibration if (c.task, c.backbone) == (task, backbone))
        matrix = np.zeros((5, 5))
        for row in _rows(wide_plots, "confusion", task=task, kind="cell"):
            matrix[row["row"] - 1, row["column"] - 1] = row["share"]
        assert matrix.sum(axis=1) == pytest.approx(np.full(5, 100.0))
        expected = found.confusion.matrix / found.confusion.matrix.sum(axis=1, keepdims=True)
        assert matrix == pytest.approx(100 * expected)


def test_lower_is_better_is_said_and_led_by_the_lowest(nll: Analysis) -> None:
    plots = plots_of(nll)
    rows = _rows(plots, "ranking", task="digits", kind="result")
    assert [row["backbone"] for row in rows] == ["b", "a"]
    assert rows[0]["mean"] < rows[1]["mean"] < 1, "NLL is not written in percent"
    assert "Test NLL (lower is better)" in str(plots["ranking"].spec())
    for row in plots["default-against-tuned"].rows:
        assert row["gain"] == f"{row['tuned'] - row['default']:+.3f}"
