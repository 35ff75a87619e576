"""How backbones learn over epochs, and with fewer images."""

from __future__ import annotations

from raybench.analysis import numbers
from raybench.analysis.small_data import SizeCurve, SizePoint
from raybench.report.blocks import Block, Cell, Column, Row, Section, Table, Words
from raybench.report.view import View, metric_cell


def learning_section(view: View) -> Section:
    """The finals' learning curves."""
    return Section(
        "learning",
        "Learning curves",
        "Learning",
        view.drawn("learning"),
        "No run has finished an epoch yet.",
    )


def size_section(view: View) -> Section | None:
    """Curves over subsets; None where no data set has more than one."""
    found = view.analysis.small_data
    if not found.curves:
        return None
    blocks: list[Block] = [
        *([Words(found.sentences, "list")] if found.sentences else []),
        *view.drawn("small-data"),
        _table(view, found.metric, found.curves),
        Words([found.note], "rule"),
    ]
    return Section("data-size", "With fewer images", "Data size", blocks)


def _table(view: View, metric: str, curves: tuple[SizeCurve, ...]) -> Table:
    columns = [
        Column("Backbone", numeric=False),
        Column("Data set", numeric=False),
        Column("Subset", numeric=False),
        Column("Training images"),
        Column(f"Test {numbers.metric_title(metric)}"),
        Column("Runs"),
    ]
    rows = [_row(view, metric, curve, point) for curve in curves for point in curve.points]
    return Table("By number of training images", columns, rows, filters=len(rows) > 12)


def _row(view: View, metric: str, curve: SizeCurve, point: SizePoint) -> Row:
    return Row(
        [
            view.backbone(curve.backbone),
            Cell(curve.dataset),
            Cell(point.subset),
            Cell(f"{point.images:,}", point.images),
            metric_cell(metric, point.mean, point.interval),
            Cell(str(point.runs), point.runs),
        ],
        task=curve.dataset,
    )
