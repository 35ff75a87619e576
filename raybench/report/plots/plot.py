"""One plot: what it says, how it is drawn, and the few numbers that it draws."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import altair as alt

from raybench.report.plots import theme

Row = dict[str, Any]
"""One mark's columns; None: it has none of this."""
Rows = Sequence[Row]
Layers = alt.LayerChart | alt.FacetChart
"""What ``alt.layer`` says it returns."""
Align = Literal["left", "right"]
Spec = dict[str, Any]
DATA = "rows"
LARGEST_GRID = 30
"""Panels that one picture on disk may have; with more tasks there is a picture per task."""
_PANELS = ("task", "dataset")
_GAP = 34
_WIDEST = 1600
# What a chart may ask for in its expressions: its width, and how many columns its legend has.
_SIZES = [
    {"name": "wide", "expr": "width"},
    {"name": "columns", "expr": "max(1, floor(width / 180))"},
]


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """A chart over rows of plain values.

    Attributes:
        name: a file stem.
        title: what is seen. caption: what the numbers are.
        chart: without data; it reads columns of ``rows``.
        choices: column -> its values, of which one is shown at a time; on the page by a drop-down
            that sets the Vega-Lite parameter of this name. Tasks (data sets) become panels on disk.
        width: of a panel on disk, in pixels; the page's width is the page's.
        min_width: below which the page must scroll sideways.
        on_page: False where the page shows the same as a table.
    """

    name: str
    title: str
    caption: str
    chart: Layers
    rows: Rows
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    width: int | alt.Step = 520
    min_width: int = 0
    on_page: bool = True

    @property
    def alt(self) -> str:
        """In words, for those who cannot see it."""
        return f"{self.title}. {self.caption}"

    def spec(self) -> Spec:
        """For the page: no theme, no title, as wide as its place; choices are parameters."""
        spec = self._drawn(self.rows)
        chosen = [{"name": name, "value": values[0]} for name, values in self.choices.items()]
        filters = [{"filter": f"datum.{name} === {name}"} for name in self.choices]
        spec["transform"] = filters + spec.get("transform", [])
        spec["params"] = chosen + _SIZES + spec.get("params", [])
        if isinstance(self.width, int):
            spec["width"] = "container"
            if isinstance(spec.get("height"), dict):
                spec |= self._rows_high(spec["height"]["step"], spec["params"])
        return spec

    def _rows_high(self, step: float, params: Sequence[Spec]) -> Spec:
        """A height in pixels for the rows of the choice: beside a height in steps, Vega-Lite cannot
        fit the width, and says so.

        Counts are the value of a signal, so that no name becomes part of an expression.
        """
        (chosen, *_) = (*self.choices, "")
        counts: dict[str, int] = {}
        for row in self.rows:
            name = row.get(chosen, "")
            counts[name] = max(counts.get(name, 0), row.get("row", 0))
        most = step * max(counts.values())
        if not chosen:
            return {"height": most}
        height = {"name": "height", "expr": f"{step} * counts[{chosen}]"}
        return {"height": most, "params": [*params, {"name": "counts", "value": counts}, height]}

    def figures(self, dark: bool = False) -> Iterator[tuple[str, Spec]]:
        """For files: stem and themed spec with title and caption, a panel per task or data set."""
        over = next((name for name in _PANELS if name in self.choices), "")
        if len(self.choices.get(over, ())) > LARGEST_GRID:
            over = ""
        others = {name: values for name, values in self.choices.items() if name != over}
        for values in product(*others.values()):
            chosen = dict(zip(others, values, strict=True))
            yield _stem(self.name, values), self._figure(chosen, over, dark)

    def _figure(self, chosen: Mapping[str, str], over: str, dark: bool) -> Spec:
        rows = [row for row in self.rows if all(row[k] == v for k, v in chosen.items())]
        panels, panel = self.choices.get(over, ()), self._panel_width
        across = _columns(len(panels), panel)
        total = across * (panel + _GAP)
        spec = self._drawn(rows)
        values = {**chosen, "wide": panel, "columns": max(1, total // 180)}
        params = [{"name": name, "value": value} for name, value in values.items()]
        params += spec.pop("params", [])
        if len(panels) > 1:
            spec = _faceted(spec, over, panels, across)
        title = textwrap.wrap(" · ".join((self.title, *chosen.values())), round(total / 9.5))
        lines = textwrap.wrap(self.caption, round(total / 6.2))
        palette = theme.DARK if dark else theme.LIGHT
        return spec | {
            "params": params,
            "title": {"text": title, "subtitle": lines},
            "padding": 24,
            "config": theme.config(palette) | {"background": palette["paper"]},
        }

    def _drawn(self, rows: Rows) -> Spec:
        """The chart with its data, one column of the grid wide."""
        chart = self.chart.copy(deep=False)
        chart.data = alt.NamedData(DATA)
        spec: Spec = chart.to_dict(validate=False)
        width = self.width if isinstance(self.width, int) else self.width.to_dict()
        for key in ("$schema", "config"):
            spec.pop(key, None)
        data = [_rounded(row) for row in rows]
        return spec | {"width": width, "datasets": {DATA: data}}

    @property
    def _panel_width(self) -> int:
        """In pixels, at least wide enough for a title; of steps as many as there are columns."""
        if isinstance(self.width, int):
            return self.width
        columns = max((row.get("column", 0) for row in self.rows), default=0)
        return max(460, round(columns * float(self.width.to_dict()["step"])))


def _columns(panels: int, width: int) -> int:
    """Panels side by side: rows as equal as they can be."""
    most = max(1, _WIDEST // width)
    return math.ceil(panels / math.ceil(panels / most)) if panels else 1


def _faceted(spec: Spec, over: str, panels: Sequence[str], across: int) -> Spec:
    outer = {key: spec.pop(key) for key in ("data", "datasets")}
    return outer | {
        "facet": {"field": over, "type": "nominal", "sort": list(panels), "title": None},
        "columns": across,
        "spec": spec,
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
    }


def _stem(name: str, values: Iterable[str]) -> str:
    """``pareto/latency``; names of tasks may hold what a file's name may not."""
    return "/".join((name, *("".join(_safe(c) for c in value) for value in values)))


def _safe(character: str) -> str:
    return character if character.isalnum() or character in "-_." else "-"


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Five digits, which is more than a screen shows; None and False are left out, as filters
    read what is not there as false.
    """
    return {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in row.items()
        if value is not None and value is not False
    }
