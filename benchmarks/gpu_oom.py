"""Claim: a trial that takes more than its share ends by itself, and its neighbour feels nothing.

Two processes on one GPU at once, each capped to its share as in a sweep. The neighbour is an
ordinary trial; the greedy one asks for ever more memory in its forward pass, more than the whole
GPU has if nothing stops it, and is started anew until the neighbour has ended. Every greedy trial
must end as failed (oom), the neighbour must complete, and its losses must be those that it has
alone. cuDNN is told to be deterministic on both sides, so that any difference would be the
neighbour's doing; the difference between two runs alone stands beside it.

    python benchmarks/gpu_oom.py [--share 0.5] [--rounds 3]
    python benchmarks/gpu_oom.py --device cpu --image-size 16 --rounds 1 \
        --backbones timm:test_resnet                  # tries the program out; no GPU figure

The CPU form says nothing about GPUs: there the cap is the greedy process's own address space
(``RLIMIT_AS``), since torch caps nothing on a CPU, and raybench sets no such limit.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_common as common
import torch
from torch import Tensor, nn

from raybench.spec import BackboneSpec
from raybench.sweep.packing import Fit, Shape
from raybench.trial.config import TrialConfig

GREEDY = BackboneSpec(name="python:gpu_oom:greedy", weights="none")
STEPS = 16
"""Forward passes in which the greedy network would take the whole GPU."""
ROOM_BYTES = 2 * 2**30
"""CPU form: address space that the greedy process may still take."""


class Greedy(nn.Module):
    """A small network that keeps what it has taken."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)
        self.taken: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            on_gpu = images.device.type == "cuda"
            whole = torch.cuda.mem_get_info()[1] if on_gpu else 2 * ROOM_BYTES
            # Written to, since a system gives pages away only then.
            size = whole // STEPS
            self.taken.append(torch.ones(size, dtype=torch.uint8, device=images.device))
        output: Tensor = self.head(images.mean(dim=(2, 3)))
        return output


def greedy(classes: int, image_size: int) -> nn.Module:
    """Named in the greedy trial's configuration."""
    return Greedy(classes)


# -- in the processes ------------------------------------------------------------------------------


def get_ready(started: Any, limited: bool, device: str) -> None:
    """Before the first trial: repeatable sums, CUDA's context, and the CPU form's limit."""
    warnings.simplefilter("ignore")
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.zeros(1, device=device)
    started.wait()
    if limited:
        limit_address_space()


def limit_address_space() -> None:
    """By what the process has now and ``ROOM_BYTES`` more."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def hold_until(ended: Any, config: TrialConfig) -> list[common.Trained]:
    """Greedy trials, one after another, until ``ended`` is set; one at least."""
    trials = [common.train(config)]
    while not ended.is_set():
        trials.append(common.train(config))
    return trials


# -- comparison ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """The neighbour alone, twice, and beside the greedy trials."""

    alone: common.Trained
    again: common.Trained
    beside: common.Trained
    greedy: list[common.Trained]

    @property
    def noise(self) -> float:
        return difference(self.alone, self.again)

    @property
    def effect(self) -> float:
        return difference(self.alone, self.beside)


def difference(one: common.Trained, other: common.Trained) -> float:
    """The largest between the losses of two trials' epochs."""
    pairs = zip(one.losses, other.losses, strict=True)
    return max((abs(a - b) for a, b in pairs), default=math.nan)


def run_round(options: argparse.Namespace, device: torch.device, folder: Path) -> Round:
    """Fresh processes for everything."""
    fit = Fit("share", Shape(1.0, options.share))
    cap = fit.memory_fraction if device.type == "cuda" else None
    recipe: dict[str, Any] = {"image_size": options.image_size, "batch_size": options.batch_size}
    recipe |= {"epochs": options.epochs, "lr": 1e-3}
    more: dict[str, Any] = {"device": device.type, "memory_fraction": cap}
    spec = BackboneSpec(name=options.backbones[0], weights="none")
    configs = [
        common.make_config(spec, recipe, folder, name, **more)
        for name in ("alone", "again", "beside")
    ]
    greedy_config = common.make_config(GREEDY, recipe, folder, "greedy", **more)
    context = multiprocessing.get_context("spawn")
    alone = context.Barrier(1)
    both, ended = context.Barrier(2), context.Manager().Event()
    with ProcessPoolExecutor(1, context, get_ready, (alone, False, device.type)) as pool:
        first, second = pool.map(common.train, configs[:2])
    with (
        ProcessPoolExecutor(1, context, get_ready, (both, False, device.type)) as pool,
        ProcessPoolExecutor(1, context, get_ready, (both, True, device.type)) as other,
    ):
        taking = other.submit(hold_until, ended, greedy_config)
        try:
            beside = pool.submit(common.train, configs[2]).result()
        finally:
            ended.set()
        return Round(first, second, beside, taking.result())


def report(rounds: list[Round]) -> None:
    """Prints the lines for docs/performance.md; refuses where the claim does not hold."""
    taken = [trial for found in rounds for trial in found.greedy]
    by_itself = sum(trial.failure == "oom" for trial in taken)
    calm = [trial for found in rounds for trial in (found.alone, found.again, found.beside)]
    common.say(f"greedy: {by_itself} of {len(taken)} trials ended as failed (oom) by themselves")
    common.say(f"  the last one said: {taken[-1].reason[:160]}")
    beside = sum(found.beside.completed for found in rounds)
    common.say(f"neighbour: {beside} of {len(rounds)} completed beside them")
    common.require_completed(calm)
    if by_itself < len(taken):
        raise SystemExit("a greedy trial did not end as failed (oom)")
    effect, noise = max(r.effect for r in rounds), max(r.noise for r in rounds)
    rates = [found.beside.images_per_s / found.alone.images_per_s for found in rounds]
    common.say(f"its losses differ by {effect:.2g} from those alone, two runs alone by {noise:.2g}")
    common.say(f"its images/s against alone: {common.spread(rates)}")


def main() -> None:
    """Reads the options and runs every round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    common.add_options(parser, 64, ["torchvision:resnet50"])
    parser.add_argument("--share", type=float, default=0.5, metavar="X", help="of the GPU, each")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="of the neighbour")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    device = common.device_of(options)
    cap = f"share {options.share:g} each" if device.type == "cuda" else "cap: RLIMIT_AS, not torch"
    common.say(f"{common.describe(device)}, {options.backbones[0]}, {cap}")
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(run_round(options, device, Path(folder)))
    report(rounds)


if __name__ == "__main__":
    main()
