"""SIGINT, SIGTERM and SIGUSR1 drain a sweep: nothing is lost, the same command goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from raybench.errors import RaybenchError
from raybench.sweep.searcher import SweepSearcher


def exit_code_of(number: int) -> int:
    return 130 if number == signal.SIGINT else 143


class InterruptedEarlyError(RaybenchError):
    """A signal before the first trial: nothing has to be drained."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("interrupted before the first trial; the same command starts again")
        self.exit_code = exit_code


@dataclass
class Drain:
    """The signal that asked for a drain; a second one ends the process at once."""

    number: int | None = None
    searcher: SweepSearcher | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(exit_code_of(number))
        self.number = number
        if self.searcher is None:
            raise InterruptedEarlyError(exit_code_of(number))
        self.searcher.drain()

    def check(self) -> None:
        """For calls that swallow what a signal's handler raises.

        Raises:
            InterruptedEarlyError: a signal has come, and no trial runs yet.
        """
        if self.number is not None and self.searcher is None:
            raise InterruptedEarlyError(exit_code_of(self.number))


@contextmanager
def drain_on_signals() -> Iterator[Drain]:
    """SIGINT, SIGTERM and SIGUSR1 (Slurm's early notice) drain while the sweep runs."""
    drain = Drain()
    if threading.current_thread() is not threading.main_thread():
        yield drain
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, drain) for number in numbers}
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
