"""Over all tasks: scores with intervals, the critical-difference diagram, who beats whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import numpy as np

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval
from raybench.analysis.overall import ENOUGH, Overall, Score
from raybench.analysis.rank_tests import CriticalDifference
from raybench.analysis.whole import Analysis
from raybench.records import is_minimised
from raybench.report.plots.marks import (
    ROW,
    Cast,
    across,
    column_names,
    columns_axis,
    only,
    row_names,
    rows_axis,
    tooltip,
)
from raybench.report.plots.plot import Layers, Plot, Row

_MEASURES = ("mean normalised score", "mean rank", "win rate")
_LEVEL = 22  # pixels between the names of a critical-difference diagram
MOST_PAIRED = 30
"""Backbones of the matrix of wins: the best ones."""


def overall(analysis: Analysis, cast: Cast) -> Plot | None:
    """Every backbone over all data sets, by three measures."""
    found = analysis.overall
    if len(found.scores) < 2 or len(found.data_sets) < 2:
        return None
    title = numbers.metric_title(found.metric)
    measures = (f"mean {title}", *_MEASURES)
    rows = [row for measure in measures for row in _score_rows(found, measure, cast)]
    base = alt.Chart().encode(y=rows_axis(cast.name_width), tooltip=_SCORE_TIP)
    interval = base.mark_rule(style="rule", strokeWidth=2).encode(
        x=across("low", None), x2="high:Q"
    )
    dot = base.mark_point(filled=True, size=95).encode(
        x=across("value", None), color=cast.plain_colour, shape=cast.plain_shape
    )
    count = len(found.data_sets)
    sure = "bars: 95% t intervals over data sets" if found.enough else (
        f"no intervals, since {count} data sets say little of others ({ENOUGH} are needed)"
    )  # fmt: skip
    return Plot(
        name="overall",
        title=f"Over {count} data sets {cast.names[found.scores[0].backbone]} has the best mean "
        f"{title}",
        caption=(
            f"Means over {count} data sets, each the mean of its subsets; {sure}. Score: 100 is "
            "the best backbone of each task, 0 the worst. Win rate: share of the other backbones "
            "beaten. A failed backbone has the last rank, score 0, no win and no mean "
            f"{title}."
        ),
        chart=alt.layer(interval, dot, row_names("true", cast.name_width)).properties(
            height=alt.Step(ROW)
        ),
        rows=rows,
        choices={"measure": measures},
    )


def critical_difference(analysis: Analysis, cast: Cast) -> Plot | None:
    """Demsar's diagram: mean ranks on a line, bars over those that cannot be told apart."""
    found = analysis.overall
    test = found.critical_difference
    if test is None:
        return None
    scores = sorted(found.scores, key=lambda score: score.mean_rank)
    rows = list(_diagram(scores, test, cast))
    side = cast.name_width + 46
    return Plot(
        name="critical-difference",
        title=_diagram_title(test, cast, scores),
        caption=(
            f"Mean ranks over {len(found.data_sets)} data sets (1 is best). Friedman's test: p = "
            f"{test.p_value:.2g}. A bar joins backbones whose mean ranks differ by less than "
            f"Nemenyi's critical difference of {test.width:.2f} (5%): they cannot be told apart."
        ),
        chart=_diagram_chart(len(scores), max(row["level"] for row in rows), side, cast),
        rows=rows,
        width=2 * side + 400,
        min_width=2 * side + 180,
    )


def _diagram_chart(backbones: int, deepest: float, side: int, cast: Cast) -> Layers:
    """Levels are rows of names; the axis stands above them at 0."""
    room: dict[str, Any] = {"rangeMin": side, "rangeMax": alt.ExprRef(f"wide - {side}")}
    ticks = alt.Axis(orient="top", tickMinStep=1, grid=False, offset=-1.5 * _LEVEL)
    x = across("rank", None, ticks, domain=[1, backbones], nice=False, padding=0, **room)
    down = alt.Scale(domain=[-1.5, deepest + 0.7], reverse=True, nice=False, zero=False)
    y = alt.Y("level:Q", axis=None, scale=down)
    span = alt.Chart().encode(x=x, x2="end:Q", y=y)
    width = span.mark_rule(style="rule", strokeWidth=2).transform_filter(only("width"))
    text = alt.Chart().encode(x=x, y=y, text="words:N").transform_filter(only("width"))
    bars = span.mark_rule(style="ink", strokeWidth=5, strokeCap="round")
    on_axis = alt.Chart().encode(x=x, y=alt.YDatum(0, axis=None), tooltip=_RANK_TIP)
    dots = on_axis.encode(color=cast.plain_colour, shape=cast.plain_shape)
    sides = (("left", "right", side - 24), ("right", "left", alt.ExprRef(f"wide - {side - 24}")))
    layers = [
        bars.transform_filter(only("clique")),
        width,
        text.mark_text(style="note", dy=-8, align="left"),
        *(layer for own in sides for layer in _lines(x, y, *own)),
        dots.mark_point(filled=True, size=70).transform_filter("isValid(datum.backbone)"),
    ]
    return alt.layer(*layers).properties(height=round(_LEVEL * (deepest + 2.2)))


def _lines(x: alt.X, y: alt.Y, kind: str, align: Any, edge: Any) -> Iterator[alt.Chart]:
    """From the axis down to a level, from there out to the name."""
    own = alt.Chart().encode(x=x, y=y).transform_filter(only(kind))
    yield own.mark_rule(style="rule").encode(y2=alt.Y2Datum(0))
    yield own.mark_rule(style="rule").encode(x2=alt.value(edge))
    words = own.mark_text(style="name", align=align, dx=-7 if kind == "left" else 7)
    yield words.encode(x=alt.value(edge), text="words:N")


def wins(analysis: Analysis, cast: Cast) -> Plot | None:
    """On what share of the data sets the row beats the column."""
    found = analysis.overall
    if len(found.scores) < 2 or len(found.data_sets) < 2:
        return None
    shown = [score.backbone for score in found.scores[:MOST_PAIRED]]
    rows = list(_win_rows(found, [cast.names[name] for name in shown]))
    cell = (
        alt.Chart()
        .encode(x=columns_axis(cast.head), y=rows_axis(cast.name_width))
        .transform_filter(only("cell"))
    )
    shades = alt.Scale(domain=[0, 50, 100], range=[0, 0.12, 0.6])
    shade = cell.mark_rect(style="shade", cornerRadius=2).encode(
        opacity=alt.Opacity("share:Q", scale=shades, legend=None), tooltip=_WIN_TIP
    )
    text = cell.mark_text(style="name", fontSize=11.5).encode(text="words:N")
    limit = f" The {MOST_PAIRED} best." if len(found.scores) > MOST_PAIRED else ""
    heads = column_names(only("row"), "backbone", cast.head)
    return Plot(
        name="wins",
        title="Who beats whom",
        caption=(
            f"On what percentage of {len(found.data_sets)} data sets the backbone of the row has "
            f"the better rank than that of the column; ties count half.{limit}"
        ),
        chart=alt.layer(shade, text, row_names(only("row"), cast.name_width), heads).properties(
            height=alt.Step(30)
        ),
        rows=rows,
        width=alt.Step(38),
    )


_SCORE_TIP = tooltip(backbone="backbone", shown="mean")
_RANK_TIP = tooltip(backbone="backbone", shown="mean rank")
_WIN_TIP = tooltip(first="row", second="column", words="% won", adjusted="Wilcoxon, Holm: p")


def _score_rows(found: Overall, measure: str, cast: Cast) -> Iterator[Row]:
    """Best first by this measure."""
    measured = [
        (value, interval, cast.names[score.backbone])
        for score in found.scores
        for value, interval in _measured(score, measure, found.metric)
    ]
    by_metric = measure not in _MEASURES
    falls = is_minimised(found.metric) if by_metric else measure == "mean rank"
    ranked = sorted(measured, key=lambda item: item[0] if falls else -item[0])
    digits = 2 if measure == "mean rank" or not numbers.is_percent(found.metric) else 1
    for row, (value, interval, name) in enumerate(ranked, 1):
        low, high = interval or (None, None)
        yield {
            "measure": measure,
            "row": row,
            "backbone": name,
            "value": value,
            "low": low,
            "high": high,
            "shown": numbers.plain(value, interval, digits),
        }


def _measured(score: Score, measure: str, metric: str) -> Iterator[tuple[float, Interval | None]]:
    """Ranks as they are, shares in percent; no mean metric of those that failed."""
    if measure == "mean rank":
        yield score.mean_rank, score.mean_rank_ci
        return
    value, interval = {
        "win rate": (score.win_rate, score.win_rate_ci),
        "mean normalised score": (score.score, score.score_ci),
    }.get(measure, (score.mean, score.mean_ci))
    unit = 100 if measure in _MEASURES or numbers.is_percent(metric) else 1
    if value is not None:
        yield unit * value, interval and (unit * interval[0], unit * interval[1])


def _diagram(scores: Sequence[Score], test: CriticalDifference, cast: Cast) -> Iterator[Row]:
    """Levels count downwards from the axis: first the bars, then the names."""
    ranks = {score.backbone: score.mean_rank for score in scores}
    reach = 1 + test.width
    yield {"kind": "width", "rank": 1.0, "end": reach, "level": -1.1,
           "words": f"critical difference {test.width:.2f}"}  # fmt: skip
    for number, group in enumerate(test.groups):
        inside = [ranks[name] for name in group]
        yield {"kind": "clique", "rank": min(inside) - 0.04, "end": max(inside) + 0.04,
               "level": 0.55 + 0.45 * number}  # fmt: skip
    first = 1.1 + 0.45 * len(test.groups)
    half = (len(scores) + 1) // 2
    for place, score in enumerate(scores):
        left = place < half
        name, rank = cast.names[score.backbone], numbers.plain(score.mean_rank)
        yield {
            "kind": "left" if left else "right",
            "backbone": name,
            "rank": score.mean_rank,
            "level": first + (place if left else len(scores) - 1 - place),
            "words": f"{name}\u00a0\u00a0{rank}" if left else f"{rank}\u00a0\u00a0{name}",
            "shown": numbers.plain(score.mean_rank, score.mean_rank_ci),
        }


def _diagram_title(test: CriticalDifference, cast: Cast, scores: Sequence[Score]) -> str:
    best = scores[0].backbone
    joined = {name for group in test.groups if best in group for name in group} - {best}
    name = cast.names[best]
    if not joined:
        return f"{name} has the best mean rank, beyond chance"
    return f"{name} has the best mean rank; {len(joined)} cannot be told apart from it"


def _win_rows(found: Overall, names: Sequence[str]) -> Iterator[Row]:
    ranks = found.ranks[:, : len(names)]
    better = (ranks[:, :, None] < ranks[:, None, :]).mean(axis=0)
    level = (ranks[:, :, None] == ranks[:, None, :]).mean(axis=0)
    shares = 100 * (better + level / 2)
    tests = {frozenset((p.first, p.second)): p.adjusted for p in found.wilcoxon}
    backbones = [score.backbone for score in found.scores]
    for row, name in enumerate(names):
        yield {"kind": "row", "row": row + 1, "column": row + 1, "backbone": name}
        for column in np.delete(np.arange(len(names)), row).tolist():
            adjusted = tests.get(frozenset((backbones[row], backbones[column])))
            yield {
                "kind": "cell",
                "row": row + 1,
                "column": column + 1,
                "first": name,
                "second": names[column],
                "share": float(shares[row, column]),
                "words": f"{shares[row, column]:.0f}",
                "adjusted": numbers.MISSING if adjusted is None else f"{adjusted:.2g}",
            }
