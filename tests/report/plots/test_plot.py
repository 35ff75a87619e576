"""Specs are valid, small, themeless and the same each time; every plot keeps the house's rules."""

from __future__ import annotations

import json
import re
from typing import Any

import altair as alt
import pytest

from raybench.analysis.whole import Analysis
from raybench.report.plots import curves, ranking
from raybench.report.plots.marks import Cast
from raybench.report.plots.plot import LARGEST_GRID, Plot
from raybench.report.plots.theme import DARK, LIGHT
from tests.factories import empty_snapshot, make_snapshot, tuned_pair
from tests.report.plots.conftest import Plots, plots_of

WIDE = (
    "heatmap ranking overall chances critical-difference wins default-against-tuned rank-change "
    "response mean-response budget pareto learning small-data reliability recall confusion"
).split()


def _validate(spec: dict[str, Any]) -> None:
    """Against Vega-Lite's schema; rows are data and have none."""
    drawn = {key: value for key, value in spec.items() if key != "datasets"}
    (alt.FacetChart if "facet" in spec else alt.LayerChart).from_dict(drawn)


def test_a_wide_sweep_has_every_plot_but_importance(wide_plots: Plots) -> None:
    assert list(wide_plots) == WIDE


@pytest.mark.parametrize("name", WIDE)
def test_specs_are_valid_and_hold_what_they_read(wide_plots: Plots, name: str) -> None:
    plot = wide_plots[name]
    spec = plot.spec()
    _validate(spec)
    text = json.dumps(spec, allow_nan=False)
    columns = {key for row in spec["datasets"]["rows"] for key in row}
    assert set(re.findall(r'"field": "(\w+)"', text)) <= columns | {
        "state"
    }  # of those without a result
    assert not re.search(r"#[0-9a-f]{6}", text), "colours are the theme's"
    assert len(text) < 150_000
    assert plot.title[0].isupper() or plot.title.split()[0].rstrip(":") in text
    assert plot.caption.endswith(".") and plot.title in plot.alt


def test_a_choice_is_a_parameter_that_filters(wide_plots: Plots) -> None:
    plot = wide_plots["budget"]
    spec = plot.spec()
    first = {param["name"]: param.get("value") for param in spec["params"]}
    assert first["task"] == plot.choices["task"][0]
    assert first["axis"] == plot.choices["axis"][0]
    assert spec["transform"] == [
        {"filter": "datum.task === task"},
        {"filter": "datum.axis === axis"},
    ]
    for row in plot.rows:
        assert row["task"] in plot.choices["task"] and row["axis"] in plot.choices["axis"]


def test_rows_have_their_height_by_what_is_chosen(wide_plots: Plots) -> None:
    """No name is part of an expression."""
    plot = wide_plots["chances"]
    spec = plot.spec()
    params = {param["name"]: param for param in spec["params"]}
    counts = params["counts"]["value"]
    assert set(counts) == set(plot.choices["task"])
    for task, count in counts.items():
        assert count == sum(row["task"] == task for row in plot.rows)
    assert params["height"]["expr"] == "24 * counts[task]"
    assert spec["height"] == 24 * max(counts.values())


@pytest.mark.parametrize("name", WIDE)
def test_every_choice_has_rows(wide_plots: Plots, name: str) -> None:
    plot = wide_plots[name]
    for key, values in plot.choices.items():
        assert [value for value in values if not any(r[key] == value for r in plot.rows)] == []


def test_a_figure_has_a_panel_per_task_a_title_and_its_own_colours(wide_plots: Plots) -> None:
    plot = wide_plots["ranking"]
    ((stem, spec),) = plot.figures(dark=True)
    assert stem == "ranking"
    _validate(spec)
    assert spec["facet"]["sort"] == list(plot.choices["task"])
    assert " ".join(spec["title"]["text"]) == plot.title
    assert " ".join(spec["title"]["subtitle"]) == plot.caption
    assert spec["config"]["background"] == DARK["paper"] != LIGHT["paper"]


def test_other_choices_are_files_of_their_own(wide_plots: Plots) -> None:
    stems = [stem for stem, _ in wide_plots["overall"].figures()]
    assert stems == [
        f"overall/{measure}"
        for measure in ("mean-accuracy", "mean-normalised-score", "mean-rank", "win-rate")
    ]


def test_too_many_tasks_are_files_rather_than_panels() -> None:
    tasks = tuple(f"task/{number}" for number in range(LARGEST_GRID + 1))
    chart = alt.layer(alt.Chart().mark_point().encode(x="x:Q"))
    rows = [{"task": task, "x": 1.0} for task in tasks]
    plot = Plot("many", "Many", "Tasks.", chart, rows, {"task": tasks})
    figures = dict(plot.figures())
    assert list(figures)[:2] == ["many/task-0", "many/task-1"]
    assert figures["many/task-3"]["datasets"]["rows"] == [rows[3]]


def test_numbers_are_rounded_and_what_is_none_is_left_out() -> None:
    chart = alt.layer(alt.Chart().mark_point().encode(x="x:Q"))
    plot = Plot(
        "one", "One", "Point.", chart, [{"x": 12.3456789, "n": 0, "low": None, "lit": False}]
    )
    assert plot.spec()["datasets"]["rows"] == [{"x": 12.346, "n": 0}]


def test_the_same_analysis_gives_the_same_bytes(live: Analysis) -> None:
    cast = Cast.of(live)
    first, second = (ranking.ranking(live, cast) for _ in range(2))
    assert first is not None and second is not None
    assert json.dumps(first.spec()) == json.dumps(second.spec())


def test_nothing_to_draw() -> None:
    found = plots_of(Analysis(empty_snapshot()))
    assert list(found) == ["heatmap"]
    assert all(plot.rows for plot in found.values())
    assert plots_of(Analysis(make_snapshot())) == {}


def test_one_backbone_has_no_comparisons() -> None:
    found = plots_of(Analysis(make_snapshot(tuned_pair("timm:a", 0.9, 1e-3))))
    assert not found.keys() & {"overall", "critical-difference", "wins", "pareto", "chances"}
    assert {"ranking", "default-against-tuned", "response", "learning"} <= found.keys()


def test_a_live_sweep_and_a_metric_where_less_is_better(live_plots: Plots, nll: Analysis) -> None:
    for plot in (*live_plots.values(), *plots_of(nll).values()):
        json.dumps(plot.spec(), allow_nan=False)


def test_beyond_a_dozen_backbones_the_best_stand_out() -> None:
    pairs = [tuned_pair(f"timm:model{n:02d}", 0.6 + n / 100, 1e-3) for n in range(14)]
    analysis = Analysis(make_snapshot(*pairs))
    plot = curves.learning(analysis, Cast.of(analysis))
    assert plot is not None
    spec = plot.spec()
    (focus,) = (param for param in spec["params"] if param["name"] == "focus")
    lit = [value["backbone"] for value in focus["value"]]
    assert lit == [f"model{n:02d}" for n in range(13, 1, -1)]
