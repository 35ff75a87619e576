"""``budget.wall_clock`` while the sweep runs: when only finals may start, and when all must end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection

from raybench.sweep.board import PairBoard

logger = logging.getLogger(__name__)

RESERVE_MARGIN = 1.2


class WallClock:
    """Looked at by the searcher, whenever anything happens.

    Args:
        remaining_s: what is left; infinite without a budget.
        boards: every pair's.
    """

    def __init__(self, remaining_s: Callable[[], float], boards: Collection[PairBoard]) -> None:
        self._remaining_s, self._boards = remaining_s, boards
        self.finals_only = self.is_over = False

    def look(self) -> None:
        remaining = self._remaining_s()
        if remaining == math.inf:
            return
        self.is_over = remaining <= 0
        if not self.is_over and not self.finals_only and remaining <= self._reserve_s():
            self.finals_only = True
            logger.warning("wall clock: the rest is kept for the final trials")

    def _reserve_s(self) -> float:
        """Seconds that the finals still owed will take, from the trials seen so far."""
        known = [seconds for b in self._boards if (seconds := b.trial_seconds()) is not None]
        if not known:
            return 0.0
        mean = sum(known) / len(known)
        work = sum(b.finals_open() * (b.trial_seconds() or mean) for b in self._boards)
        slots = max(1, sum(len(b.active) for b in self._boards))
        return RESERVE_MARGIN * work / slots
