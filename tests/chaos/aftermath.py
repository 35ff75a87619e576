"""What must hold around a finished sweep: nobody is left, nothing is held, nothing is owed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.drivers import Rerun
from tests.chaos.ledgers import read_trials
from tests.chaos.processes import left_over

NO_OP_S = 10.0
TRIES = 3
RAYS_PATIENCE_S = 90.0
"""Two agents of a private Ray whose driver was killed look for their head before they go."""
Resources = Mapping[str, float]


@dataclass(frozen=True)
class Aftermath:
    """How to look.

    Attributes:
        sessions: of all drivers; nobody of these may be left.
        rerun: the same command once more. slowness: by how much others slow this machine down now;
        asked only where a rerun seems slow.
        resources: of a cluster that goes on: total and free.
    """

    sessions: Collection[int]
    rerun: Callable[[], Rerun]
    slowness: Callable[[], float] = lambda: 1.0
    resources: Callable[[], tuple[Resources, Resources]] = lambda: ({}, {})
    patience_s: float = RAYS_PATIENCE_S


def check_aftermath(aftermath: Aftermath, home: Path, sweep: str) -> Iterator[str]:
    yield from _check_no_op(aftermath, home, sweep)
    total, free = aftermath.resources()
    if total != free:
        yield f"resources: {dict(free)} are free of {dict(total)}"
    for process in left_over(aftermath.sessions, aftermath.patience_s):
        yield f"processes: still there: {process}"


def _check_no_op(aftermath: Aftermath, home: Path, sweep: str) -> Iterator[str]:
    """A further run exits 0 and changes nothing, in under 10 s of a machine that is not busy."""
    before = read_trials(home, sweep)
    for _ in range(TRIES):
        again = aftermath.rerun()
        if again.code != 0:
            yield f"no-op: a further run exits {again.code}"
        if read_trials(home, sweep) != before:
            yield "no-op: a further run has changed the ledger"
        if again.wall_s <= NO_OP_S or again.wall_s <= NO_OP_S * aftermath.slowness():
            return
    yield (
        f"no-op: a further run took {again.wall_s:.1f} s "
        f"({again.processor_s:.1f} s of processor time)"
    )
