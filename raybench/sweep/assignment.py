"""What the searcher hands out, and what of the cluster it may fill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from raybench.plan import Pair
from raybench.space import Params
from raybench.sweep.board import Shape
from raybench.sweep.ledger import TrialKey

Finished = Literal["finished"]
FINISHED: Finished = "finished"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One trial to run now."""

    key: TrialKey
    pair: Pair
    params: Params
    shape: Shape
    known_epochs: int
    seed: int | None = None
    fold: int = 0
    source_epochs: int | None = None
    """Best epoch of the search trial a final repeats; used where ``final.refit``."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What trials may hold together. ``math.inf`` where a resource does not bound them."""

    cpus: float
    gpus: float

    def holds(self, shapes: Iterable[Shape]) -> bool:
        """Whether all ``shapes`` fit; a single one always may wait for its turn."""
        wanted = list(shapes)
        if len(wanted) == 1:
            return True
        slack = 1e-9
        return (
            sum(s.cpus for s in wanted) <= self.cpus + slack
            and sum(s.gpus for s in wanted) <= self.gpus + slack
        )
