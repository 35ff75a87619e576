"""Blocks of a page: what they know about themselves, before anything is written down."""

from __future__ import annotations

from raybench.report.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Heading,
    Panels,
    Picker,
    Row,
    Table,
    Words,
    with_pickers,
)


def chart(**choices: tuple[str, ...]) -> Chart:
    return Chart("ranking", "Ranking", "", "{}", choices)


def test_a_table_lists_its_tasks_and_states_once_each() -> None:
    rows = [Row([Cell("a")], "digits", "done"), Row([Cell("b")], "digits"), Row([], "", "failed")]
    table = Table("t", [Column("backbone")], rows)
    assert (table.tasks, table.states) == (["digits"], ["done", "failed"])


def test_neighbouring_columns_of_a_group_share_a_heading() -> None:
    columns = [Column("backbone"), Column("a", group="x"), Column("b", group="x"), Column("c")]
    assert Table("t", columns, []).groups == [("x", 2), ("", 1)]
    assert Table("t", [Column("backbone"), Column("a")], []).groups == []


def test_a_picker_stands_before_what_it_chooses_and_again_after_a_heading() -> None:
    panels, words = Panels({"a": [], "b": []}), Words(["x"])
    by_task = chart(task=("a", "b"))
    blocks: list[Block] = [words, by_task, panels, Heading("h"), words, panels]
    picker = Picker(["a", "b"])
    expected = [words, picker, by_task, panels, Heading("h"), words, picker, panels]
    assert with_pickers(blocks) == expected


def test_one_task_needs_no_picker() -> None:
    blocks: list[Block] = [chart(task=("a",)), Panels({"a": []}), chart(axis=("x", "y"))]
    assert with_pickers(blocks) == blocks


def test_a_chart_keeps_its_other_choices() -> None:
    assert chart(task=("a", "b"), axis=("x", "y")).own_choices == {"axis": ("x", "y")}
