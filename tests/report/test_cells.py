"""Cells as HTML: every attribute in its place, every text escaped."""

from __future__ import annotations

import pytest

from raybench.report.blocks import Badge, Bar, Cell, Column, Row
from raybench.report.cells import badges_html, breakable, row_html

HOSTILE = "\"'><img src=x>&"
ESCAPED = "&quot;&#x27;&gt;&lt;img src=x&gt;&amp;"


def one(cell: Cell, **column: bool) -> str:
    """The cell after a plain row head."""
    columns = [Column("head"), Column("x", **column)]
    html = str(row_html(Row([Cell("h"), cell]), columns, ["circle"]))
    return html.removeprefix('<tr><th scope="row">h</th>').removesuffix("</tr>")


def test_the_first_cell_heads_the_row_and_filters_find_task_and_state() -> None:
    row = Row([Cell("a"), Cell("b")], task="digits", state="done", starts=True)
    assert row_html(row, [Column("x"), Column("y")], []) == (
        '<tr class="starts" data-task="digits" data-state="done">'
        '<th scope="row">a</th><td>b</td></tr>'
    )


@pytest.mark.parametrize(
    ("cell", "html"),
    [
        (Cell("1.5", 1.5), "<td>1.5</td>"),
        (Cell("1/3", 1 / 3), '<td data-v="0.33333">1/3</td>'),
        (Cell(), "<td>—</td>"),
        (Cell("97", heat=83.4), '<td style="--s:83">97</td>'),
        (Cell("97", note="± 1"), "<td>97<small>± 1</small></td>"),
        (Cell("done", tone="state done"), '<td><span class="state done">done</span></td>'),
        (Cell("1", link="https://x"), '<td><a href="https://x" rel="noreferrer">1</a></td>'),
        (
            Cell("1", badges=(Badge("O", "oracle", "bad"),)),
            '<td>1<abbr class="badge bad" title="oracle">O</abbr></td>',
        ),
        (
            Cell("a & b", note="± 1", badges=(Badge("O", "oracle"),)),
            '<td>a &amp; b<abbr class="badge plain" title="oracle">O</abbr><small>± 1</small></td>',
        ),
        (
            Cell("", bar=Bar(10, 20.5, 30)),
            '<td><span class="bar" aria-hidden="true" style="--a:10;--m:20.5;--b:30"></span></td>',
        ),
        (
            Cell("a_b", look=0, note="full"),
            '<td><span class="named"><svg class="mark b0" aria-hidden="true">'
            '<use href="#circle"/></svg>'
            "<span>a_<wbr>b<small>full</small></span></span></td>",
        ),
    ],
)
def test_what_a_cell_can_hold(cell: Cell, html: str) -> None:
    assert one(cell) == html


def test_words_stand_left_and_may_wrap() -> None:
    assert one(Cell("a"), numeric=False) == '<td class="l">a</td>'
    assert one(Cell("a"), numeric=False, wraps=True) == '<td class="l wrap">a</td>'


@pytest.mark.parametrize(
    "cell",
    [
        Cell(HOSTILE),
        Cell("a", HOSTILE),
        Cell("a", note=HOSTILE),
        Cell("a", tone=HOSTILE),
        Cell("a", link=HOSTILE),
        Cell("a", badges=(Badge(HOSTILE, HOSTILE, HOSTILE),)),
        Cell(HOSTILE, look=0),
    ],
)
def test_hostile_text_stays_text(cell: Cell) -> None:
    html = one(cell)
    assert "<img" not in html and "&lt;img src=x&gt;" in html.replace("<wbr>", "")


def test_hostile_tasks_and_states_stay_text() -> None:
    row = Row([Cell("a")], task=HOSTILE, state=HOSTILE)
    assert row_html(row, [Column("x")], []).count(ESCAPED) == 2


def test_names_break_after_their_marks_and_stay_escaped() -> None:
    assert breakable("timm:a_b.c") == "timm:<wbr>a_<wbr>b.<wbr>c"
    assert breakable("<b>") == "&lt;b&gt;"


def test_no_badges_no_markup() -> None:
    assert badges_html(()) == ""
