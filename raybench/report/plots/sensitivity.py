"""How backbones respond to their hyperparameters: per task, over all tasks, and which matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.curves import MeanResponse
from raybench.analysis.importance import Importance
from raybench.analysis.results import TERMINAL
from raybench.analysis.tunability import Point, Response
from raybench.analysis.whole import Analysis
from raybench.report.plots.curves import best_pairs, limit
from raybench.report.plots.marks import (
    Cast,
    across,
    ends,
    matrix,
    metric_axis,
    only,
    points,
    tooltip,
    upward,
)
from raybench.report.plots.plot import Layers, Plot, Row

_HEIGHT = 290
_MOST_RUNGS = 8
_SPELLING = "datum.value < 0.1 ? format(datum.value, '~e') : format(datum.value, '~g')"
"""Of a hyperparameter's value, the same on every axis."""


def response(analysis: Analysis, cast: Cast) -> Plot | None:
    """Validation metric over each tuned hyperparameter: ladder joined, sampled trials beside it."""
    found = _shown_responses(analysis)
    rows = [row for response in found for row in _response_rows(response, cast)]
    if not rows:
        return None
    names = tuple(dict.fromkeys(response.name for response in found))
    metric = metric_axis(analysis.snapshot.metric)
    choices = {"task": tuple(dict.fromkeys(response.result.task for response in found))}
    return Plot(
        name="response",
        title=_response_title(found, names),
        caption=(
            f"{metric} of each search trial at its best epoch. Joined: the ladder, the same for "
            "every backbone; hollow: sampled afterwards or pruned; ringed: the winner; × at the "
            f"bottom: ended without a value.{limit(analysis)}"
        ),
        chart=_response_chart(_setting_axis(found, names), upward("y", metric), cast),
        rows=rows + _default_rows(found),
        choices=choices | ({"hyperparameter": names} if len(names) > 1 else {}),
    )


def _response_chart(x: alt.X, y: alt.Y, cast: Cast) -> Layers:
    focus = cast.focus
    trial = alt.Chart().encode(x=x, y=y, tooltip=_RESPONSE_TIP)
    looks = trial.encode(color=cast.colour, opacity=cast.opacity(focus))
    joined = looks.mark_line(strokeWidth=2).encode(strokeDash=cast.dash)
    on_ladder = looks.mark_point(filled=True, size=60).encode(shape=cast.shape)
    sampled = looks.mark_point(style="hollow", size=55).encode(shape=cast.shape)
    ring = trial.mark_point(shape="circle", style="ring", size=230, strokeWidth=1.5)
    bottom = looks.encode(y=alt.value(_HEIGHT))
    failed = bottom.mark_text(text="×", fontSize=19, fontWeight="bold", baseline="bottom")
    line = alt.Chart().mark_rule(style="rule", strokeDash=[4, 4]).encode(x=x)
    above = alt.Chart().encode(x=x, y=alt.value(0))
    word = above.mark_text(style="note", text="default", align="left", dx=5, baseline="top")
    layers = [
        line.transform_filter(only("default")),
        word.transform_filter(only("default")),
        joined.transform_filter("datum.ladder"),
        on_ladder.transform_filter("datum.ladder"),
        sampled.transform_filter(only("sampled")),
        ring.transform_filter("datum.winner"),
        failed.transform_filter(only("failed")),
    ]
    return alt.layer(*layers).add_params(focus).properties(height=_HEIGHT)


def mean_response(analysis: Analysis, cast: Cast) -> Plot | None:
    """How far each backbone falls behind at each rung of the ladder, over data sets."""
    metric = analysis.snapshot.metric
    rows = [row for curve in analysis.curves for row in _mean_rows(curve, metric, cast)]
    if not rows:
        return None
    first = analysis.curves[0]
    return Plot(
        name="mean-response",
        title=f"How much each {first.name} costs each backbone",
        caption=(
            f"Validation {numbers.metric_title(metric)} behind the task's best on the shared "
            f"ladder, averaged over data sets ({numbers.plural(len(first.by_task), 'task')}; 0 is "
            "as good as the best of every task). Bars: 95% t intervals over data sets, from six on."
        ),
        chart=_mean_chart(first, metric, cast),
        rows=rows,
    )


def _mean_chart(first: MeanResponse, metric: str, cast: Cast) -> Layers:
    focus = cast.focus
    unit = "points of " if numbers.is_percent(metric) else ""
    title = f"Behind the best ({unit}{numbers.metric_title(metric)})"
    rungs = alt.Axis(values=list(first.values), labelExpr=_SPELLING, grid=False)
    x = across("x", f"{first.name} (log scale)", rungs, type="log", padding=16)
    looks = {"color": cast.colour, "opacity": cast.opacity(focus)}
    base = alt.Chart().encode(x=x, tooltip=_TIP, **looks)
    inside = alt.Axis(labelExpr="datum.value < 0 ? '' : datum.label", tickCount=6)
    down: dict[str, Any] = {"axis": inside, "reverse": True}
    y = upward("behind", title, **down)
    rule = base.mark_rule(strokeWidth=1.4).encode(y=upward("low", title, **down), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=cast.dash)
    dot = base.mark_point(filled=True, size=60).encode(y=y, shape=cast.shape)
    return alt.layer(rule, line, dot).add_params(focus).properties(height=_HEIGHT)


def importance(analysis: Analysis, cast: Cast) -> Plot | None:
    """Share of the variance that each hyperparameter explains."""
    by_task: dict[str, list[Importance]] = {}
    for found in analysis.importance:
        by_task.setdefault(found.task, []).append(found)
    rows = [row for found in by_task.values() for row in _rows(found, cast)]
    if not rows:
        return None
    return Plot(
        name="importance",
        title="Which hyperparameter matters",
        caption=(
            "Percentage of the variance of the validation metric over the searched space that each "
            "hyperparameter explains by itself (fANOVA)."
        ),
        chart=matrix(cast.name_width),
        rows=rows,
        choices={"task": tuple(by_task)},
        width=alt.Step(72),
    )


_RESPONSE_TIP = tooltip(backbone="backbone", trial="trial", setting="setting", shown="validation")
_TIP = tooltip(backbone="backbone", setting="setting", shown="behind the best")


def _mean_rows(curve: MeanResponse, metric: str, cast: Cast) -> Iterator[Row]:
    for value, behind, interval in zip(curve.values, curve.behind, curve.intervals, strict=True):
        if behind is not None:
            yield {
                "backbone": cast.names[curve.backbone],
                "x": value,
                "behind": points(metric, behind),
                "setting": f"{curve.name} {numbers.hyperparameter(curve.name, value)}",
                "shown": numbers.metric_change(metric, behind).lstrip("+"),
                **ends(metric, interval),
            }


def _rows(found: list[Importance], cast: Cast) -> Iterator[Row]:
    task = found[0].task
    columns = list(dict.fromkeys(name for one in found for name in one.by_name))
    for column, name in enumerate(columns, 1):
        yield {"kind": "column", "task": task, "column": column, "label": name}
    for row, one in enumerate(found, 1):
        backbone = cast.names[one.backbone]
        yield {"kind": "row", "task": task, "row": row, "label": backbone}
        for name, share in one.by_name.items():
            yield {
                "kind": "cell",
                "task": task,
                "row": row,
                "column": 1 + columns.index(name),
                "share": 100 * share,
                "words": f"{100 * share:.0f}",
                "first": backbone,
                "second": name,
                "shown": f"{100 * share:.0f}% ({numbers.plural(one.trials, 'trial')})",
            }


def _shown_responses(analysis: Analysis) -> list[Response]:
    shown = best_pairs(analysis)
    return [
        response
        for responses in analysis.responses.values()
        for response in responses
        if (response.result.task, response.result.pair.backbone) in shown
    ]


def _ended(response: Response) -> Iterator[Point]:
    """Trials still at work have seen fewer epochs, so their points would mislead."""
    return (point for point in response.points if point.state in TERMINAL)


def _default_rows(found: Sequence[Response]) -> list[Row]:
    """Each task's once: it is the same for every backbone."""
    defaults = {(r.result.task, r.name): r.default for r in found if r.default is not None}
    return [
        {"kind": "default", "task": task, "hyperparameter": name, "x": value}
        for (task, name), value in defaults.items()
    ]


def _response_rows(response: Response, cast: Cast) -> Iterator[Row]:
    result, name = response.result, response.name
    shared = {"task": result.task, "hyperparameter": name}
    winner = result.winner.number if result.winner else None
    for point in _ended(response):
        failed = point.metric_value is None
        ladder = point.on_ladder and point.state == "complete" and not failed
        yield shared | {
            "kind": "failed" if failed else "ladder" if ladder else "sampled",
            "ladder": ladder,
            "winner": point.trial == winner,
            "backbone": cast.names[result.pair.backbone],
            "x": point.value,
            "y": points(result.metric, point.metric_value),
            "trial": f"{point.trial} ({point.state})",
            "setting": f"{name} {numbers.hyperparameter(name, point.value)}",
            "shown": numbers.metric_value(result.metric, point.metric_value),
        }


def _setting_axis(found: Sequence[Response], names: Sequence[str]) -> alt.X:
    """Ticks at the rungs, where there is one hyperparameter and they are few enough to be read."""
    log = any(response.range is not None and response.range.log for response in found)
    rungs = sorted({value for response in found for value, _ in response.rungs})
    few = len(names) == 1 and 1 < len(rungs) <= _MOST_RUNGS
    values = rungs if few else alt.Undefined
    axis = alt.Axis(values=values, labelExpr=_SPELLING, tickCount=6, grid=False)
    name = names[0] if len(names) == 1 else "Hyperparameter"
    if log:
        return across("x", f"{name} (log scale)", axis, type="log")
    return across("x", name, axis)


def _response_title(found: Sequence[Response], names: Sequence[str]) -> str:
    """How far apart the best settings are; nothing is said where only one backbone is there."""
    if len(names) > 1:
        return "How each backbone responds to its hyperparameters"
    best = [r.best for r in found if r.best is not None]
    name = names[0]
    low, high = min(best, default=0.0), max(best, default=0.0)
    if low == high:
        return f"How each backbone responds to {name}"
    ends = (numbers.hyperparameter(name, value) for value in (low, high))
    return f"The best {name} of a backbone lies between {' and '.join(ends)}"
