"""What all sections of a page draw on: analysis, charts, looks of backbones, links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval
from raybench.analysis.results import PairResult
from raybench.analysis.whole import Analysis
from raybench.records import PairRow
from raybench.report.blocks import Cell, Chart
from raybench.report.plots.theme import Look


class Pictures(Protocol):
    """Where thumbnails come from."""

    @property
    def why(self) -> str:
        """Why there are none, in words; empty otherwise."""
        ...

    def read(self, pair: PairRow, images: Iterable[str]) -> Mapping[str, str]:
        """Image id -> ``data:`` address, for those that are there."""
        ...


@dataclass(frozen=True)
class View:
    """One page's material.

    Attributes:
        looks: backbone -> name, colour and shape; their order numbers the markers.
        charts: plots by name, ready to stand in a section.
        links: pair id or ``TrialRow.key`` -> address of its MLflow run.
        pictures: None where no thumbnails were asked for.
    """

    analysis: Analysis
    looks: Mapping[str, Look]
    charts: Mapping[str, Chart] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    pictures: Pictures | None = None

    def backbone(self, backbone: str, full: bool = False) -> Cell:
        """A backbone's name with its marker; with ``full`` the whole name below it."""
        name = self.looks[backbone].name
        below = numbers.clean(backbone) if full else ""
        return Cell(name, note=below if below != name else "", look=self.places[backbone])

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Backbone -> number of its marker."""
        return {backbone: place for place, backbone in enumerate(self.looks)}

    def run(self, result: PairResult) -> str:
        """Address of the pair's run; empty where it is unknown or no web address."""
        address = self.links.get(result.pair.id, "")
        return address if address.startswith(("http://", "https://")) else ""

    def drawn(self, *names: str) -> list[Chart]:
        """Those of the charts that have something to show."""
        return [self.charts[name] for name in names if name in self.charts]


def metric_cell(metric: str, mean: float | None, interval: Interval | None = None) -> Cell:
    """A metric with its interval, sorted by its mean."""
    return Cell(numbers.with_interval(metric, mean, interval), mean)


def number_cell(value: float | None, digits: int, interval: Interval | None = None) -> Cell:
    """A plain number, ``2.31 [1.90, 2.72]``."""
    return Cell(numbers.plain(value, interval, digits), value)


def chance_cell(probability: float | None) -> Cell:
    """A chance in whole percent."""
    return Cell(numbers.chance(probability), probability)


def p_cell(p_value: float) -> Cell:
    """A p-value."""
    return Cell("< 0.001" if p_value < 0.001 else f"{p_value:.3f}", p_value)


def change_cell(metric: str, value: float, interval: Interval | None) -> Cell:
    """A difference with its sign and its interval."""
    text = numbers.metric_change(metric, value)
    if interval is not None:
        text += f" [{', '.join(numbers.metric_change(metric, end) for end in interval)}]"
    return Cell(text, value)
