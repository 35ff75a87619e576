"""Running totals over one pair's trials, so that what comes next is decided as fast at any size."""

from __future__ import annotations

from dataclasses import dataclass

from raybench.records import TrialRow, TrialState
from raybench.sweep.progress import TERMINAL


@dataclass(slots=True)
class Tally:
    """What ``progress`` would count in all of a pair's trials, kept up to date change by change.

    A trial never loses an epoch and never leaves a terminal state.
    """

    search_done: int = 0
    search_running: int = 0
    failed: int = 0
    user_failures: int = 0
    search_device_seconds: float = 0.0
    complete: int = 0
    complete_seconds: float = 0.0

    def change(self, old: TrialRow | None, new: TrialRow) -> None:
        """``new`` takes the place of ``old``."""
        if new.phase == "search":
            self.search_running += _is(new, "running") - _is(old, "running")
            known = 0 if old is None else len(old.epochs)
            self.search_device_seconds += sum(r.device_seconds for r in new.epochs[known:])
        if new.state in TERMINAL and (old is None or old.state not in TERMINAL):
            self._end(new)

    def _end(self, row: TrialRow) -> None:
        self.search_done += row.phase == "search"
        self.failed += row.state == "failed"
        self.user_failures += row.end is not None and row.end.failure == "user"
        if row.state == "complete":
            self.complete += 1
            self.complete_seconds += sum(record.duration_s for record in row.epochs)


def _is(row: TrialRow | None, state: TrialState) -> bool:
    return row is not None and row.state == state
