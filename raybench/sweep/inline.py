"""Run a sweep in this process, one trial at a time, without Ray: for debuggers and small tests."""

from __future__ import annotations

from collections.abc import Callable

from raybench.sweep.assignment import FINISHED, Assignment
from raybench.sweep.searcher import SweepSearcher
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial


def run_inline(
    searcher: SweepSearcher,
    configure: Callable[[Assignment], TrialConfig],
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Ask, train, tell until nothing is owed or the searcher drains."""
    while (assignment := searcher.ask()) != FINISHED:
        if assignment is None:
            raise RuntimeError("nothing runs, yet the searcher has nothing to start")
        _run_one(searcher, assignment, configure(assignment), watch)


def _run_one(
    searcher: SweepSearcher,
    assignment: Assignment,
    config: TrialConfig,
    watch: Callable[[], None],
) -> None:
    records = run_trial(config, should_stop=lambda: _should_stop(searcher))
    try:
        for record in records:
            watch()
            if not searcher.receive(assignment.key, [record]):
                return
        searcher.lost(assignment.key, "the trial ended without an end record")
    finally:
        records.close()


def _should_stop(searcher: SweepSearcher) -> bool:
    searcher.tick()
    return searcher.draining
