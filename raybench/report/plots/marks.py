"""What the plots share: the backbones' looks, rows with names beside them, values and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval
from raybench.analysis.whole import Analysis
from raybench.records import is_minimised
from raybench.report.plots import theme
from raybench.report.plots.plot import Layers

LIT = 12
"""Backbones that stand out from the start; with more, the others begin in the background."""
HEAD = 84
"""Room for slanted names above columns."""
WIDEST = "95% interval (over seeds, and test images where predictions are kept)"
"""What stands beside one number by itself."""
ROW = 24
"""Height of one row, in pixels."""
NAME_WIDTH = 205
_CHARACTER = 6.7  # of the names' font, on average
_DASHES = ([1, 0], [7, 3], [2, 2])
_BACKGROUND = 0.14
_SECONDS = [0.01, 0.1, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800] + [
    3600 * hours for hours in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
]
ROUND = [factor * 10**power for power in range(-3, 7) for factor in (1, 2, 3, 5)]
"""Ticks of a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The backbones of a sweep as the plots name them.

    Attributes:
        names: backbone -> short name, in the sweep file's order.
        best: backbones, best first.
    """

    names: Mapping[str, str]
    best: tuple[str, ...]

    @classmethod
    def of(cls, analysis: Analysis) -> Cast:
        """Best by the mean score over data sets; those without any at the end."""
        scored = [score.backbone for score in analysis.overall.scores]
        return cls(analysis.short, tuple(dict.fromkeys((*scored, *analysis.short))))

    @property
    def colour(self) -> alt.Color:
        """With the legend, which is also the switch: a click lights a backbone up."""
        listed = [self.names[backbone] for backbone in self.best[: 2 * LIT]]
        kept = [name for name in self.names.values() if name in set(listed)]
        legend = alt.Legend(title=None, columns=alt.ExprRef("columns"), values=kept)
        return alt.Color("backbone:N", scale=self._scale, legend=legend)

    @property
    def plain_colour(self) -> alt.Color:
        """Without a legend, where names stand beside the marks."""
        return alt.Color("backbone:N", scale=self._scale, legend=None)

    @property
    def shape(self) -> alt.Shape:
        return alt.Shape("backbone:N", scale=self._scale)

    @property
    def plain_shape(self) -> alt.Shape:
        return alt.Shape("backbone:N", scale=self._scale, legend=None)

    @property
    def focus(self) -> alt.Parameter:
        """Which backbones stand out: those clicked in the legend, at first the best ones."""
        lit = self.best[:LIT] if len(self.best) > LIT else ()
        first = [{"backbone": self.names[name]} for name in lit] or alt.Undefined
        return alt.selection_point(name="focus", fields=["backbone"], bind="legend", value=first)

    def opacity(self, focus: alt.Parameter) -> Any:
        return alt.condition(focus, alt.value(1), alt.value(_BACKGROUND))

    @property
    def dash(self) -> alt.StrokeDash:
        """Dashes where a colour comes again, as the shapes are too small for lines."""
        places = range(len(self.names))
        dashes = [_DASHES[place // theme.COLOURS % len(_DASHES)] for place in places]
        scale = alt.Scale(domain=list(self.names.values()), range=dashes)
        return alt.StrokeDash("backbone:N", scale=scale)

    @property
    def name_width(self) -> int:
        """Room for the names beside rows."""
        longest = max(map(len, self.names.values()), default=0)
        return min(NAME_WIDTH, round(26 + _CHARACTER * longest))

    @property
    def head(self) -> int:
        """Room for the names above columns, where they are slanted."""
        return round(self.name_width / 1.5)

    @property
    def _scale(self) -> alt.Scale:
        """The same in every plot, whichever backbones it holds."""
        return alt.Scale(domain=list(self.names.values()))


def points(metric: str, value: float | None) -> float | None:
    """In the unit of its axis: percent where the metric is written so."""
    return value if value is None or not numbers.is_percent(metric) else 100 * value


def ends(metric: str, interval: Interval | None, name: str = "") -> dict[str, float | None]:
    """Columns ``low`` and ``high``, with ``name`` in front."""
    low, high = interval or (None, None)
    return {f"{name}low": points(metric, low), f"{name}high": points(metric, high)}


def metric_axis(metric: str) -> str:
    """``Test accuracy (%)``, ``Validation NLL (lower is better)``."""
    split = "Validation" if metric.startswith("val/") else "Test"
    unit = " (%)" if numbers.is_percent(metric) else ""
    direction = " (lower is better)" if is_minimised(metric) else ""
    return f"{split} {numbers.metric_title(metric)}{unit}{direction}"


def only(kind: str) -> str:
    """Filter of the rows that one layer draws."""
    return f"datum.kind === '{kind}'"


def across(field: str, title: str | None, axis: alt.Axis | None = None, **scale: Any) -> alt.X:
    """A horizontal axis that need not start at zero."""
    return alt.X(f"{field}:Q", title=title, scale=_open(scale), axis=axis or _ticks(title))


def upward(field: str, title: str | None, axis: alt.Axis | None = None, **scale: Any) -> alt.Y:
    """A vertical axis that need not start at zero."""
    return alt.Y(f"{field}:Q", title=title, scale=_open(scale), axis=axis or _ticks(title))


def rows_axis(width: int = NAME_WIDTH) -> alt.Y:
    """Rows by number, with room for ``row_names`` to their left."""
    return alt.Y("row:O", title=None, axis=_blank_axis(width))


def columns_axis(height: int = HEAD) -> alt.X:
    """Columns by number, with room for ``column_names`` above."""
    return alt.X("column:O", title=None, axis=_blank_axis(height, orient="top"))


def row_names(chosen: str, width: int = NAME_WIDTH, text: str = "backbone") -> alt.Chart:
    """Names at the left end of their rows, of the data that pass the filter ``chosen``."""
    base = alt.Chart().encode(y=rows_axis(width), text=f"{text}:N").transform_filter(chosen)
    names: alt.Chart = base.mark_text(style="name", align="right", x=-10, limit=width - 14)
    return names


def column_names(chosen: str, text: str, height: int = HEAD) -> alt.Chart:
    """Slanted names above their columns."""
    base = alt.Chart().encode(x=columns_axis(height), text=f"{text}:N").transform_filter(chosen)
    names: alt.Chart = base.mark_text(
        style="name", align="left", baseline="middle", angle=320, y=-10, limit=1.5 * height
    )
    return names


def matrix(width: int = NAME_WIDTH, head: int = HEAD) -> Layers:
    """Shaded percentages (kind ``cell``) with names beside rows and above columns."""
    cell = (
        alt.Chart().encode(x=columns_axis(head), y=rows_axis(width)).transform_filter(only("cell"))
    )
    shades = alt.Scale(domain=[0, 100], range=[0.03, 0.6])
    tip = tooltip(first="row", second="column", shown="share")
    shade = cell.mark_rect(style="shade", cornerRadius=2).encode(
        opacity=alt.Opacity("share:Q", scale=shades, legend=None), tooltip=tip
    )
    text = cell.mark_text(style="name", fontSize=11.5).encode(text="words:N")
    names = row_names(only("row"), width, "label"), column_names(only("column"), "label", head)
    return alt.layer(shade, text, *names).properties(height=alt.Step(26))


def lasting(values: str, otherwise: str) -> alt.Axis:
    """A logarithmic axis whose ticks are durations where the expression ``values`` holds."""
    ticks = f"{values} ? {list(_SECONDS)} : {otherwise}"
    text = (
        f"!({values}) ? format(datum.value, ',~g') : datum.value < 60 ? datum.value + ' s' : "
        "datum.value < 3600 ? datum.value / 60 + ' min' : format(datum.value / 3600, ',~g') + ' h'"
    )
    return alt.Axis(values=alt.ExprRef(ticks), labelExpr=text, grid=False, minExtent=34)


def axis_words(height: int) -> alt.Chart:
    """A title below the horizontal axis that depends on a choice: rows of kind ``axis``."""
    middle = alt.value(alt.ExprRef("wide / 2"))
    base = alt.Chart().encode(x=middle, text="words:N").transform_filter(only("axis"))
    names: alt.Chart = base.mark_text(style="name", baseline="top", y=height + 30)
    return names


def tooltip(**titles: str) -> list[alt.Tooltip]:
    """Columns with what they are called."""
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def _ticks(title: str | None) -> alt.Axis:
    """Percentages end at 0 and 100, also where the axis goes on to make room."""
    inside = "datum.value < 0 || datum.value > 100 ? '' : datum.label"
    text = inside if "(%)" in (title or "") else alt.Undefined
    return alt.Axis(grid=True, tickCount=6, labelExpr=text)


def _blank_axis(extent: int, **where: Any) -> alt.Axis:
    return alt.Axis(
        labelExpr="''", minExtent=extent, ticks=False, domain=False, grid=False, **where
    )


def _open(scale: Mapping[str, Any]) -> alt.Scale:
    """Logarithms have no zero to start at, and ask for no round ends."""
    own = {"nice": False} if scale.get("type") == "log" else {"zero": False}
    return alt.Scale(**({"padding": 12} | own | dict(scale)))
