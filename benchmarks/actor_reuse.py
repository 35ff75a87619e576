"""Claim: 48 short trials of four resource shapes start at most 12 actors.

An actor can be reused only by a trial that asks for the same resources, and a new one costs a
fresh Python that imports torch. Four pairs hold a whole, a half, a quarter and an eighth of a
logical GPU; the baseline is one process per trial. The trials only sleep, so no GPU is needed.

    python benchmarks/actor_reuse.py [--cpus 4] [--gpus 2] [--seconds 0.2]
"""

from __future__ import annotations

import argparse
import random
import sys

from quick_sweep import open_quick_sweep, run_on_ray

from raybench.records import TrialRow
from raybench.sweep.assignment import Assignment, Capacity
from raybench.sweep.packing import Shape

SHARES = (1.0, 0.5, 0.25, 0.125)
TRIALS_PER_PAIR = 12


def count_actors(cpus: int, gpus: int, mean_s: float) -> tuple[int, int]:
    """Trials run, and processes they ran in. A trial takes half to one and a half ``mean_s``."""
    data = {
        "name": "reuse",
        "backbones": [
            {"name": "timm:test_resnet", "weights": "none", "kwargs": {"drop_rate": n / 100}}
            for n in range(len(SHARES))
        ],
        "datasets": ["digits"],
        "space": {"lr": {"default": 1e-3, "low": 1e-4, "high": 1e-1, "log": True}},
        "search": {"sampler": "random", "ladder": 1, "early_stop": "none"},
        "budget": {"trials": TRIALS_PER_PAIR},
        "final": {"seeds": [0]},
    }
    rng = random.Random(0)
    seconds = {n: mean_s * (0.5 + rng.random()) for n in range(TRIALS_PER_PAIR)}

    def seconds_of(assignment: Assignment) -> float:
        return seconds[assignment.key[2]]

    with open_quick_sweep(
        data,
        lambda pair: Shape(1.0, SHARES[pair.position]),
        Capacity(float(cpus), float(gpus)),
    ) as sweep:
        run_on_ray(sweep.searcher, cpus, gpus, seconds_of, lambda: None)
        rows = [row for pair in sweep.snapshot().pairs for row in pair.trials]
    return len(rows), len({_pid(row) for row in rows})


def _pid(row: TrialRow) -> object:
    assert row.end is not None
    assert row.end.state == "complete", row.end.reason
    return row.end.facts["pid"]


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.2, help="mean length of a trial")
    options = parser.parse_args()
    trials, actors = count_actors(options.cpus, options.gpus, options.seconds)
    sys.stdout.write(
        f"{trials} trials of {len(SHARES)} shapes on {options.cpus} CPUs and {options.gpus} "
        f"logical GPUs ran in {actors} actors (claim: at most 12; one each would be {trials})\n"
    )


if __name__ == "__main__":
    main()
