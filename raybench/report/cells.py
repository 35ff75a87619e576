"""Table rows as HTML. In Python rather than in a template: a large sweep has 100,000 cells.

Whatever comes from outside passes ``html.escape``; nothing else here is put into quotes or between
tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from markupsafe import Markup

from raybench.report.blocks import Badge, Bar, Cell, Column, Row

_BREAKS = re.compile(r"(?<=[_.:/])(?=\w)")


def row_html(row: Row, columns: Sequence[Column], shapes: Sequence[str]) -> Markup:
    """One ``tr``; ``shapes``: of the backbones' markers, by ``Cell.look``."""
    facts = {"class": "starts" * row.starts, "data-task": row.task, "data-state": row.state}
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in facts.items() if value)
    tags = ['th scope="row"', *["td"] * (len(row.cells) - 1)]
    cells = (
        f"<{tag}{_attributes(cell, column)}>{_content(cell, shapes)}</{tag[:2]}>"
        for tag, cell, column in zip(tags, row.cells, columns, strict=True)
    )
    return Markup(f"<tr{attributes}>{''.join(cells)}</tr>")


def badges_html(badges: Iterable[Badge]) -> Markup:
    """Short marks; their meaning is their title, and stands in a legend."""
    return Markup(
        "".join(
            f'<abbr class="badge {escape(badge.tone)}" title="{escape(badge.meaning)}">'
            f"{escape(badge.short)}</abbr>"
            for badge in badges
        )
    )


def breakable(name: str) -> Markup:
    """A name that may break after the marks that names are made of, rather than anywhere."""
    return Markup(_BREAKS.sub("<wbr>", escape(name)))


def _attributes(cell: Cell, column: Column) -> str:
    value = "" if cell.value is None else _short(cell.value)
    parts = f' data-v="{escape(value)}"' if value and value != cell.text else ""
    if cell.heat is not None:
        parts += f' style="--s:{cell.heat:.0f}"'
    if not column.numeric:
        parts += ' class="l wrap"' if column.wraps else ' class="l"'
    return parts


def _short(value: float | str) -> str:
    """Digits enough to sort by."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _content(cell: Cell, shapes: Sequence[str]) -> str:
    if cell.bar is not None:
        return _bar(cell.bar)
    note = f"<small>{escape(cell.note)}</small>" if cell.note else ""
    if cell.look is not None:
        mark = (
            f'<svg class="mark b{cell.look}" aria-hidden="true">'
            f'<use href="#{escape(shapes[cell.look])}"/></svg>'
        )
        return f'<span class="named">{mark}<span>{breakable(cell.text)}{note}</span></span>'
    text = escape(cell.text)
    if cell.tone:
        text = f'<span class="{escape(cell.tone)}">{text}</span>'
    if cell.link:
        text = f'<a href="{escape(cell.link)}" rel="noreferrer">{text}</a>'
    return f"{text}{badges_html(cell.badges)}{note}"


def _bar(bar: Bar) -> str:
    ends = f"--a:{bar.low:g};--m:{bar.middle:g};--b:{bar.high:g}"
    return f'<span class="bar" aria-hidden="true" style="{ends}"></span>'
