"""What a result costs: budget curves of the search, fronts of accuracy against cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.budget import BudgetCurve, TaskBudget
from raybench.analysis.pareto import AXES as AXES_OF_COST
from raybench.analysis.pareto import Axis, Front
from raybench.analysis.searches import AXES
from raybench.analysis.whole import Analysis
from raybench.report.plots.curves import best_pairs, limit
from raybench.report.plots.marks import (
    ROUND,
    Cast,
    across,
    axis_words,
    ends,
    lasting,
    metric_axis,
    only,
    points,
    tooltip,
    upward,
)
from raybench.report.plots.plot import Align, Layers, Plot, Row

_HEIGHT = 300
_STRIP = 9  # from the top: who is expected to lead
_AXIS_WORDS = {"trials": "Trials of the search", "device_seconds": "Device time of the search"}
_AXES = tuple(_AXIS_WORDS[axis] for axis in AXES)


def budget(analysis: Analysis, cast: Cast) -> Plot | None:
    """Expected best validation metric over what the search may spend."""
    found = [task for task in analysis.budget.tasks if task.curves]
    shown = best_pairs(analysis)
    rows = [row for task in found for row in _budget_rows(task, cast, shown)]
    if not rows:
        return None
    metric = metric_axis(analysis.budget.metric)
    return Plot(
        name="budget",
        title=_flips_title(found),
        caption=(
            f"Expected best {metric[0].lower()}{metric[1:]} if only so much of the search had been "
            "run, its trials in random order; band: 10th to 90th percentile. The strip on top: who "
            f"is expected to lead, from where two backbones have a trial.{limit(analysis)}"
        ),
        chart=_budget_chart(metric, cast),
        rows=rows,
        choices={"task": tuple(task.task for task in found), "axis": _AXES},
    )


def _budget_chart(metric: str, cast: Cast) -> Layers:
    focus = cast.focus
    counts = str([1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500])
    ticks = lasting(f"axis === '{_AXES[1]}'", counts)
    x = across("x", None, ticks, type="log", padding=10)
    room: dict[str, Any] = {"rangeMin": _HEIGHT, "rangeMax": 3 * _STRIP, "padding": 4}
    base = alt.Chart().encode(x=x, color=cast.colour)
    curve = base.encode(opacity=cast.opacity(focus)).transform_filter(only("curve"))
    y = upward("mean", metric, **room)
    band = curve.mark_area(fillOpacity=0.13).encode(y=upward("low", metric, **room), y2="high:Q")
    line = curve.mark_line(strokeWidth=2).encode(y=y, strokeDash=cast.dash)
    dot = curve.mark_point(filled=True, size=42).encode(y=y, shape=cast.shape, tooltip=_BUDGET_TIP)
    leader = base.encode(x2="end:Q", y=alt.value(_STRIP), tooltip=_LEADER_TIP)
    strip = leader.mark_rule(strokeWidth=7).transform_filter(only("leader"))
    layers = alt.layer(band, line, dot, strip, axis_words(_HEIGHT))
    return layers.add_params(focus).properties(height=_HEIGHT)


def pareto(analysis: Analysis, cast: Cast) -> Plot | None:
    """Test metric against one cost; the front is a line."""
    fronts = analysis.fronts
    rows = [row for front in fronts for row in _front_rows(front, cast)]
    if not rows:
        return None
    metric = metric_axis(fronts[0].metric)
    where = next((f" Measured alone on {front.where}." for front in fronts if front.where), "")
    return Plot(
        name="pareto",
        title="What accuracy costs",
        caption=(
            f"{metric}: mean over final seeds with its widest 95% interval. Dashed: nobody has a "
            "better mean for less. Filled: on the front beyond chance; half: perhaps; hollow: a "
            "cheaper one is better beyond chance. Ringed: the knee, beyond which a backbone costs "
            f"more than it brings. *: timed while something else ran.{where}"
        ),
        chart=_front_chart(metric, cast),
        rows=rows,
        choices={
            "task": tuple(dict.fromkeys(front.task for front in fronts)),
            "axis": tuple(dict.fromkeys(front.axis.title for front in fronts)),
        },
    )


def _front_chart(metric: str, cast: Cast) -> Layers:
    focus, y = cast.focus, upward("score", metric, padding=20)
    ticks = lasting(f"axis === '{_TUNING.title}'", str(ROUND))
    x = across("cost", None, ticks, type="log", padding=34)
    base = alt.Chart().encode(x=x, y=y).transform_filter(only("point"))
    line = base.mark_line(style="rule", interpolate="step-after", strokeDash=[5, 3])
    low = upward("low", metric, padding=20)
    rule = base.mark_rule(style="rule", opacity=0.55).encode(y=low, y2="high:Q")
    mark = base.encode(shape=cast.shape, tooltip=_FRONT_TIP)
    seen = mark.encode(color=cast.colour, opacity=cast.opacity(focus))
    inside = seen.encode(fillOpacity=_filled())
    ring = base.mark_point(shape="circle", style="ring", size=360, strokeWidth=1.5)
    sides: tuple[tuple[Align, int, str], ...] = (("left", 9, "!"), ("right", -9, ""))
    layers = [
        line.transform_filter("datum.line"),
        rule,
        ring.transform_filter("datum.knee"),
        mark.mark_point(style="hollow", size=110),
        seen.mark_point(size=110, strokeWidth=1.8),
        inside.mark_point(filled=True, size=110),
        *(
            base.mark_text(style="name", dx=dx, dy=-10, align=align)
            .encode(text="label:N")
            .transform_filter(f"isValid(datum.label) && {negated}datum.far")
            for align, dx, negated in sides
        ),
        axis_words(_HEIGHT),
    ]
    return alt.layer(*layers).add_params(focus).properties(height=_HEIGHT)


_TUNING = AXES_OF_COST[-1]


def _filled() -> dict[str, Any]:
    """On the front, perhaps on it, not on it."""
    shares = {"yes": 1, "perhaps": 0.4}
    found = [{"test": f"datum.front === '{key}'", "value": v} for key, v in shares.items()]
    return {"condition": found, "value": 0}


_BUDGET_TIP = tooltip(backbone="backbone", spent="after", shown="expected best (10% to 90%)")
_LEADER_TIP = tooltip(backbone="expected to lead", spent="from", chance="chance there")
_FRONT_TIP = tooltip(backbone="backbone", shown="test", price="cost", front="on the front")


def _budget_rows(task: TaskBudget, cast: Cast, shown: frozenset[tuple[str, str]]) -> Iterator[Row]:
    for axis, words in zip(AXES, _AXES, strict=True):
        shared = {"task": task.task, "axis": words}
        yield shared | {"kind": "axis", "words": f"{words} (log scale)"}
        for curve in task.curves:
            if (task.task, curve.backbone) in shown:
                for row in _curve_rows(curve, axis, task.metric):
                    yield shared | row | {"backbone": cast.names[curve.backbone]}
        for leader in task.on(axis):
            yield shared | {
                "kind": "leader",
                "backbone": cast.names[leader.backbone],
                "x": leader.start,
                "end": leader.end,
                "spent": _spent(axis, leader.start),
                "chance": numbers.chance(leader.chance),
            }


def _curve_rows(curve: BudgetCurve, axis: str, metric: str) -> Iterator[Row]:
    budgets = curve.trials if axis == "trials" else curve.device_seconds
    for x, mean, low, high in zip(budgets, curve.expected, curve.low, curve.high, strict=True):
        if x > 0:
            words = [numbers.metric_value(metric, value) for value in (low, mean, high)]
            yield {
                "kind": "curve",
                "x": x,
                "mean": points(metric, mean),
                **ends(metric, (low, high)),
                "spent": _spent(axis, x),
                "shown": f"{words[1]} ({words[0]} to {words[2]})",
            }


def _spent(axis: str, value: float) -> str:
    return numbers.plural(round(value), "trial") if axis == "trials" else numbers.duration(value)


def _flips_title(found: list[TaskBudget]) -> str:
    """On which axis, and on how many tasks."""
    flips = {axis: sum(task.flips(axis) for task in found) for axis in AXES}
    if not any(flips.values()):
        return "The same backbone is expected to lead at any budget"
    words = {"trials": "the number of trials", "device_seconds": "device time"}
    if len(found) == 1:
        where = numbers.listing(f"on {words[axis]}" for axis in AXES if flips[axis])
        return f"Who is expected to lead depends {where}"
    most, least = sorted(AXES, key=lambda axis: -flips[axis])
    return (
        f"Who is expected to lead depends on {words[most]} on {flips[most]} of {len(found)} tasks, "
        f"on {words[least]} on {flips[least] or 'none'}"
    )


def _front_rows(front: Front, cast: Cast) -> Iterator[Row]:
    metric, shared = front.metric, {"task": front.task, "axis": front.axis.title}
    unit = "" if front.axis == _TUNING else f"{front.axis.unit}, "  # its ticks are durations
    title = front.axis.title[0].upper() + front.axis.title[1:]
    yield shared | {"kind": "axis", "words": f"{title} ({unit}log scale)"}
    costs = [point.cost for point in front.points if point.cost > 0]
    middle = math.sqrt(costs[0] * costs[-1]) if costs else 0.0
    for point in front.points:
        if point.cost > 0:
            name = cast.names[point.backbone] + " *" * point.shared
            yield shared | {
                "kind": "point",
                "backbone": cast.names[point.backbone],
                "cost": point.cost,
                "score": points(metric, point.score),
                **ends(metric, point.interval),
                "front": point.front,
                "line": point.line,
                "far": point.cost > middle,
                "knee": point.knee,
                "label": name if point.line or point.knee else None,
                "shown": numbers.with_interval(metric, point.score, point.interval),
                "price": _price(front.axis, point.cost),
            }


def _price(axis: Axis, cost: float) -> str:
    return numbers.duration(cost) if axis == _TUNING else f"{numbers.short(cost)} {axis.unit}"
