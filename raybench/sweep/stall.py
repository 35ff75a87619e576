"""Work is owed and nothing runs: say what is asked for and what the cluster has."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from raybench.sweep.cluster_view import ClusterView, what_waits
from raybench.sweep.packing import Shape

PATIENCE_S = 300.0
LONGEST_S = 3600.0


class StallWatch:
    """Tells after five minutes in which no trial ran though some wait; then ever more seldom.

    Args:
        view: the cluster as it is now.
        bundle: what Ray is asked for one trial of a shape.
        tell: called with sentences for the user.
        patience_s: before the first time; twice as long before the next, up to an hour.
    """

    def __init__(
        self,
        view: Callable[[], ClusterView],
        bundle: Callable[[Shape], dict[str, float]],
        tell: Callable[[str], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._view, self._bundle, self._tell, self._patience_s = view, bundle, tell, patience_s
        self._rest()

    def _rest(self) -> None:
        self._since, self._interval_s = time.monotonic(), self._patience_s
        self._next = self._since + self._interval_s

    def look(self, waiting: Sequence[Shape], running: int) -> None:
        """``waiting``: shapes of trials that were handed out and have no slot yet."""
        if running or not waiting:
            self._rest()
        elif time.monotonic() >= self._next:
            self._tell(self._words(waiting))
            self._interval_s = min(2 * self._interval_s, LONGEST_S)
            self._next = time.monotonic() + self._interval_s

    def _words(self, waiting: Sequence[Shape]) -> str:
        minutes = (time.monotonic() - self._since) / 60
        shape, count = Counter(waiting).most_common(1)[0]
        who = "1 trial waits" if count == 1 else f"{count} trials wait, each"
        sentences = what_waits(who, self._bundle(shape), self._view())
        return f"no trial has started for {minutes:.0f} min: {'; '.join(sentences)}"
