"""Over how wide a range a hyperparameter hardly matters: the width of a response curve's top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raybench.analysis import numbers
from raybench.records import is_minimised

NOTE = (
    "Width: how far the value can be moved from its best one before the metric is worse by more "
    "than 1 point (metrics that are no percentages: 2% of their best), by straight lines between "
    "the ladder's trials; 'at least' where the ladder ends first."
)


@dataclass(frozen=True, slots=True)
class Width:
    """Where the curve stays near its top.

    Attributes:
        low, high: ends of the stretch around the best value.
        open_low, open_high: the ladder ends there, so the stretch may be longer.
        log: whether the range is logarithmic; then the width is in decades.
        tolerance: how much worse than the best still counts, in the metric's unit.
    """

    low: float
    high: float
    open_low: bool
    open_high: bool
    log: bool
    tolerance: float

    @property
    def decades(self) -> float | None:
        return math.log10(self.high / self.low) if self.log else None

    @property
    def text(self) -> str:
        """``1.3 decades``, ``at least 2.0 decades``; not logarithmic: ``0.05``."""
        least = "at least " if self.open_low or self.open_high else ""
        if self.decades is None:
            return f"{least}{numbers.short(self.high - self.low)}"
        return f"{least}{self.decades:.1f} decades"


def curve_width(
    points: Sequence[tuple[float, float | None]], metric: str, log: bool
) -> Width | None:
    """Of a curve through ``points``; None without two of them or without a metric.

    Args:
        points: hyperparameter, best metric; None where training diverged, which ends the stretch
            at the last sound point.
        metric: ``val/...``.
        log: whether lines are drawn over the logarithm.
    """
    rising = sorted(points, key=lambda point: point[0])
    found = [value for _, value in rising if value is not None]
    if len(rising) < 2 or not found:
        return None
    best = min(found) if is_minimised(metric) else max(found)
    tolerance = 0.01 if numbers.is_percent(metric) else 0.02 * abs(best)
    places = [math.log10(place) if log else place for place, _ in rising]
    behind = [math.inf if value is None else abs(best - value) for _, value in rising]
    top = behind.index(0.0)
    low = _end(places[top::-1], behind[top::-1], tolerance)
    high = _end(places[top:], behind[top:], tolerance)
    first, last = (places[0] if low is None else low, places[-1] if high is None else high)
    if log:
        first, last = 10**first, 10**last
    return Width(first, last, low is None, high is None, log, tolerance)


def _end(places: Sequence[float], behind: Sequence[float], tolerance: float) -> float | None:
    """Where the curve, walked from its top, falls by ``tolerance``; None: nowhere."""
    for index in range(1, len(places)):
        if behind[index] <= tolerance:
            continue
        step, rise = places[index] - places[index - 1], behind[index] - behind[index - 1]
        return places[index - 1] + step * (tolerance - behind[index - 1]) / rise
    return None
