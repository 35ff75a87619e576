"""What a person sees while a sweep runs: one live table on a terminal, plain lines elsewhere.

Everything here goes to stderr; stdout carries results only. A job on a cluster says the same in
lines for machines (``JobObserver``), of which the sender's terminal makes the same table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from raybench.cluster.lines import machine_line
from raybench.redaction import redact

if TYPE_CHECKING:
    from raybench.sweep.board import PairProgress
    from raybench.sweep.searcher import SweepSearcher

REFRESH_S = 1.0
PLAIN_EVERY_S = 30.0
MAX_ROWS = 24
JOB_EVERY_S = 5.0
GROWTH = 1000
"""A job says how far it is ever more rarely, so that weeks make some megabytes of log."""


@dataclass(frozen=True)
class Progress:
    """The live table, as texts: a row per pair, and a line about them all."""

    caption: str
    rows: Sequence[Sequence[str]]


def progress_of(searcher: SweepSearcher) -> Progress:
    pairs = searcher.progress()
    rows = [_cells(pair) for pair in _most_telling(pairs)]
    return Progress(_summary(pairs, searcher.draining), rows)


class ConsoleObserver:
    """Shows messages and progress; use as a context manager so that the table is taken down."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._live: Live | None = None
        self._shown_at = 0.0
        self._last_line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def message(self, text: str) -> None:
        """One line, above the table where there is one."""
        if not self._quiet:
            self._console.print(redact(text), markup=False, soft_wrap=True)

    def watch(self, searcher: SweepSearcher) -> None:
        """Refresh the table, or every half minute print a line when it says something new."""
        if self.is_due():
            self.show(progress_of(searcher))

    def is_due(self) -> bool:
        """Whether what is shown has become old."""
        period = REFRESH_S if self._console.is_terminal else PLAIN_EVERY_S
        return not self._quiet and time.monotonic() - self._shown_at >= period

    def show(self, progress: Progress) -> None:
        """The table where there is a terminal, else its caption."""
        self._shown_at = time.monotonic()
        if self._console.is_terminal:
            self._show_table(progress)
        elif progress.caption != self._last_line:
            self._last_line = progress.caption
            self.message(progress.caption)

    def _show_table(self, progress: Progress) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        table = Table(caption=progress.caption, box=None, header_style="bold")
        for title in ("task", "backbone", "state"):
            table.add_column(title, no_wrap=True)
        for title in ("search", "final", "running", "best", "device time"):
            table.add_column(title, justify="right", no_wrap=True)
        for row in progress.rows:
            table.add_row(*row)
        self._live.update(table, refresh=True)


class JobObserver:
    """For a job on a cluster: messages as they are, the table as a line for machines."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._shown_at = -JOB_EVERY_S
        self._shown: Progress | None = None

    def message(self, text: str) -> None:
        print(redact(text), file=sys.stderr, flush=True)

    def watch(self, searcher: SweepSearcher) -> None:
        """Tell how far it is, when something has changed."""
        at_s = time.monotonic() - self._began_at
        if at_s < self._shown_at + max(JOB_EVERY_S, at_s / GROWTH):
            return
        self._shown_at, progress = at_s, progress_of(searcher)
        if progress != self._shown:
            self._shown = progress
            content = {"at_s": round(at_s), "caption": progress.caption, "rows": progress.rows}
            self.message(machine_line("progress", content))


def _summary(progress: list[PairProgress], draining: bool) -> str:
    done = sum(pair.state in ("done", "failed") for pair in progress)
    ended = sum(pair.search_done + pair.final_done for pair in progress)
    total = sum(pair.quota + pair.final_total for pair in progress)
    running = sum(pair.running for pair in progress)
    spent = sum(pair.device_seconds for pair in progress) / 3600
    parts = [
        f"{done}/{len(progress)} pairs",
        f"{ended}/{total} trials",
        f"{running} running",
        f"{spent:.2f} device-hours of search",
    ]
    if draining:
        parts.append("draining: running trials are being checkpointed")
    elif (left := _left_s(progress)) is not None:
        parts.append(f"about {_clock(left)} left")
    return "  ·  ".join(parts)


def _left_s(progress: list[PairProgress]) -> float | None:
    """Work that is left over the slots in use; None before any trial has completed."""
    known = [p.trial_seconds for p in progress if p.trial_seconds is not None]
    slots = sum(pair.running for pair in progress)
    if not known or not slots:
        return None
    mean = sum(known) / len(known)
    owed = sum(
        (p.trial_seconds or mean) * max(0, p.quota - p.search_done + p.final_total - p.final_done)
        for p in progress
    )
    return owed / slots


def _most_telling(progress: list[PairProgress]) -> list[PairProgress]:
    """Running pairs first, so that a long sweep fits on the screen."""
    return sorted(progress, key=lambda p: (not p.running, p.pair.position))[:MAX_ROWS]


def _cells(pair: PairProgress) -> tuple[str, ...]:
    failed = f" ({pair.failed} failed)" if pair.failed else ""
    return (
        pair.pair.task,
        pair.pair.title,
        pair.state + failed,
        f"{pair.search_done}/{pair.quota}",
        f"{pair.final_done}/{pair.final_total}",
        str(pair.running or ""),
        "" if pair.best is None else f"{pair.best:.4f}",
        _clock(pair.device_seconds),
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
