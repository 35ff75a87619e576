"""Early stopping within one pair: pure rules over the values of its trials.

Both runners use these functions, and the rungs are rebuilt from the ledger, so a resumed sweep
stops the same trials. Comparing across pairs would starve the hard ones (measured: every trial of
the hard pair died at its first rung under one shared bracket).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

REDUCTION_FACTOR = 3
MIN_PEERS = 3

Curve = Sequence[float]
"""One trial's metric per epoch, oriented so that larger is better."""


def grace_epochs(epochs: int) -> int:
    """Epochs before anything may be stopped: a ninth of a trial, at least one."""
    return max(1, epochs // REDUCTION_FACTOR**2)


def rungs(epochs: int) -> tuple[int, ...]:
    """Epochs at which ASHA compares: the grace, then times 3, below the end."""
    found = []
    rung = grace_epochs(epochs)
    while rung < epochs:
        found.append(rung)
        rung *= REDUCTION_FACTOR
    return tuple(found)


def stops_early(
    rule: Literal["asha", "median", "none"],
    curves: Mapping[int, Curve],
    number: int,
    epochs: int,
) -> bool:
    """Whether trial ``number``, just after its latest epoch, should be stopped.

    Args:
        rule: ``search.early_stop``.
        curves: every trial of the pair that has reported, itself included.
        number: the trial in question.
        epochs: the full length of a trial.
    """
    epoch = len(curves[number])
    if rule == "asha":
        return epoch in rungs(epochs) and _asha(curves, number, epoch)
    if rule == "median":
        return grace_epochs(epochs) <= epoch < epochs and _median(curves, number, epoch)
    return False


def _asha(curves: Mapping[int, Curve], number: int, epoch: int) -> bool:
    """Stop unless in the best third of those that reached this rung (Li et al. 2020).

    Nobody is stopped before three trials have reached the rung: a comparison with a single peer
    would be a coin toss.
    """
    reached = {n: max(curve[:epoch]) for n, curve in curves.items() if len(curve) >= epoch}
    if len(reached) < MIN_PEERS:
        return False
    keep = max(1, len(reached) // REDUCTION_FACTOR)
    better = sum(value > reached[number] for value in reached.values())
    return better >= keep


def _median(curves: Mapping[int, Curve], number: int, epoch: int) -> bool:
    """Stop when the best so far lies below the median of the peers' running averages."""
    averages = [
        statistics.fmean(curve[:epoch])
        for n, curve in curves.items()
        if n != number and len(curve) >= epoch
    ]
    if len(averages) < MIN_PEERS:
        return False
    return max(curves[number]) < statistics.median(averages)
