"""Early stopping within one pair: pure rules over the values of its trials.

Both runners use these functions, and the rungs are rebuilt from the ledger, so a resumed sweep
stops the same trials. Comparing across pairs would starve the hard ones (measured: every trial of
the hard pair died at its first rung under one shared bracket).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Curve = Sequence[float]
"""One trial's metric per epoch, oriented so that larger is better."""


@dataclass(frozen=True, slots=True)
class Constants:
    """Of the rules; ``benchmarks/early_stopping.py`` compares others.

    Attributes:
        factor: the best one in so many stays at a rung, and the next rung is so many times later.
        grace: nothing is stopped in the first one in so many of a trial's epochs.
        peers: nobody is stopped before so many trials have come as far.
    """

    factor: int = 3
    grace: int = 9
    peers: int = 3


CONSTANTS = Constants()


def grace_epochs(epochs: int, constants: Constants = CONSTANTS) -> int:
    """Epochs before anything may be stopped: a ninth of a trial, at least one."""
    return max(1, epochs // constants.grace)


def rungs(epochs: int, constants: Constants = CONSTANTS) -> tuple[int, ...]:
    """Epochs at which ASHA compares: the grace, then times 3, below the end."""
    found = []
    rung = grace_epochs(epochs, constants)
    while rung < epochs:
        found.append(rung)
        rung *= constants.factor
    return tuple(found)


def stops_early(
    rule: Literal["asha", "median", "none"],
    curves: Mapping[int, Curve],
    number: int,
    epochs: int,
    constants: Constants = CONSTANTS,
) -> bool:
    """Whether trial ``number``, just after its latest epoch, should be stopped.

    Args:
        rule: ``search.early_stop``.
        curves: every trial of the pair that has reported, itself included.
        number: the trial in question.
        epochs: the full length of a trial.
        constants: those of every sweep, unless they are being compared.
    """
    epoch = len(curves[number])
    if rule == "asha":
        return epoch in rungs(epochs, constants) and _asha(curves, number, epoch, constants)
    if rule == "median" and grace_epochs(epochs, constants) <= epoch < epochs:
        return _median(curves, number, epoch, constants)
    return False


def _asha(curves: Mapping[int, Curve], number: int, epoch: int, constants: Constants) -> bool:
    """Stop unless in the best third of those that reached this rung (Li et al. 2020).

    Nobody is stopped before three trials have reached the rung: a comparison with a single peer
    would be a coin toss.
    """
    reached = {n: max(curve[:epoch]) for n, curve in curves.items() if len(curve) >= epoch}
    if len(reached) < constants.peers:
        return False
    keep = max(1, len(reached) // constants.factor)
    better = sum(value > reached[number] for value in reached.values())
    return better >= keep


def _median(curves: Mapping[int, Curve], number: int, epoch: int, constants: Constants) -> bool:
    """Stop when the best so far lies below the median of the peers' running averages."""
    averages = [
        statistics.fmean(curve[:epoch])
        for n, curve in curves.items()
        if n != number and len(curve) >= epoch
    ]
    if len(averages) < constants.peers:
        return False
    return max(curves[number]) < statistics.median(averages)
