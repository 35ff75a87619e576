"""What training a backbone needs: a few real steps with random weights on random pixels.

Plans and packing rest on it. Data loading, augmentation and optimizer are those of a trial.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import timm
import torch

from raybench.backbones.build import Backbone, build_backbone
from raybench.errors import TooLargeError
from raybench.measurements import Footprint
from raybench.spec import BackboneSpec, Recipe, Stage
from raybench.trial.augment import augment
from raybench.trial.batches import BatchLoader, make_loader
from raybench.trial.device import device_name, free_memory, pick_device, pick_precision
from raybench.trial.failures import classify
from raybench.trial.learner import Learner
from raybench.trial.memory import overhead_gb, peak_memory_gb, start_peak, total_memory_gb
from raybench.trial.randomness import seed_all
from raybench.trial.timing import QUICK, time_each, warm_up
from raybench.version import __version__

_T = TypeVar("_T")

ACCUMULATIONS = (1, 2, 4, 8)
TINY_RATE = 1e-6
"""Learning rate of the steps: the weights must stay finite, since timings of NaNs mean nothing."""


def measure_footprint(
    backbone: BackboneSpec,
    classes: int,
    recipe: Recipe,
    device: str = "auto",
    threads: int = 1,
) -> Footprint:
    """Time and memory of training (where the recipe trains) and evaluation, about a second each.

    What runs out of memory with the whole batch is measured with 2, 4 and 8 micro-batches. A method
    that leaves the backbone as it is has no training step; its ``train_s`` is ``evaluate_s``. On a
    CPU memory is that of the whole process, so measure in a fresh one.

    Raises:
        TooLargeError: not even 8 micro-batches fit.
        DataError: the model cannot be built for this size.
        UserInputError: a device or number format that is not here.
    """
    place, threads_before = pick_device(device), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for accumulation in ACCUMULATIONS:
            found = unless_too_large(
                partial(_measure, backbone, classes, recipe, place, accumulation)
            )
            free_memory()  # out here, where no traceback holds the model any more
            if found is not None:
                return found
    finally:
        torch.set_num_threads(threads_before)
        free_memory()
    raise TooLargeError(
        f"'{backbone.name}' does not fit into the memory of {device_name(place)} with batches of "
        f"{recipe.batch_size} images of {recipe.image_size} px, not even in "
        f"{ACCUMULATIONS[-1]} parts; give a smaller batch_size or image_size"
    )


def unless_too_large(measure: Callable[[], _T]) -> _T | None:
    """None where the device has too little memory for it."""
    try:
        return measure()
    except Exception as error:
        if classify(error) != "oom":
            raise
        return None


def _measure(
    spec: BackboneSpec, classes: int, recipe: Recipe, device: torch.device, accumulation: int
) -> Footprint:
    start_peak(device)
    work = open_workload(spec, classes, recipe, device, accumulation)
    trains = recipe.method == "finetune"
    train_s = _seconds(work.train, device) if trains else None
    evaluate_s = _seconds(work.evaluate, device)
    return Footprint(
        backbone=spec.name,
        device=device_name(device),
        precision=work.learner.precision.name,
        batch_size=recipe.batch_size,
        image_size=recipe.image_size,
        threads=torch.get_num_threads(),
        accumulation=accumulation,
        train_s=(evaluate_s if train_s is None else train_s) / recipe.batch_size,
        evaluate_s=evaluate_s / recipe.batch_size,
        peak_memory_gb=peak_memory_gb(device),
        overhead_gb=overhead_gb(device),
        total_memory_gb=total_memory_gb(device),
        at=time.time(),
        versions=versions(device),
        kwargs=dict(spec.kwargs),
    )


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    """Of one call, the mean."""
    warm_up(call, device, QUICK)
    seconds = time_each(call, device, QUICK)
    return sum(seconds) / len(seconds)


@dataclass(slots=True)
class Workload:
    """One batch of random pixels and a learner with random weights; every call is one batch."""

    recipe: Recipe
    loader: BatchLoader
    learner: Learner
    micro_batches: list[np.ndarray[tuple[int], np.dtype[np.int64]]]
    steps: int = field(default=0)

    def train(self) -> None:
        """One optimizer step, as in ``loop``."""
        self.steps += 1
        self.learner.model.train()
        pixels, labels = self.loader.fetch(np.arange(self.recipe.batch_size))
        pixels = augment(pixels, self.recipe.augment, self.steps)
        self.learner.step(self.loader.normalise(pixels), labels, TINY_RATE, self.steps)

    def evaluate(self) -> None:
        """Predictions of one batch, as in ``evaluate``."""
        self.learner.evaluated.eval()
        for part in self.micro_batches:
            self.learner.predict(self.loader.normalise(self.loader.fetch(part)[0])).cpu()


def open_workload(
    spec: BackboneSpec, classes: int, recipe: Recipe, device: torch.device, accumulation: int = 1
) -> Workload:
    """The backbone on its device, with the optimizer of the stage that keeps most state."""
    seed_all(0, "measure")
    backbone = build_backbone(spec, classes, recipe.image_size, recipe.drop_path, load=False)
    learner = make_learner(backbone, classes, recipe, device, accumulation)
    rng = np.random.default_rng(0)
    shape = (recipe.batch_size, recipe.image_size, recipe.image_size, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = rng.integers(0, classes, recipe.batch_size)
    parts = -(-recipe.batch_size // learner.micro_batch)
    return Workload(
        recipe,
        make_loader(pixels, labels, device, backbone.mean, backbone.std),
        learner,
        np.array_split(np.arange(recipe.batch_size), parts),
    )


def make_learner(
    backbone: Backbone,
    classes: int,
    recipe: Recipe,
    device: torch.device,
    accumulation: int = 1,
) -> Learner:
    heaviest = recipe.model_copy(update={"stages": (_heaviest(recipe.stages),)})
    return Learner(
        model=backbone.model,
        recipe=heaviest,
        classes=classes,
        head_names=backbone.head_parameter_names,
        class_weight=torch.ones(classes) if recipe.class_weights != "none" else None,
        device=device,
        precision=pick_precision(recipe.precision, device),
        accumulation=accumulation,
    )


def _heaviest(stages: tuple[Stage, ...]) -> Stage:
    """AdamW keeps two numbers per weight, SGD one."""
    return next((stage for stage in stages if stage.optimizer == "adamw"), stages[0])


def versions(device: torch.device) -> dict[str, str]:
    """Of what the numbers depend on; the kind of processor as well, since it feeds a GPU, too."""
    found = {"processor": _processor(), "raybench": __version__}
    found |= {"python": platform.python_version(), "torch": str(torch.__version__)}
    found["timm"] = timm.__version__
    if device.type == "cuda" and torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def _processor() -> str:
    """Its name, where Linux tells it; else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()
