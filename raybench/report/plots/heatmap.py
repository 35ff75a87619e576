"""Backbones by tasks: every result at a glance, with its interval and badges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.cost import sweep_cost_tables
from raybench.analysis.ranking import Standing
from raybench.analysis.results import final_metric
from raybench.analysis.whole import Analysis, TaskAnalysis
from raybench.report.plots.marks import (
    WIDEST,
    Cast,
    column_names,
    columns_axis,
    metric_axis,
    only,
    row_names,
    rows_axis,
    tooltip,
)
from raybench.report.plots.plot import Layers, Plot, Row


def heatmap(analysis: Analysis, cast: Cast) -> Plot | None:
    """Backbones by tasks, every cell with its value; for files, the page has a table."""
    disturbed = _disturbed(analysis)
    rows = [
        row
        for number, task in enumerate(analysis.tasks.values(), 1)
        for row in _cells(number, task, cast, disturbed)
    ]
    if not rows:
        return None
    metric = metric_axis(final_metric(analysis.snapshot.metric))
    return Plot(
        name="heatmap",
        title="Every backbone on every task",
        caption=(
            f"{metric}: mean over the final runs with its {WIDEST}. The colour compares within "
            "a task: full is its best backbone, none its worst; bold: in the first tier. Rows: "
            "best first over all data sets. leak: images shared between splits; oracle: read at "
            "the best test epoch; shared: timed while something else ran."
        ),
        chart=_heat_chart(cast),
        rows=rows,
        width=alt.Step(92),
        on_page=False,
    )


def _heat_chart(cast: Cast) -> Layers:
    at = alt.Chart().encode(x=columns_axis(), y=rows_axis(cast.name_width), tooltip=_CELL_TIP)
    cell = at.transform_filter(only("cell"))
    box = cell.mark_rect(style="shade", cornerRadius=3, width={"band": 0.97}, height={"band": 0.93})
    texts = [
        cell.mark_text(style=style, dy=dy, fontSize=size)
        .encode(text=f"{field}:N")
        .transform_filter(f"isValid(datum.{field})")
        for field, style, dy, size in _LINES
    ]
    names = row_names(only("row"), cast.name_width), column_names(only("column"), "task")
    shade = alt.Opacity("good:Q", scale=_SHADES, legend=None)
    return alt.layer(box.encode(opacity=shade), *texts, *names).properties(height=alt.Step(52))


_LINES = (
    ("value", "name", -8, 14),
    ("best", "strong", -8, 14),
    ("interval", "name", 7, 10.5),
    ("badges", "note", 19, 9.5),
)
_SHADES = alt.Scale(domain=[0, 1], range=[0.04, 0.5])
_CELL_TIP = tooltip(backbone="backbone", task="task", value="test", interval="95%")


def _disturbed(analysis: Analysis) -> frozenset[str]:
    """Short names of backbones whose timings something else disturbed."""
    tables = sweep_cost_tables(analysis.snapshot)[:1]
    rows = [row for table in tables for row in table.rows if row.profile.shared]
    return frozenset(name for row in rows for name in row.name.split(", "))


def _cells(number: int, task: TaskAnalysis, cast: Cast, disturbed: frozenset[str]) -> Iterator[Row]:
    order = {backbone: row for row, backbone in enumerate(cast.best, 1)}
    leaks = any(result.pair.facts.get("leaks") for result in task.results)
    name = task.name + " (leak)" * leaks
    yield {"kind": "column", "column": number, "task": name}
    means = [s.uncertainty.mean for s in task.standings if s.uncertainty is not None]
    for standing in task.standings:
        backbone = standing.result.pair.backbone
        if number == 1:
            yield {"kind": "row", "row": order[backbone], "backbone": cast.names[backbone]}
        yield {
            "kind": "cell",
            "row": order[backbone],
            "column": number,
            "task": task.name,
            "backbone": cast.names[backbone],
            **_cell(standing, means),
            "badges": _badges(standing, cast.names[backbone] in disturbed),
        }


def _cell(standing: Standing, means: Sequence[float]) -> Row:
    """``means`` best first."""
    final, sure = standing.result.final, standing.uncertainty
    if final.mean is None:
        return {"value": standing.result.pair.state, "good": 0.0}
    spread = abs(means[0] - means[-1])
    text = numbers.metric_value(final.metric, final.mean, unit=False)
    return {
        "best" if standing.tier == 1 else "value": text,
        "interval": numbers.interval_text(final.metric, final.mean, sure.widest if sure else None),
        "good": 1 - abs(means[0] - final.mean) / spread if spread else 1.0,
    }


def _badges(standing: Standing, disturbed: bool) -> str:
    result = standing.result
    marks = (
        result.config if result.mean is not None else "",
        "oracle" if result.oracle.by_run else "",
        "shared" if disturbed else "",
    )
    return " · ".join(mark for mark in marks if mark)
