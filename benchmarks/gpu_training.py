"""Claim: a trial trains at 0.9 or more of the rate of its arithmetic alone.

The baseline is the trial's own step (``Learner.step``) on one batch that lies on the device:
nothing is loaded, augmented or normalised. Against it stands what ``run_trial`` reports for its
last epoch, fed from a memory-mapped file. Both take turns in one process; the paper's 11 networks,
from random weights on random pixels, with three kinds of augmentation. A line below each network
says where a batch's time goes, every part waited for by itself, and how long the host needs to
start all of it: where that is more than the GPU takes, the host is what bounds both sides.

    python benchmarks/gpu_training.py [--rounds 3] [--images 1280] [--trace trace.json]
    python benchmarks/gpu_training.py --device cpu --image-size 64 --batch-size 8 --images 32 \
        --backbones timm:resnet10t --rounds 1        # tries the program out; no GPU figure
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import gpu_common as common
import numpy as np
import torch
from torch import Tensor
from training_step import make_task

from raybench.backbones.cards import GROUPS
from raybench.datasets.task import Task
from raybench.spec import BackboneSpec
from raybench.trial import session
from raybench.trial.augment import augment
from raybench.trial.config import TrialConfig
from raybench.trial.device import free_memory
from raybench.trial.session import Session, open_session
from raybench.trial.timing import wait

PAPER = {spec.name: spec for spec in GROUPS["@paper"]}
AUGMENTS = {  # name: recipe keys
    "none": {"augment": "none"},
    "flip-crop": {"augment": "flip", "crop": "random"},
    "trivial": {"augment": "trivial"},
}
MARGIN = 32
"""Pixels by which pictures are larger than the square cut from them."""
RESIDENT, WARM_UP = "resident", 3


@dataclass(frozen=True)
class Case:
    """One network under one set of options."""

    backbone: BackboneSpec
    device: torch.device
    image_size: int
    batch_size: int
    images: int
    timed: int
    folder: Path
    tasks: dict[str, Task]

    def config(self, kind: str) -> TrialConfig:
        recipe: dict[str, Any] = {"image_size": self.image_size, "batch_size": self.batch_size}
        recipe |= {"epochs": 2, "lr": 1e-5} | AUGMENTS[kind]
        name = f"{kind}-{time.time_ns()}"
        return common.make_config(self.backbone, recipe, self.folder, name, device=self.device.type)


def make_tasks(folder: Path, images: int, size: int) -> dict[str, Task]:
    """Per kind of augmentation: pictures of the network's size, or larger ones to be cropped."""
    plain = make_task(folder, images, size, None)
    larger = make_task(folder, images, size + MARGIN, size)
    return {kind: larger if "crop" in keys else plain for kind, keys in AUGMENTS.items()}


def open_case(case: Case, kind: str) -> Session:
    session.load_task = lambda *_, **__: case.tasks[kind]  # type: ignore[attr-defined]
    return open_session(case.config(kind))


def trial_rate(case: Case, kind: str) -> common.Trained:
    """``run_trial``, the second of two epochs."""
    session.load_task = lambda *_, **__: case.tasks[kind]  # type: ignore[attr-defined]
    return common.train(case.config(kind))


def resident_rate(case: Case) -> float:
    """Images/s of the same step on one batch on the device, over as many steps as an epoch has."""
    opened = open_case(case, "none")
    opened.learner.model.train()
    pixels, labels = opened.loader.fetch(np.arange(case.batch_size))
    images = opened.loader.normalise(pixels)
    steps = case.images // case.batch_size
    _run(opened, images, labels, steps)  # as long a warm-up as a trial's first epoch
    return steps * case.batch_size / _run(opened, images, labels, steps)


def _run(opened: Session, images: Tensor, labels: Tensor, steps: int) -> float:
    wait(opened.loader.device)
    started = time.perf_counter()
    for step in range(steps):
        opened.learner.step(images, labels, 1e-5, step + 1)
    wait(opened.loader.device)
    return time.perf_counter() - started


# -- where the time goes ---------------------------------------------------------------------------


def one_batch(opened: Session, case: Case, kind: str, number: int) -> Iterator[str]:
    """A batch's way through a trial; yields each part's name when the host is through with it."""
    loader = opened.loader
    indices = np.random.default_rng(number).choice(case.images, case.batch_size, replace=False)
    pixels, labels = loader.fetch(indices, number)
    yield "load"
    pixels = augment(pixels, AUGMENTS[kind]["augment"], number)
    yield "augment"
    images = loader.normalise(pixels)
    yield "normalise"
    opened.learner.step(images, labels, 1e-5, number + 1)
    yield "step"


def parts_line(case: Case, kind: str) -> str:
    """Medians over batches, in ms: each part with the wait for it, and the host without waits."""
    opened = open_case(case, kind)
    opened.learner.model.train()
    parts: dict[str, list[float]] = {}
    host = []
    for number in range(WARM_UP + case.timed):
        begun = time.perf_counter()
        for _ in one_batch(opened, case, kind, number):
            pass
        host.append(time.perf_counter() - begun)
        wait(case.device)
        begun = time.perf_counter()
        for name in one_batch(opened, case, kind, number):
            returned = time.perf_counter()
            wait(case.device)
            done = time.perf_counter()
            split = {"copy": returned - begun, "transfer": done - returned}
            for part, seconds in (split if name == "load" else {name: done - begun}).items():
                parts.setdefault(part, []).append(seconds)
            begun = time.perf_counter()
    listed = [f"{name} {1e3 * median(values[WARM_UP:]):.2f}" for name, values in parts.items()]
    started = 1e3 * median(host[WARM_UP:])
    return f"ms a batch: {', '.join(listed)}; the host starts it all in {started:.2f}"


def write_trace(case: Case, file: Path) -> None:
    """Three batches of TrivialAugment as a Chrome trace."""
    opened = open_case(case, "trivial")
    opened.learner.model.train()
    for number in range(WARM_UP):
        list(one_batch(opened, case, "trivial", number))
    wait(case.device)
    with torch.profiler.profile() as profile:
        for number in range(3):
            list(one_batch(opened, case, "trivial", number))
        wait(case.device)
    profile.export_chrome_trace(str(file))


# -- comparison ------------------------------------------------------------------------------------


def compare(case: Case, kinds: Sequence[str], rounds: int) -> dict[str, float]:
    """Prints a line per kind of augmentation; returns the median ratios."""
    rates: dict[str, list[float]] = {side: [] for side in (RESIDENT, *kinds)}
    trials = []
    for side in common.in_turns(tuple(rates), rounds):
        if side == RESIDENT:
            rates[side].append(resident_rate(case))
        else:
            trials.append(trial_rate(case, side))
            rates[side].append(trials[-1].images_per_s)
        free_memory()
    common.require_completed(trials)
    found = {}
    for kind in kinds:
        ratios = [ours / bare for ours, bare in zip(rates[kind], rates[RESIDENT], strict=True)]
        found[kind] = median(ratios)
        common.say(
            f"{case.backbone.name}, {case.image_size} px, batch {case.batch_size}, "
            f"{trials[0].precision}, {kind}: step alone {median(rates[RESIDENT]):.0f} images/s, "
            f"run_trial {median(rates[kind]):.0f}, ratio {common.spread(ratios)}"
        )
        common.say(f"  {parts_line(case, kind)}")
        free_memory()
    return found


def main() -> None:
    """Reads the options, runs every network, prints the lowest ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    common.add_options(parser, 224, list(PAPER))
    parser.add_argument("--images", type=int, default=1280, metavar="N", help="of an epoch")
    parser.add_argument("--timed", type=int, default=20, metavar="N", help="batches, part by part")
    parser.add_argument("--augments", nargs="+", default=list(AUGMENTS), choices=AUGMENTS)
    parser.add_argument("--cudnn-benchmark", action="store_true", help="on both sides")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="of the first network")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    device = common.device_of(options)
    torch.backends.cudnn.benchmark = options.cudnn_benchmark
    images = options.images // options.batch_size * options.batch_size
    tuning = f"cuDNN {'chooses by timing' if options.cudnn_benchmark else 'heuristics'}"
    common.say(f"{common.describe(device)}, {tuning}")
    with tempfile.TemporaryDirectory() as folder:
        tasks = make_tasks(Path(folder), images, options.image_size)
        found = {}
        for number, name in enumerate(options.backbones):
            spec = PAPER.get(name, BackboneSpec(name=name))
            spec = spec.model_copy(update={"weights": "none"})
            case = Case(
                spec, device, options.image_size, options.batch_size, images,
                options.timed, Path(folder), tasks,
            )  # fmt: skip
            ratios = compare(case, options.augments, options.rounds)
            found |= {f"{name} {kind}": ratio for kind, ratio in ratios.items()}
            if options.trace and number == 0:
                write_trace(case, options.trace)
    worst = min(found, key=lambda name: found[name])
    common.say(f"lowest of {len(found)}: {found[worst]:.2f}, {worst} (claim: 0.9 or more)")


if __name__ == "__main__":
    main()
