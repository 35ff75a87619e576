"""Keeps idle actors for their next trial when trials ask for different resources.

Tune keeps a freed actor only if a trial of the same resources is staged already, or if nothing is.
With several shapes something nearly always is: while one actor starts (seconds, it imports torch),
every other that becomes free is let go, and its successor keeps the next ones from being kept
(measured on Ray 2.60: four shapes, a fresh actor for every single trial). This cache has the
interface of ``ray.tune.utils.object_cache._ObjectCache`` and takes its place. Knows no Ray.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

IDLE_S = 60.0
"""After this an actor that nobody wants gives its resources back, so that a cluster can shrink."""

Actor = TypeVar("Actor")


@dataclass(frozen=True, slots=True)
class _Idle(Generic[Actor]):
    actor: Actor
    since_s: float
    since_flush: int


class IdleActors(Generic[Actor]):
    """Actors without a trial, by the resources they hold (``key``).

    ``max`` of a key counts trials that were scheduled and do not run yet. Some of them have taken
    a cached actor; only the others wait for resources that idle actors may hold.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._idle: dict[Hashable, deque[_Idle[Actor]]] = defaultdict(deque)
        self._scheduled: Counter[Hashable] = Counter()
        self._served: Counter[Hashable] = Counter()
        self._now_s, self._flushes = now_s, 0

    @property
    def num_cached_objects(self) -> int:
        return sum(len(actors) for actors in self._idle.values())

    @property
    def total_max_objects(self) -> int:
        return self._scheduled.total()

    def increase_max(self, key: Hashable, by: int = 1) -> None:
        self._scheduled[key] += by

    def decrease_max(self, key: Hashable, by: int = 1) -> None:
        """Trials of ``key`` have started; those that took a cached actor are counted first."""
        self._scheduled[key] -= by
        self._served[key] = max(0, self._served[key] - by)

    def has_cached_object(self, key: Hashable) -> bool:
        return bool(self._idle[key])

    def cache_object(self, key: Hashable, obj: Actor) -> bool:
        """Always keeps ``obj``; ``flush_cached_objects`` decides how long."""
        self._idle[key].append(_Idle(obj, self._now_s(), self._flushes))
        return True

    def pop_cached_object(self, key: Hashable) -> Actor | None:
        if not self._idle[key]:
            return None
        self._served[key] += 1
        return self._idle[key].popleft().actor

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Actor]:
        """Lets go what stands in the way of a waiting trial, and what was idle for too long.

        Called at the end of each turn of Tune's loop. An actor freed in this turn stays until the
        next, because the searcher, which prefers the shape just freed, is asked in between.
        """
        self._flushes += 1
        for actors in self._idle.values():
            while actors and (force_all or self._must_go(actors[0])):
                yield actors.popleft().actor

    def _must_go(self, idle: _Idle[Actor]) -> bool:
        if self._now_s() - idle.since_s > IDLE_S:
            return True
        return self._someone_waits() and idle.since_flush < self._flushes - 1

    def _someone_waits(self) -> bool:
        return any(count > self._served[key] for key, count in self._scheduled.items())
