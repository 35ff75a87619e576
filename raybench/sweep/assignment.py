"""What the searcher hands out, and what of the cluster it may fill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from raybench.plan import Pair
from raybench.space import Params
from raybench.sweep.ledger import TrialKey
from raybench.sweep.packing import Fit, Shape

Finished = Literal["finished"]
FINISHED: Finished = "finished"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One trial to run now."""

    key: TrialKey
    pair: Pair
    params: Params
    fit: Fit
    known_epochs: int
    retry: int = 0
    seed: int | None = None
    fold: int = 0
    source_epochs: int | None = None
    """Best epoch of the search trial a final repeats; used where ``final.refit``."""

    @property
    def shape(self) -> Shape:
        return self.fit.shape


@dataclass(frozen=True, slots=True)
class Capacity:
    """What trials may hold together. ``math.inf`` where a resource does not bound them.

    ``by_accelerator``: GPUs of each type, where trials ask for a type.
    """

    cpus: float
    gpus: float
    memory_gb: float = math.inf
    by_accelerator: Mapping[str, float] = field(default_factory=dict)

    def holds(self, shapes: Iterable[Shape]) -> bool:
        """Whether all ``shapes`` fit; a single one always may wait for its turn."""
        wanted = list(shapes)
        if len(wanted) == 1:
            return True
        asked = [
            (sum(s.cpus for s in wanted), self.cpus),
            (sum(s.gpus for s in wanted), self.gpus),
            (sum(s.memory_gb for s in wanted), self.memory_gb),
        ]
        for name in {s.accelerator for s in wanted} - {""}:
            gpus = sum(s.gpus for s in wanted if s.accelerator == name)
            asked.append((gpus, self.by_accelerator.get(name, 0.0)))
        slack = 1e-9
        return all(sum_ <= most + slack for sum_, most in asked)
