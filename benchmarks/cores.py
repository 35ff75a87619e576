"""Claim: two one-core trials together train at least 0.95 of the images/s of one two-core trial.

And 1.25 times where the two-core trial's step takes under 0.1 s. Trials run as raybench's actors
run them, in processes of their own that take one trial after another; the first epoch of each warms
up, then both trials of a pair go on together. Rates are those that the trials record, epochs after
the first. Random pixels, random weights; sides in turns.

    python benchmarks/cores.py [--rounds 3] [--steps 4] [--networks resnet18 ...]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

EPOCHS, SHORT_STEP_S = 4, 0.1


@dataclass(frozen=True)
class Network:
    """A backbone, and the size of its images and batches."""

    name: str
    image_size: int
    batch_size: int


NETWORKS = (
    Network("timm:resnet18", 64, 32),
    Network("timm:resnet50", 96, 16),
    Network("timm:resnet50", 224, 16),
    Network("timm:mobilenetv3_large_100", 96, 16),
    Network("timm:mobilenetv3_large_100", 224, 16),
    Network("timm:efficientnet_b0", 128, 16),
    Network("timm:regnety_002", 64, 16),
    Network("timm:convnext_atto", 96, 16),
    Network("timm:convnext_tiny", 128, 16),
    Network("timm:vit_tiny_patch16_224", 224, 16),
    Network("timm:swin_tiny_patch4_window7_224", 224, 8),
    Network("torchvision:squeezenet1_1", 64, 32),
    Network("torchvision:shufflenet_v2_x1_0", 128, 16),
)
TINY = Network("timm:test_resnet", 32, 8)


# -- a process that runs trials ------------------------------------------------------------------


def serve(connection: Connection, barrier: Any, threads: int) -> None:
    """Answers each ``Network`` with the images/s of one trial, until it is sent None."""
    with tempfile.TemporaryDirectory() as folder:
        while (asked := connection.recv()) is not None:
            network, steps = asked
            connection.send(_rate(network, steps, Path(folder), barrier, threads))


def _rate(network: Network, steps: int, folder: Path, barrier: Any, threads: int) -> float:
    """Images/s of a trial's epochs after the first, which ends at the barrier."""
    from training_step import make_task

    from raybench.records import EpochRecord
    from raybench.trial import session
    from raybench.trial.config import TrialConfig
    from raybench.trial.loop import run_trial

    task = make_task(folder, steps * network.batch_size, network.image_size, None)
    session.load_task = lambda *_, **__: task  # type: ignore[attr-defined]
    sizes = {"image_size": network.image_size, "batch_size": network.batch_size}
    with tempfile.TemporaryDirectory(dir=folder) as root:
        config = TrialConfig(
            key="benchmark/search/0",
            phase="search",
            attempt=1,
            backbone={"name": network.name, "weights": "none"},
            dataset={"name": "benchmark"},
            subset="full",
            recipe=sizes | {"epochs": EPOCHS, "augment": "flip"},
            metric="val/accuracy",
            training_seed=0,
            split_seed=0,
            cache_dir=root,
            checkpoint_root=root,
            checkpoint_dir="trial",
            threads=threads,
        )
        rates = []
        for record in run_trial(config):
            if isinstance(record, EpochRecord):
                rates.append(record.metrics["perf/images_per_s"])
                if record.epoch == 1:
                    barrier.wait()
            else:
                assert record.state == "complete", record.reason
    return statistics.harmonic_mean(rates[1:])


@contextmanager
def server(threads: int, barrier: Any) -> Iterator[Connection]:
    """A fresh process; its end of the pipe is ours to send networks to."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, barrier, threads), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join()


# -- comparison ----------------------------------------------------------------------------------


def ask(servers: Sequence[Connection], network: Network, steps: int) -> float:
    """Images/s of one trial in each of the processes, all at the same time."""
    for connection in servers:
        connection.send((network, steps))
    return sum(float(connection.recv()) for connection in servers)


def compare(networks: Sequence[Network], rounds: int, steps: int) -> list[float]:
    """Prints one line per network; the median ratios."""
    context = multiprocessing.get_context("spawn")
    pair, alone = context.Barrier(2), context.Barrier(1)
    medians = []
    with server(1, pair) as first, server(1, pair) as second, server(2, alone) as wide:
        sides = [(first, second), (wide,)]
        for network in networks:
            found = []
            for number in range(rounds):
                order = sorted(sides, key=len, reverse=bool(number % 2))
                rates = {len(side): ask(side, network, steps) for side in order}
                found.append((rates[2], rates[1]))
            medians.append(report(network, found))
    return medians


def report(network: Network, found: Sequence[tuple[float, float]]) -> float:
    """Prints and returns the median of the ratios."""
    two, one = (statistics.median(column) for column in zip(*found, strict=True))
    ratios = sorted(pair / wide for pair, wide in found)
    step_s = network.batch_size / one
    least = 1.25 if step_s < SHORT_STEP_S else 0.95
    sys.stdout.write(
        f"{network.name} at {network.image_size} px, batch {network.batch_size}: two trials of one "
        f"core {two:.0f} images/s, one of two {one:.0f} (a step of {step_s:.2f} s), median ratio "
        f"{statistics.median(ratios):.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f}; "
        f"claim: {least})\n"
    )
    sys.stdout.flush()
    return statistics.median(ratios)


def main() -> None:
    """Prints one line per network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="per epoch")
    parser.add_argument("--networks", nargs="+", help="parts of names; default: all")
    parser.add_argument("--tiny", action="store_true", help="one small network, to try the program")
    options = parser.parse_args()
    asked = [n for n in NETWORKS if any(part in n.name for part in options.networks or [""])]
    compare([TINY] if options.tiny else asked, options.rounds, options.steps)


if __name__ == "__main__":
    main()
