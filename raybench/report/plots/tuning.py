"""What tuning bought: default against tuned, who changes places, which rate suits whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.rank_change import Place, RankChange
from raybench.analysis.whole import Analysis
from raybench.report.plots.marks import (
    ROW,
    WIDEST,
    Cast,
    across,
    ends,
    metric_axis,
    points,
    row_names,
    rows_axis,
    tooltip,
)
from raybench.report.plots.plot import Align, Layers, Plot, Row

_SLOPE = 36  # height of one place, with a name and its value below
_NARROWEST, _MIDDLE = 320, 40  # a phone's width, and what is left to the lines there


def default_against_tuned(analysis: Analysis, cast: Cast) -> Plot | None:
    """One dumbbell per backbone, in the order of the tuned values."""
    changes = _known(analysis)
    rows = [row for change in changes for row in _dumbbells(change, cast)]
    if not rows:
        return None
    # Where only some tasks have finals of both configurations, the axis names both splits.
    title = " or ".join(dict.fromkeys(metric_axis(change.metric) for change in changes))
    return Plot(
        name="default-against-tuned",
        title=_dumbbell_title(changes),
        caption=(
            f"Hollow: at the default ({changes[0].at}); filled: at the configuration that "
            f"validates best; the number: tuned minus default. {_means(changes)}"
        ),
        chart=_dumbbell_chart(title, cast),
        rows=rows,
        choices={"task": tuple(change.task for change in changes)},
    )


def _dumbbell_chart(title: str, cast: Cast) -> Layers:
    def x(field: str) -> alt.X:
        return across(field, title, padding=42)

    base = alt.Chart().encode(y=rows_axis(cast.name_width), tooltip=_DUMBBELL_TIP)
    looks = base.encode(color=cast.plain_colour, shape=cast.plain_shape)
    gain = base.mark_text(style="note", align="left", dx=11)
    rule: dict[str, Any] = {"style": "rule", "strokeWidth": 1, "opacity": 0.7}
    layers = [
        base.mark_rule(style="faint", strokeWidth=5).encode(x=x("default"), x2="tuned:Q"),
        base.mark_rule(yOffset=4, **rule).encode(x=x("default_low"), x2="default_high:Q"),
        base.mark_rule(yOffset=-4, **rule).encode(x=x("tuned_low"), x2="tuned_high:Q"),
        looks.mark_point(style="hollow", size=75, strokeWidth=1.8).encode(x=x("default")),
        looks.mark_point(filled=True, size=85).encode(x=x("tuned")),
        gain.encode(x=x("most"), text="gain:N"),
        row_names("true", cast.name_width),
    ]
    return alt.layer(*layers).properties(height=alt.Step(ROW))


def rank_changes(analysis: Analysis, cast: Cast) -> Plot | None:
    """Each backbone's rank at the default, joined to its rank when tuned."""
    changes = [change for change in _known(analysis) if change.pairs]
    if not changes:
        return None
    most = max(len(change.places) for change in changes)
    return Plot(
        name="rank-change",
        title=_flip_title(changes),
        caption=(
            f"Ranks at the default ({changes[0].at}), the same for every backbone, and at the "
            "configuration that validates best for each; thick: changes its rank. "
            f"{_means(changes)} {_flips(changes)}"
        ),
        chart=_slope_chart(cast).properties(height=_SLOPE * most + 24),
        rows=[row for change in changes for row in _slopes(change, cast)],
        choices={"task": tuple(change.task for change in changes)},
        width=2 * cast.name_width + 300,
        min_width=_NARROWEST,
    )


def _slope_chart(cast: Cast) -> Layers:
    """Lines between two columns of names, each with its value below."""
    side = f"min({cast.name_width + 6}, (wide - {_MIDDLE}) / 2)"
    room = {"rangeMin": alt.ExprRef(side), "rangeMax": alt.ExprRef(f"wide - {side}")}
    x = alt.X(
        "side:Q",
        title=None,
        scale=alt.Scale(domain=[0, 1], nice=False, **room),
        axis=alt.Axis(orient="top", values=[0, 1], labelExpr=_SIDES, **_BARE),
    )
    scale = alt.Scale(reverse=True, zero=False, nice=False, padding=20)
    y = alt.Y("rank:Q", title=None, axis=None, scale=scale)
    base = alt.Chart().encode(x=x, y=y, color=cast.plain_colour)
    line = base.mark_line(interpolate="monotone", strokeCap="round").encode(
        strokeWidth=_if_moved(1.6, 4.0), opacity=_if_moved(0.55, 1.0), detail="backbone:N"
    )
    dots = base.mark_point(filled=True, size=130).encode(shape=cast.plain_shape)
    sides: tuple[tuple[int, Align, int], ...] = ((0, "right", -14), (1, "left", 14))
    limit, size = (alt.ExprRef(text) for text in (f"{side} - 14", "wide < 420 ? 11 : 12.5"))
    texts = [
        alt.Chart()
        .mark_text(style=style, align=align, dx=dx, dy=dy, limit=limit, fontSize=size)
        .encode(x=x, y=y, text=f"{field}:N")
        .transform_filter(f"datum.side === {end} && {kind}")
        for end, align, dx in sides
        for field, style, dy, kind in _TEXTS
    ]
    return alt.layer(line, dots.transform_filter("isValid(datum.value)"), *texts)


def _if_moved(still: float, moved: float) -> dict[str, Any]:
    return {"condition": {"test": "datum.moved", "value": moved}, "value": still}


_SIDES = "datum.value === 0 ? 'at the default' : 'tuned'"
_TEXTS = (
    ("backbone", "name", -7, "!datum.leads"),
    ("backbone", "strong", -7, "datum.leads"),
    ("value", "note", 8, "true"),
)
_BARE: dict[str, Any] = {
    "domain": False,
    "ticks": False,
    "labelFlush": False,
    "labelFontSize": 13,
    "labelAlign": {"condition": {"test": "datum.value === 0", "value": "right"}, "value": "left"},
    "labelOverlap": False,
}
_DUMBBELL_TIP = tooltip(backbone="backbone", before="default", after="tuned", gain="gain")


def _known(analysis: Analysis) -> list[RankChange]:
    return [
        change
        for change in analysis.tunability.changes
        if any(place.default is not None and place.tuned is not None for place in change.places)
    ]


def _dumbbells(change: RankChange, cast: Cast) -> Iterator[Row]:
    metric, number = change.metric, 0
    for place in change.places:
        if place.default is None or place.tuned is None:
            continue
        number += 1
        before, after = points(metric, place.default), points(metric, place.tuned)
        edges = ends(metric, place.default_interval, "default_")
        edges |= ends(metric, place.tuned_interval, "tuned_")
        yield {
            "task": change.task,
            "backbone": cast.names[place.backbone],
            "row": number,
            "default": before,
            "tuned": after,
            "most": max(v for v in (before, after, *edges.values()) if v is not None),
            "gain": numbers.metric_change(metric, place.tuned - place.default),
            **edges,
            **_words(change, place),
        }


def _slopes(change: RankChange, cast: Cast) -> Iterator[Row]:
    """Four points per backbone, so that a monotone curve leaves and arrives level."""
    places = [place for place in change.places if place.default_rank and place.tuned_rank]
    rows = [_spread(places, side) for side in (0, 1)]
    for place in places:
        words = _words(change, place)
        shared = {
            "task": change.task,
            "backbone": cast.names[place.backbone],
            "moved": place.default_rank != place.tuned_rank,
        }
        ends_ = ((place.default_rank, words["before"]), (place.tuned_rank, words["after"]))
        for side, (rank, value) in enumerate(ends_):
            at = shared | {"rank": rows[side][place.backbone]}
            yield at | {"side": side, "value": value, "leads": rank == 1}
            yield at | {"side": 0.8 if side else 0.2}


def _spread(places: Sequence[Place], side: int) -> dict[str, int]:
    """Rows 1, 2, ...: equal ranks stand below each other rather than on one another."""
    ranked = sorted(places, key=lambda p: (p.default_rank, p.tuned_rank)[:: 1 - 2 * side])
    return {place.backbone: row for row, place in enumerate(ranked, 1)}


def _words(change: RankChange, place: Place) -> dict[str, str]:
    metric = change.metric
    return {
        "before": numbers.with_interval(metric, place.default, place.default_interval),
        "after": numbers.with_interval(metric, place.tuned, place.tuned_interval),
    }


def _means(changes: Sequence[RankChange]) -> str:
    tested = [change.task for change in changes if change.split == "test"]
    others = [change.task for change in changes if change.split == "validation"]
    parts = []
    if tested:
        parts.append(f"Mean test value over the final runs with its {WIDEST}.")
    if others:
        where = f" on {numbers.listing(others)}" if tested else ""
        parts.append(f"Validation, one run each{where}: the best of many, so partly luck.")
    return " ".join(parts)


def _dumbbell_title(changes: Sequence[RankChange]) -> str:
    """Tuned minus default, as at the dumbbells."""
    metric = changes[0].metric
    places = [place for change in changes for place in change.places]
    both = [(p.default, p.tuned) for p in places if p.default is not None and p.tuned is not None]
    found = sorted(tuned - default for default, tuned in both)
    least, middle, most = (
        numbers.metric_change(metric, value) for value in (found[0], median(found), found[-1])
    )
    unit = " points" if numbers.is_percent(metric) else ""
    what = f"Tuning changes {numbers.metric_title(metric)} by {least}"
    if len(found) == 1:
        return what + unit
    return f"{what} to {most}{unit} (median {middle})"


def _flip_title(changes: Sequence[RankChange]) -> str:
    flips = [change.task for change in changes if change.leader_flips]
    if not flips:
        where = f"all {len(changes)} tasks" if len(changes) > 1 else changes[0].task
        return f"On {where} the backbone that leads at the default also leads when each is tuned"
    where = f"{len(flips)} of {len(changes)} tasks" if len(changes) > 1 else flips[0]
    shown = sum(change.flip_shown for change in changes)
    sure = f", beyond chance on {shown or 'none'}" if len(changes) > 1 else ""
    return f"Tuning each backbone changes which one leads on {where}{sure}"


def _flips(changes: Sequence[RankChange]) -> str:
    """How much of it is more than chance."""
    pairs = sum(change.pairs for change in changes)
    swaps = sum(change.changed for change in changes)
    shown = sum(change.shown for change in changes)
    leaders = sum(change.flip_shown for change in changes)
    return (
        f"{swaps} of {numbers.plural(pairs, 'pair')} of backbones change places, {shown} of them "
        f"beyond chance (5%, Holm over the pairs of a task); among them the leaders of "
        f"{numbers.plural(leaders, 'task')}."
    )
