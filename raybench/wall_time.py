"""How long a sweep takes on so many devices: its trials placed one by one, as the searcher would.

The order is that of the searcher where every pair holds one slot (the pair with the fewest slots is
next, a pair's finals go before new search). It is fixed before the first trial is placed, and each
trial takes what is free first. So a device more never makes the estimate longer, which a simulation
that decides at every end does not promise (Graham 1969, "Bounds on multiprocessing timing
anomalies"). Nothing of a trial is divided among devices, and nothing is stopped early. Pure.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

PARTS = 8
"""Shares of a device come in eighths."""
QUARTERS = 4
MOST_TRIALS = 100_000
"""Placed one by one; of larger sweeps several of a pair at once, one after the other."""


@dataclass(frozen=True, slots=True)
class Work:
    """The trials of one pair.

    Attributes:
        searches, finals: how many, at least one search. search_s, final_s: wall seconds of each.
        at_once: search trials that may run together; those of the ladder always may.
        parts: of ``PARTS``, that a trial holds of a device.
        features: names what trials must wait for: the first one to need it computes it.
        features_s: how long that takes.
    """

    searches: int
    search_s: float
    finals: int
    final_s: float
    at_once: int
    ladder: int = 1
    parts: int = PARTS
    features: str = ""
    features_s: float = 0.0

    @property
    def together(self) -> int:
        """Search trials that nothing but devices can keep from running at the start."""
        return max(1, self.at_once, self.ladder)

    @property
    def search_alone_s(self) -> float:
        """Of the search only."""
        return self.features_s + self.searches * self.search_s

    @property
    def alone_s(self) -> float:
        """Wall seconds of all trials, one after the other."""
        return self.search_alone_s + self.finals * self.final_s

    @property
    def chain_s(self) -> float:
        """Wall seconds that no number of devices makes shorter."""
        later = max(0, self.searches - self.together)
        waves = 1 + math.ceil(later / max(1, self.at_once))
        finals_s = self.final_s if self.finals else 0.0
        return self.features_s + waves * self.search_s + finals_s


_Turn = tuple[int, bool]
"""A pair's position, and whether the trial is a final."""
_Rank = tuple[int, int, float, bool, float, int]
"""What turns are sorted by; the position stands at its end."""


def wall_seconds(work: Sequence[Work], devices: int) -> float:
    """Until the last trial ends; 0 where there is none.

    Args:
        work: one per pair, in the file's order.
        devices: how many there are, all alike.
    """
    lumped = _lumped(work)
    # In turn, a trial of a whole device waits until all of its parts are free. The searcher leaves
    # a slot to trials of one shape for up to a quarter of the quota, and a pair that would end last
    # goes first: the best order is taken.
    shapes = {pair.parts for pair in work}
    orders = [_in_order(lumped), _in_order(lumped, first=_longest(lumped))]
    orders += [_in_order(lumped, by_shape=True)] * (len(shapes) > 1)
    placed = min(_place(lumped, order, devices) for order in orders)
    return max([placed, *(pair.chain_s for pair in work)])


def _place(work: Sequence[Work], order: Sequence[_Turn], devices: int) -> float:
    """The end of the last trial, each of them put where it can start first."""
    if not order:
        return 0.0
    unit = min(pair.parts for pair in work)
    free = [0.0] * (min(devices, len(order)) * PARTS // unit)
    ready: dict[str, float] = {}
    ends: list[list[float]] = [[] for _ in work]
    last = 0.0
    for position, is_final in order:
        pair, parts = work[position], work[position].parts // unit
        start = max(_may_start(pair, ends[position], is_final), _take(free, parts))
        if pair.features:
            start = max(start, ready.setdefault(pair.features, start + pair.features_s))
        end = start + (pair.final_s if is_final else pair.search_s)
        _give_back(free, parts, end)
        if not is_final:
            ends[position].append(end)
        last = max(last, end)
    return last


def _in_order(
    work: Sequence[Work], by_shape: bool = False, first: int | None = None
) -> list[_Turn]:
    """One turn per trial, those of the pair ``first`` before all others.

    ``by_shape``: within each quarter of the pairs, large shares first.
    """
    ranked = sorted(
        rank for position, pair in enumerate(work) for rank in _ranks(pair, position, by_shape)
    )
    turns = [(position, not is_search) for *_, is_search, _, position in ranked]
    return sorted(turns, key=lambda turn: turn[0] != first)


def _longest(work: Sequence[Work]) -> int:
    """Position of the pair with the most work."""
    return max(range(len(work)), key=lambda position: work[position].alone_s, default=0)


def _ranks(pair: Work, position: int, by_shape: bool) -> Iterator[_Rank]:
    """Of each trial, by when it would start if the pair held one slot all the time."""

    def rank(start: float, is_search: bool, seconds: float) -> _Rank:
        quarter = int(QUARTERS * start / pair.alone_s) if by_shape else 0
        shape = -pair.parts if by_shape else 0
        return quarter, shape, start, is_search, -seconds, position

    for number in range(pair.searches):
        start = number * pair.search_s + (pair.features_s if number else 0.0)
        yield rank(start, True, pair.search_s)
    for _ in range(pair.finals):
        yield rank(pair.search_alone_s, False, pair.final_s)


def _may_start(pair: Work, ends: Sequence[float], is_final: bool) -> float:
    """When what the next trial waits for is over; ``ends`` of the pair's search, ascending."""
    if is_final:
        return ends[-1]
    number = len(ends)
    return 0.0 if number < pair.together else ends[number - pair.at_once]


def _take(free: list[float], parts: int) -> float:
    """Takes the parts that are free first off the heap; when the last of them is."""
    return [heapq.heappop(free) for _ in range(parts)][-1]


def _give_back(free: list[float], parts: int, at: float) -> None:
    for _ in range(parts):
        heapq.heappush(free, at)


def _lumped(work: Sequence[Work]) -> list[Work]:
    """So few trials that placing them takes about a second: several of a pair as a longer one."""
    lump = math.ceil(sum(pair.searches + pair.finals for pair in work) / MOST_TRIALS)
    return [_lump(pair, max(1, lump)) for pair in work]


def _lump(pair: Work, lump: int) -> Work:
    searches, finals = (math.ceil(count / lump) for count in (pair.searches, pair.finals))
    return replace(
        pair,
        searches=searches,
        search_s=pair.search_s * pair.searches / max(1, searches),
        finals=finals,
        final_s=pair.final_s * pair.finals / max(1, finals),
    )
