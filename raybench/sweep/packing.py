"""How much of a device one trial asks for: measured where that can be, raised after a failure.

A pair's fits are shared by all pairs whose trials need the same memory (``key``), so what one of
them learns by running out of it is known to the others, and kept in the ledger. Knows no Ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from raybench.measurements import Footprint
from raybench.plan import Pair

SHARES = (0.125, 0.25, 0.5, 1.0)
HEADROOM = 1.1
"""Allocators fragment, and a trial has more kinds of batches than the few that were measured."""
OVERHEAD = 0.05
"""Part of a GPU that a process takes beside torch's allocator, where it was not measured."""
MAX_ACCUMULATION = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """What one trial asks of the cluster.

    Attributes:
        cpus: cores. gpus: share of a GPU.
        memory_gb: of the machine; 0: not bounded.
        accelerator: Ray's name of the GPU's type, where the cluster has several; empty: any.
    """

    cpus: float
    gpus: float
    memory_gb: float = 0.0
    accelerator: str = ""

    @property
    def device_share(self) -> float:
        """What its wall seconds are charged with: the GPU share, or the cores on CPU."""
        return self.gpus or self.cpus


@dataclass(frozen=True, slots=True)
class Fit:
    """How a trial fits one kind of device.

    Attributes:
        key: of what needs the same memory; ``footprint_key``.
        shape: what it asks for. accumulation: micro-batches per step.
        overhead: part of the GPU that it takes beside torch's allocator.
        most_gpus: the largest share it can be given. most_memory_gb: likewise; 0: not bounded.
        too_large: not even the smallest micro-batches fit into a whole device, as was measured.
    """

    key: str
    shape: Shape
    accumulation: int = 1
    overhead: float = OVERHEAD
    most_gpus: float = 1.0
    most_memory_gb: float = 0.0
    too_large: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """What it is one of: memory need, and type of accelerator."""
        return self.key, self.shape.accelerator

    @property
    def memory_fraction(self) -> float | None:
        """Part of the GPU that torch may allocate; a neighbour's memory stays the neighbour's."""
        if not 0 < self.shape.gpus < 1:
            return None
        return max(self.shape.gpus - self.overhead, 0.01)

    def larger(self) -> Fit | None:
        """What to try after this ran out of memory: the next share, then smaller micro-batches."""
        shape = self.shape
        if 0 < shape.gpus < self.most_gpus:
            return replace(self, shape=replace(shape, gpus=min(self.most_gpus, shape.gpus * 2)))
        if not shape.gpus and shape.memory_gb < self.most_memory_gb:
            # Without a measurement it may have been the neighbours: half of the machine first.
            more_gb = min(self.most_memory_gb, 2 * shape.memory_gb or self.most_memory_gb / 2)
            return replace(self, shape=replace(shape, memory_gb=more_gb))
        if self.accumulation < MAX_ACCUMULATION:
            return replace(self, accumulation=self.accumulation * 2)
        return None

    @property
    def size(self) -> tuple[float, float, int]:
        """Grows with every ``larger``."""
        return self.shape.gpus, self.shape.memory_gb, self.accumulation


class Packing:
    """What trials ask for, pair by pair.

    Args:
        fits: pair id -> its fits, one per kind of device, the preferred one first.
        remember: called with a fit that has grown, to outlive this driver.
    """

    def __init__(
        self,
        fits: Mapping[str, Sequence[Fit]],
        remember: Callable[[Fit], None] = lambda fit: None,
    ) -> None:
        self._places = {pair: tuple(fit.place for fit in found) for pair, found in fits.items()}
        self._fits = {fit.place: fit for found in fits.values() for fit in found}
        self._spent = {fit.place for found in fits.values() for fit in found if fit.too_large}
        self._remember = remember

    def fits(self, pair: Pair) -> tuple[Fit, ...]:
        """Those not given up, the preferred one first; where all are, a trial finds out itself."""
        places = self._places[pair.id]
        left = [place for place in places if place not in self._spent]
        return tuple(self._fits[place] for place in left or places)

    def shapes(self) -> set[Shape]:
        """What any trial may ask for now."""
        return {fit.shape for fit in self._fits.values()}

    def grow(self, used: Fit) -> bool:
        """Whether a trial that ran out of memory with ``used`` may be tried with more."""
        if self._fits[used.place].size > used.size:
            return True  # another trial has raised it meanwhile
        more = used.larger()
        if more is None:
            self._spent.add(used.place)
            return self._fits_elsewhere(used)
        self._fits[used.place] = more
        self._remember(more)
        return True

    def _fits_elsewhere(self, used: Fit) -> bool:
        """Whether the pairs of ``used`` have another kind of device to go to."""
        mine = [places for places in self._places.values() if used.place in places]
        return any(set(places) - self._spent for places in mine)


def fitting_share(
    footprint: Footprint, least_memory_gb: float = math.inf, more_gb: float = 0.0
) -> float:
    """The smallest share of a GPU that holds what was measured, with head-room.

    Args:
        footprint: measured on a GPU.
        least_memory_gb: of the smallest GPU that a trial may come to.
        more_gb: what trials take besides.
    """
    assert footprint.peak_memory_gb is not None and footprint.total_memory_gb is not None
    needed = HEADROOM * footprint.peak_memory_gb + footprint.overhead_gb + more_gb
    part = needed / min(footprint.total_memory_gb, least_memory_gb)
    return next((share for share in SHARES if part <= share), 1.0)
