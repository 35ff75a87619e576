"""What a page is made of: sections of words, tables, charts and panels, as plain values.

``sections`` builds them from the analysis, ``templates/blocks.html`` writes them down; every string
is text and is escaped there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import ClassVar

from raybench.analysis import numbers


@dataclass(frozen=True, slots=True)
class Badge:
    """A short mark at a number; ``meaning`` stands in the legend and is read aloud."""

    short: str
    meaning: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval drawn in a cell: its ends and its middle in percent of the cell's width."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: what is shown.
        value: what the column sorts by, where that is not the text; None stands last.
        note: a second, smaller line.
        look: index of the backbone whose marker goes before the text.
        heat: 0 (worst) to 100 (best) shades the cell.
        tone: CSS class of the text, such as ``strong`` or ``state done``.
        link: where the text leads, http(s) only.
    """

    text: str = numbers.MISSING
    value: float | str | None = None
    note: str = ""
    look: int | None = None
    heat: float | None = None
    tone: str = ""
    link: str = ""
    badges: tuple[Badge, ...] = ()
    bar: Bar | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """``numeric`` ones stand right and sort from the top; ``wraps`` ones hold sentences.

    Neighbours of one ``group`` share a heading above theirs.
    """

    title: str
    numeric: bool = True
    wraps: bool = False
    group: str = ""
    badges: tuple[Badge, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """The first cell heads the row. ``task`` and ``state`` are what filters go by."""

    cells: Sequence[Cell]
    task: str = ""
    state: str = ""
    starts: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted and, with ``filters``, searched and narrowed down."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""
    filters: bool = False
    style: str = ""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above the columns after the first, with how many each spans."""
        named = [column.group for column in self.columns[1:]]
        spans = [(name, len(list(run))) for name, run in groupby(named)]
        return spans if any(named) else []

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(row.task for row in self.rows if row.task))

    @property
    def states(self) -> list[str]:
        return list(dict.fromkeys(row.state for row in self.rows if row.state))


@dataclass(frozen=True, slots=True)
class Words:
    """Paragraphs; ``style``: ``lead``, ``note``, ``list``, ``rule`` (how a number is made)."""

    kind: ClassVar[str] = "words"
    lines: Sequence[str]
    style: str = "text"


@dataclass(frozen=True, slots=True)
class Chart:
    """Where a plot goes; ``spec`` is Vega-Lite as JSON that cannot end its script element."""

    kind: ClassVar[str] = "chart"
    name: str
    title: str
    caption: str
    spec: str
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    min_width: int = 0

    @property
    def tasks(self) -> Sequence[str]:
        """Those that it can show, one at a time; empty where it shows all at once."""
        return self.choices.get("task", ())

    @property
    def own_choices(self) -> Mapping[str, Sequence[str]]:
        """All but the task, which one ``Picker`` chooses for several blocks."""
        return {name: found for name, found in self.choices.items() if name != "task"}


@dataclass(frozen=True, slots=True)
class Heading:
    """A subheading, one level below the section's."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, side by side."""

    kind: ClassVar[str] = "facts"
    items: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy; with ``summary`` folded away under it."""

    kind: ClassVar[str] = "code"
    text: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One thumbnail (a ``data:`` address, empty where the image is gone) and what it shows."""

    uri: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Thumbnails with captions."""

    kind: ClassVar[str] = "gallery"
    caption: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Panels:
    """The same blocks for every task, one task shown at a time (all of them without a script)."""

    kind: ClassVar[str] = "panels"
    by_task: Mapping[str, Sequence[Block]]


@dataclass(frozen=True, slots=True)
class Legend:
    """What badges mean."""

    kind: ClassVar[str] = "legend"
    badges: Sequence[Badge]


@dataclass(frozen=True, slots=True)
class Picker:
    """Chooses the task of the charts and panels that follow; all pickers move together."""

    kind: ClassVar[str] = "picker"
    tasks: Sequence[str]


Block = Picker | Legend | Table | Words | Chart | Heading | Facts | Code | Gallery | Panels


@dataclass(frozen=True, slots=True)
class Section:
    """``empty``: the one line that stands there when there are no ``blocks``."""

    id: str
    title: str
    short: str
    blocks: Sequence[Block]
    empty: str = ""


def with_pickers(blocks: Sequence[Block]) -> list[Block]:
    """A picker before the first block that shows one task at a time, and again after a heading."""
    found: list[Block] = []
    needed = True
    for block in blocks:
        tasks = _tasks(block)
        if needed and len(tasks) > 1:
            found.append(Picker(tasks))
            needed = False
        needed = needed or isinstance(block, Heading)
        found.append(block)
    return found


def _tasks(block: Block) -> list[str]:
    if isinstance(block, Panels):
        return list(block.by_task)
    return list(block.tasks) if isinstance(block, Chart) else []
