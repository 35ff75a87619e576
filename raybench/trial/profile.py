"""What a backbone costs where it runs alone: latency, throughput, memory, energy.

Random weights and pixels, which cost what real ones do; the pixels lie on the device already, since
this measures the network and not the data. Trials that share a device tell nothing of its cost, so
this is a pass of its own, in a fresh process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from raybench.backbones.build import build_backbone
from raybench.backbones.index import without_tag
from raybench.backbones.measure import CLASSES, measure_built
from raybench.errors import RaybenchError
from raybench.gpus import Gpu, energy_j
from raybench.measurements import Profile, Timing
from raybench.spec import BackboneSpec, Recipe
from raybench.trial.device import device_name, free_memory, pick_device
from raybench.trial.footprint import TINY_RATE, make_learner, unless_too_large, versions
from raybench.trial.learner import Learner
from raybench.trial.memory import gpu_of, peak_memory_gb, start_peak
from raybench.trial.neighbours import Watch
from raybench.trial.randomness import seed_all
from raybench.trial.timing import (
    CAREFUL,
    Effort,
    quantile_ms,
    time_each,
    time_together,
    wait,
    warm_up,
)

BATCH = 32
ENERGY_S = 2.0
"""NVML's counter moves every 20 to 100 ms, so a loop must be much longer."""


def measure_profile(
    backbone: BackboneSpec,
    image_size: int,
    recipe: Recipe | None = None,
    device: str = "auto",
    threads: int = 1,
    effort: Effort = CAREFUL,
) -> Profile:
    """Inference of 1 and of ``BATCH`` images, and a training step of ``BATCH``.

    A fresh process measures best: peaks of memory are the process's.

    Args:
        backbone: name and arguments; its weights are random, with ``CLASSES`` classes.
        image_size: side of the square images in pixels.
        recipe: how the step trains, ``BATCH`` images at a time; None: AdamW and nothing else.
        device: as in a sweep file.
        threads: of the CPU.
        effort: how long to time each.

    Raises:
        DataError: the model cannot be built for this size.
        UserInputError: a device or number format that is not here.
    """
    place, threads_before = pick_device(device), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _measure(backbone, _sized(recipe or Recipe(), image_size), place, effort)
    finally:
        torch.set_num_threads(threads_before)
        free_memory()


def _sized(recipe: Recipe, image_size: int) -> Recipe:
    return recipe.model_copy(update={"image_size": image_size, "batch_size": BATCH})


def _measure(spec: BackboneSpec, recipe: Recipe, device: torch.device, effort: Effort) -> Profile:
    seed_all(0, "measure")
    built = build_backbone(spec, CLASSES, recipe.image_size, recipe.drop_path, load=False)
    start_peak(device)
    learner = make_learner(built, CLASSES, recipe, device)
    bench = Bench(learner, recipe.image_size, device, gpu_of(device), effort)
    watch = Watch(device)
    single, batched = (bench.time_inference(count) for count in (1, BATCH))
    training = bench.time_training(BATCH)
    verdict = watch.verdict()
    macs, activations = _counts(spec, recipe.image_size)
    return Profile(
        backbone=without_tag(spec.name),
        kwargs=spec.kwargs,
        image_size=recipe.image_size,
        classes=CLASSES,
        device=device_name(device),
        precision=learner.precision.name,
        threads=torch.get_num_threads(),
        parameters=int(built.facts["parameters"]),
        macs=macs,
        activations=activations,
        single=single,
        batched=batched,
        training=training,
        shared=verdict.shared,
        seen=verdict.seen,
        at=time.time(),
        versions=versions(device),
    )


@dataclass(frozen=True, slots=True)
class Bench:
    """One learner on its device, ready to be timed."""

    learner: Learner
    image_size: int
    device: torch.device
    gpu: Gpu | None
    effort: Effort

    def time_inference(self, batch_size: int) -> Timing | None:
        """Of ``batch_size`` images; None: they do not fit into memory."""
        self.learner.evaluated.eval()
        return self._time(lambda images, labels: self.learner.predict(images), batch_size)

    def time_training(self, batch_size: int) -> Timing | None:
        """Of one optimizer step; None: it does not fit into memory."""
        self.learner.model.train()
        return self._time(self._train, batch_size)

    def _train(self, images: Tensor, labels: Tensor) -> None:
        self.learner.step(images.clone(), labels, TINY_RATE, 1)  # mixing changes them in place

    def _time(self, call: Callable[[Tensor, Tensor], object], batch_size: int) -> Timing | None:
        timing = unless_too_large(partial(self._time_fitting, call, batch_size))
        self.learner.optimizer.zero_grad(set_to_none=True)
        start_peak(self.device)
        return timing

    def _time_fitting(self, call: Callable[[Tensor, Tensor], object], batch_size: int) -> Timing:
        shape = (batch_size, 3, self.image_size, self.image_size)
        images = torch.randn(shape, device=self.device).contiguous(
            memory_format=torch.channels_last
        )
        labels = torch.randint(0, CLASSES, (batch_size,), device=self.device)
        work = partial(call, images, labels)
        warm_up(work, self.device, self.effort)
        seconds = time_each(work, self.device, self.effort)
        together_s, energy = self._time_together(work, seconds)
        return Timing(
            batch_size=batch_size,
            median_ms=quantile_ms(seconds, 0.5),
            p95_ms=quantile_ms(seconds, 0.95),
            count=len(seconds),
            images_per_s=batch_size / together_s,
            peak_memory_gb=peak_memory_gb(self.device),
            energy_j=None if energy is None else energy / batch_size,
        )

    def _time_together(
        self, work: Callable[[], object], seconds: list[float]
    ) -> tuple[float, float | None]:
        """Seconds and joules of one call among many back to back; a CPU never runs ahead of us."""
        mean_s = sum(seconds) / len(seconds)
        if self.device.type == "cpu":
            return mean_s, None
        calls = max(len(seconds), int(min(ENERGY_S, self.effort.longest_s) / mean_s) + 1)
        wait(self.device)
        before = None if self.gpu is None else energy_j(self.gpu)
        together_s = time_together(work, self.device, calls)
        after = None if self.gpu is None else energy_j(self.gpu)
        spent = None if before is None or after is None else (after - before) / calls
        return together_s / calls, spent


def _counts(spec: BackboneSpec, image_size: int) -> tuple[int | None, int | None]:
    """MACs and activations; None for what is written so that it cannot be counted."""
    try:
        found = measure_built(spec, image_size)
    except (RaybenchError, AssertionError, AttributeError, RuntimeError, TypeError, ValueError):
        return None, None
    return found.macs, found.activations
