"""What all tables for the terminal share. Imports neither pandas nor what the analysis needs.

Cells are ``Text``, never markup: backbone names carry brackets, and names are users' input.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Row = Sequence[str]


def to_text(renderable: RenderableType, width: int = 100) -> str:
    """Plain text without colour or trailing blanks, for pipes, logs and tests."""
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, force_terminal=False).print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def grid(
    title: str, columns: Mapping[str, str], rows: Sequence[Row], note: str = ""
) -> RenderableType:
    """A table with a title above and one line below that says what the numbers are.

    Args:
        title: shown in bold.
        columns: header -> ``left`` or ``right``.
        rows: cells in the order of ``columns``.
        note: shown dim; empty for none.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for header, side in columns.items():
        left = side == "left"
        table.add_column(
            Text(header), justify="left" if left else "right", overflow="fold", no_wrap=not left
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    parts: list[RenderableType] = [Text(title, style="bold"), table]
    return Group(*parts, Text(note, style="dim")) if note else Group(*parts)
