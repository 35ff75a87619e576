"""Costs as tables for the terminal, as rich renderables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.analysis.cost import COLUMNS, CostTable
from raybench.report.grid import grid


def cost_grids(tables: Sequence[CostTable]) -> RenderableType:
    """One grid per setting."""
    parts: list[RenderableType] = []
    for table in tables:
        parts += [grid(table.title, COLUMNS, [row.cells() for row in table.rows], table.note)]
        parts += [Text()]
    return Group(*parts[:-1])
