"""How long one image takes to train on and to evaluate: a few real steps on random pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from raybench.backbones.build import build_backbone
from raybench.spec import BackboneSpec, Recipe
from raybench.trial.device import free_memory, pick_device, pick_precision
from raybench.trial.learner import Learner
from raybench.trial.randomness import seed_all

WARMUP_STEPS = 1
MIN_STEPS = 2
MEASURE_S = 1.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Wall seconds per image on one device, at one batch size and image size."""

    train_s: float
    evaluate_s: float


def measure_speed(
    spec: BackboneSpec, classes: int, recipe: Recipe, device: str = "auto", threads: int = 1
) -> Speed:
    """Train and evaluate ``spec`` with random weights for about a second each.

    Raises:
        DataError: the model cannot be built for this size.
    """
    place = pick_device(device)
    torch.set_num_threads(threads)
    seed_all(0, "speed")
    backbone = build_backbone(spec, classes, recipe.image_size, recipe.drop_path, load=False)
    learner = Learner(
        backbone.model, recipe, classes, backbone.head_parameter_names, None, place,
        pick_precision(recipe.precision, place),
    )  # fmt: skip
    shape = (recipe.batch_size, 3, recipe.image_size, recipe.image_size)
    images = torch.randn(shape, device=place).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, (recipe.batch_size,), device=place)

    def train() -> None:
        learner.model.train()
        learner.step(images.clone(), labels, 1e-6, 1)

    def evaluate() -> None:
        learner.model.eval()
        learner.predict(images)

    try:
        return Speed(*(_seconds(step, place) / recipe.batch_size for step in (train, evaluate)))
    finally:
        free_memory()


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    """Of one call, the mean over at least two and about a second."""
    for _ in range(WARMUP_STEPS):
        step()
    _wait(device)
    started, count = time.perf_counter(), 0
    while count < MIN_STEPS or time.perf_counter() - started < MEASURE_S:
        step()
        _wait(device)
        count += 1
    return (time.perf_counter() - started) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
