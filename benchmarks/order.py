"""Claim: longest first within fairness leaves few slots idle at the end of a sweep.

Pairs of very different lengths run through the real searcher and ledger on a clock that jumps
from one end of a trial to the next, so a sweep of hours takes seconds. Printed is the makespan over
the total work per slot: 1.00 means that every slot was busy to the very end. ``bound`` is what no
order can beat: the longest pair's search, as wide as its sampler allows, then its finals.

    python benchmarks/order.py [--pairs 12] [--trials 9] [--slots 2 4]

``blind``: nothing is known of a pair before its first trial has ended, and the file lists the
pairs as named; ``told``: the plan's estimates are right, ``roughly``: each is wrong by a factor
of up to two, up or down; in both the file lists the pairs in no order.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import math
import random
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import quick_sweep
from trial_overhead import sweep_data

from raybench.plan import Pair
from raybench.records import EndRecord, EpochRecord
from raybench.sweep.assignment import FINISHED, Assignment, Capacity
from raybench.sweep.packing import Shape
from raybench.sweep.searcher import SweepSearcher

FINAL_SEEDS = 3
SHORTEST_S = 60.0
SPREAD = 30.0
"""The longest pair's trials take as many times the shortest's."""
JITTER = 0.1
"""Trials of one pair differ by up to this part."""


def evenly_spread(pairs: int) -> list[float]:
    """Seconds of a trial, pair by pair: equal ratios from the shortest to the longest."""
    return [SHORTEST_S * SPREAD ** (number / (pairs - 1)) for number in range(pairs)]


def one_giant(pairs: int) -> list[float]:
    """All equal but one: the hardest case for the end of a sweep."""
    return [SHORTEST_S] * (pairs - 1) + [SHORTEST_S * SPREAD]


MIXES = {"even": evenly_spread, "giant": one_giant}


def cases(lengths: Sequence[float]) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> seconds of a trial in the file's order, and those that the searcher is told."""
    rng = random.Random(1)
    shuffled = rng.sample(lengths, len(lengths))
    rough = [length * 2 ** rng.uniform(-1, 1) for length in shuffled]
    return {
        "blind, short first": (sorted(lengths), []),
        "blind, shuffled": (shuffled, []),
        "blind, long first": (sorted(lengths, reverse=True), []),
        "told roughly": (shuffled, rough),
        "told": (shuffled, shuffled),
    }


def sweep_of(pairs: int, trials: int) -> dict[str, Any]:
    """A sweep in which no trial is stopped early."""
    search = {"sampler": "tpe", "ladder": 3, "early_stop": "none"}
    final = {"seeds": list(range(FINAL_SEEDS))}
    return sweep_data(pairs, trials) | {"search": search, "final": final}


def play(searcher: SweepSearcher, seconds_of: Callable[[Assignment], float]) -> tuple[float, float]:
    """Run to the end on a clock of its own; makespan and total work, in seconds."""
    now = work = 0.0
    running: list[tuple[float, int, Assignment, float]] = []
    while (answer := searcher.ask()) != FINISHED:
        if isinstance(answer, Assignment):
            seconds = seconds_of(answer)
            work += seconds
            heapq.heappush(running, (now + seconds, id(answer), answer, seconds))
        else:
            now, _, ended, seconds = heapq.heappop(running)
            tell(searcher, ended, seconds)
    return now, work


def tell(searcher: SweepSearcher, assignment: Assignment, seconds: float) -> None:
    """What a trial of ``seconds`` reports, at once."""
    best = {"val/accuracy": 0.5, "val/nll": 0.5}
    test = {} if assignment.seed is None else {"test/accuracy": 0.5}
    epoch = EpochRecord(1, 0, 0.1, 0.0, seconds, 1.0, 1, best)
    end = EndRecord("complete", 0.0, best_epoch=1, best=best, test=test)
    searcher.receive(assignment.key, [epoch, end])


def measure(
    lengths: Sequence[float], told: Sequence[float], trials: int, slots: int
) -> tuple[float, float]:
    """Makespan over the total work per slot, and the least that it can be."""
    rng = random.Random(0)

    def seconds_of(assignment: Assignment) -> float:
        return lengths[assignment.pair.position] * (1 + rng.uniform(-JITTER, JITTER))

    def expected_s(pairs: Sequence[Pair]) -> Mapping[str, float]:
        return dict(zip((pair.id for pair in pairs), told, strict=False))

    capacity, shape = Capacity(float(slots), 0.0), Shape(1.0, 0.0)
    data = sweep_of(len(lengths), trials)
    with quick_sweep.open_quick_sweep(data, lambda pair: shape, capacity, expected_s) as sweep:
        width = min(slots, next(iter(sweep.searcher.boards.values())).concurrency)
        makespan, work = play(sweep.searcher, seconds_of)
    rounds = math.ceil(trials / width) + math.ceil(FINAL_SEEDS / slots)
    longest = rounds * max(lengths) * (1 - JITTER)
    return makespan * slots / work, max(1.0, longest * slots / work)


def main() -> None:
    """Prints one line per mix of pairs, number of slots and case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--trials", type=int, default=9, help="search trials of each pair")
    parser.add_argument("--slots", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for mix, lengths_of in MIXES.items():
        for slots in options.slots:
            for name, (lengths, told) in cases(lengths_of(options.pairs)).items():
                ratio, bound = measure(lengths, told, options.trials, slots)
                sys.stdout.write(
                    f"{mix:6} {slots} slots  {name:19} {ratio:.3f} (bound {bound:.3f})\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
