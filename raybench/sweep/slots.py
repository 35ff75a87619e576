"""Which pair gets the free slot: the fair one, among equals the longest. Knows no Ray.

What ends last then is short, so that few slots stand idle at the end of a sweep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from raybench.sweep.assignment import Capacity
from raybench.sweep.board import PairBoard
from raybench.sweep.packing import Fit, Packing, Shape

CRITICAL = 0.85
"""Of the time that all the rest takes on all slots; below 1, since waves leave gaps."""


class Slots:
    """The cluster's room, and the order in which pairs are given it.

    Args:
        boards: every pair's, by its id.
        packing: what a trial of each pair asks for.
        capacity: what the cluster offers now.
        expected_s: pair id -> wall seconds that one trial is expected to take, where known.
        bounded: a wall clock may end the sweep early, so no pair may fall behind meanwhile.
    """

    def __init__(
        self,
        boards: Mapping[str, PairBoard],
        packing: Packing,
        capacity: Callable[[], Capacity],
        expected_s: Mapping[str, float],
        bounded: bool,
    ) -> None:
        self._boards, self._packing = boards, packing
        self._capacity, self._expected_s, self._bounded = capacity, dict(expected_s), bounded
        self._freed: Shape | None = None

    def full(self) -> bool:
        """Whether no trial of any pair can start now."""
        held, capacity = self._held(), self._capacity()
        return not any(capacity.holds([*held, shape]) for shape in self._packing.shapes())

    def _held(self) -> list[Shape]:
        return [fit.shape for board in self._boards.values() for fit in board.active.values()]

    def room(self, board: PairBoard) -> Fit | None:
        """The fit with which a trial of the pair can start now; the shape just freed first."""
        held, capacity, fits = self._held(), self._capacity(), self._packing.fits(board.pair)
        fitting = [fit for fit in fits if capacity.holds([*held, fit.shape])]
        return min(fitting, key=lambda fit: fit.shape != self._freed, default=None)

    def free(self, fit: Fit) -> None:
        """A trial has left its slot."""
        self._freed = fit.shape

    def grow(self, used: Fit) -> bool:
        """Whether a trial that ran out of memory with ``used`` may be tried with more."""
        return self._packing.grow(used)

    def longest_first(self) -> list[PairBoard]:
        """Boards by the length of their trials; those of which nothing is known come first."""
        seconds = self._seconds()
        return sorted(
            self._boards.values(), key=lambda board: -seconds.get(board.pair.id, math.inf)
        )

    def in_turn(self, boards: Collection[PairBoard]) -> list[PairBoard]:
        """``boards``, which may search, in the order in which they get a slot.

        The pair that would end last anyhow; then the one that holds the fewest slots, the least
        served, the longest. Slots come before service, so that a pair whose trials are slow cannot
        hold them all. An actor can only be reused by an equal shape, and a new one costs seconds
        (it imports torch), so a slot stays with its shape for up to a quarter of the quota.
        """
        least = min((board.asked for board in boards), default=0)
        seconds = self._seconds()
        critical = self._critical(seconds)

        def order(board: PairBoard) -> tuple[bool, int, bool, bool, float, int]:
            pair = board.pair
            return (
                pair.id not in critical,
                len(board.active),
                board.asked > least + max(1, pair.quota // 4),
                all(fit.shape != self._freed for fit in self._packing.fits(pair)),
                -seconds.get(pair.id, math.inf),
                pair.position,
            )

        return sorted(boards, key=order)

    def _critical(self, seconds: Mapping[str, float]) -> set[str]:
        """Pairs that would be at work alone at the end if they had to share slots from now on.

        A pair's trials go through the slots wave by wave, its finals after its search. When that
        takes as long as all that is left would take on all slots, the others' work fits beside it.
        """
        if self._bounded or any(name not in seconds for name in self._boards):
            return set()
        left = sum(seconds[name] * board.trials_left for name, board in self._boards.items())
        return {
            name
            for name, board in self._boards.items()
            if self._is_critical(board, seconds[name], left)
        }

    def _is_critical(self, board: PairBoard, trial_s: float, left_s: float) -> bool:
        slots = self._slots_for(board)
        return trial_s * board.waves_left(slots) >= CRITICAL * left_s / slots

    def _slots_for(self, board: PairBoard) -> int:
        """Trials of the pair that fit at once where nothing else runs."""
        shape, capacity = self._packing.fits(board.pair)[0].shape, self._capacity()
        sizes = ((shape.cpus, capacity.cpus), (shape.gpus, capacity.gpus))
        return max(1, int(min([board.trials_left, *(o / size for size, o in sizes if size)])))

    def _seconds(self) -> dict[str, float]:
        """Pair id -> wall seconds of a trial: as seen, else as expected, else absent.

        What was expected is scaled by what was seen of other pairs: a guess may be wrong for this
        machine, and be right about which of two pairs is the longer one.
        """
        seen = {
            name: seconds
            for name, board in self._boards.items()
            if (seconds := board.trial_seconds()) is not None
        }
        both = seen.keys() & self._expected_s.keys()
        guessed = sum(self._expected_s[name] for name in both)
        scale = sum(seen[name] for name in both) / guessed if guessed else 1.0
        return {name: s * scale for name, s in self._expected_s.items()} | seen
