"""How a sweep is run, and who looks on; none of it changes a result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """What a caller may watch. The command line shows a live table with it."""

    def message(self, text: str) -> None:
        """One line worth telling, before trials start or after they end."""

    def watch(self, searcher: SweepSearcher) -> None:
        """Called a few times a second while trials run."""


class Tracker(Protocol):
    """The MLflow projection's thread, or anything that lags behind the ledger alike."""

    def start(self) -> None: ...
    def finish(self, allowed_s: Callable[[], float]) -> str | None: ...
    def stop(self) -> None: ...


class SilentObserver:
    """For notebooks and tests."""

    def message(self, text: str) -> None:
        logger.info(text)

    def watch(self, searcher: SweepSearcher) -> None:
        """Nothing to show."""


@dataclass(frozen=True)
class RunOptions:
    """How, not what: none of these changes a result.

    Attributes:
        inline: in this process, without Ray. address: a running Ray to use.
        max_gpus: leave the rest to colleagues. num_cpus, num_gpus: of a private local Ray.
        accept_leaks: run although images stand in several splits; the report says so.
        tracker: makes the tracking thread from a reader factory; None: no MLflow.
    """

    inline: bool = False
    address: str | None = None
    max_gpus: float | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    accept_leaks: bool = False
    tracker: Callable[[Callable[[], SweepReader]], Tracker] | None = None
