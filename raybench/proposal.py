"""One folder of images and a time budget: what sweep would answer which backbone to take?

Every candidate's training step is timed on this machine; then the richest design that fits is
taken from a fixed order of preference. ``proposal_file`` writes it down with its reasons.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from raybench.backbones.cards import GROUPS
from raybench.datasets.folders import DatasetCounts, check_dataset, count_dataset
from raybench.errors import DataError, ResourceError, TooLargeError, UserInputError
from raybench.settings import Settings
from raybench.spec import BackboneSpec, DatasetSpec, Recipe
from raybench.trial.footprint import measure_footprint

Tell = Callable[[str], None]

SIZES = (224, 160, 128, 96, 64)
CPU_LARGEST = 128
"""Above it, a fine-tune on a few cores takes hours whatever the network."""
MOST_PER_BATCH = 32
STEPS_WANTED = 400
"""Optimizer steps of one trial: enough for a pretrained network to settle on a small set."""
EPOCHS = (4, 20)
USABLE = {"gpu": 0.7, "cpu": 0.55}
"""Part of the budget to plan with: set-up, checkpoints, and trials that slow each other down, on
the CPU most (a core was timed while the others rested).
"""
START_S, TRIAL_S = 25.0, 0.5
"""Start of a sweep, and what a trial costs beside its images (``docs/performance.md``)."""
CROSS_VALIDATE_BELOW = 1000
FOLDS = 5
SAMPLED_IMAGES = 200
LEAST_BACKBONES = 2


@dataclass(frozen=True, slots=True)
class Speed:
    """Wall seconds per image."""

    train_s: float
    evaluate_s: float


@dataclass(frozen=True, slots=True)
class Design:
    """What one level of the preference order asks for."""

    backbones: int
    trials: int
    image_size: int
    subset: str = "full"
    method: str = "finetune"
    epoch_factor: float = 1.0

    @property
    def part(self) -> float:
        """Of the training images."""
        return 1.0 if self.subset == "full" else float(self.subset.rstrip("%")) / 100


@dataclass(frozen=True, slots=True)
class Proposal:
    """A design for one data set, and what it was chosen by.

    Attributes:
        dataset: name and absolute path. counts: its images.
        short_side: median, of the images as they lie there, in pixels.
        backbones: the shortlist, fastest first. left_out: name -> reason.
        epochs, final_seeds, folds: what a trial and the finals are. folds: None without.
        cores, gpus: of this machine. cost_s: planned wall seconds. budget: as the user wrote it.
        wall_clock_s: what was left of it when the backbones had been timed.
    """

    dataset: DatasetSpec
    counts: DatasetCounts
    short_side: int
    design: Design
    backbones: tuple[BackboneSpec, ...]
    left_out: Mapping[str, str]
    batch_size: int
    epochs: int
    final_seeds: tuple[int, ...]
    folds: int | None
    cores: int
    gpus: int
    cost_s: float
    budget: str
    wall_clock_s: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What ``run`` was told to use of the machine; None: all of it."""

    inline: bool = False
    cpus: int | None = None
    gpus: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _Machine:
    cores: int
    gpus: int
    inline: bool = False

    @property
    def slots(self) -> int:
        """Trials at once: one a GPU, or one a core."""
        return 1 if self.inline else self.gpus or self.cores

    @property
    def usable(self) -> float:
        return USABLE["gpu" if self.gpus else "cpu"]


def propose(
    dataset: DatasetSpec,
    budget: str,
    budget_s: float,
    settings: Settings,
    tell: Tell,
    limits: Limits = NO_LIMITS,
) -> Proposal:
    """The richest sweep of ``dataset`` that fits ``budget_s`` wall seconds on this machine.

    What timing the backbones takes is the budget's, too.

    Raises:
        DataError: the folder cannot be used. UserInputError: the budget holds nothing useful.
        ResourceError: the weights of fewer than two candidates can be had.
    """
    counts = _counts(dataset)
    short_side = _short_side(dataset)
    started = time.monotonic()
    machine = _machine(limits)
    sizes = _sizes(short_side, machine)
    candidates, left_out = _available(machine, settings, tell)
    speeds, too_large = _speeds(candidates, counts.classes, sizes[0], tell)
    left_out |= too_large
    folds = FOLDS if _can_cross(counts, dataset) else None
    left_s = budget_s - (time.monotonic() - started)
    usable_s = machine.usable * left_s - START_S
    for design in _designs(len(speeds), sizes):
        chosen = _fastest(speeds, design.backbones)
        epochs = _epochs(counts, design)
        seeds = _seeds(design, folds)
        cost_s = _cost_s(
            [_scaled(speeds[key], design.image_size / sizes[0]) for key in chosen],
            counts, design, epochs, len(seeds) * (folds or 1), machine,
        )  # fmt: skip
        if cost_s <= usable_s:
            shortlist = tuple(candidates[key] for key in chosen)
            slower = {key: "slower; does not fit the budget" for key in speeds.keys() - set(chosen)}
            return Proposal(
                dataset, counts, short_side, design, shortlist, dict(left_out) | slower,
                _batch_size(counts, design), epochs,
                seeds, folds, machine.cores, machine.gpus, cost_s, budget, int(left_s),
            )  # fmt: skip
    raise UserInputError(
        f"--budget {budget} is too short for {counts.total:,} images on this machine: the least "
        f"takes about {math.ceil((cost_s + START_S) / machine.usable / 60)}m; give more time, or "
        "fewer images"
    )


def _counts(dataset: DatasetSpec) -> DatasetCounts:
    mistakes = check_dataset(dataset)
    counts = None if mistakes else count_dataset(dataset)
    if counts is None:
        raise DataError(mistakes)
    return counts


def _short_side(dataset: DatasetSpec) -> int:
    """Median short side of up to ``SAMPLED_IMAGES`` images, by their headers."""
    from raybench.datasets.decode import picture_size
    from raybench.datasets.folders import list_images

    images = list_images(dataset).images
    sides = []
    for image in images[:: max(1, len(images) // SAMPLED_IMAGES)]:
        try:
            sides.append(min(picture_size(image.path)))
        except (OSError, ValueError):
            continue  # the audit, which follows, names every file that cannot be read
    if not sides:
        raise DataError(f"{dataset.path}: no image could be opened; 'raybench check' says why")
    return sorted(sides)[len(sides) // 2]


def _machine(limits: Limits) -> _Machine:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return _Machine(
        min(cores or 1, limits.cpus or cores or 1),
        gpus if limits.gpus is None else min(gpus, limits.gpus),
        limits.inline,
    )


def _sizes(short_side: int, machine: _Machine) -> list[int]:
    """Image sizes worth trying, largest first: no larger than the images are, nor the machine."""
    largest = SIZES[0] if machine.gpus else CPU_LARGEST
    return [size for size in SIZES if size <= min(short_side, largest)] or [SIZES[-1]]


def _available(
    machine: _Machine, settings: Settings, tell: Tell
) -> tuple[dict[str, BackboneSpec], dict[str, str]]:
    """Candidates whose pretrained weights are here or can be fetched, and why the others are not.

    Raises:
        ResourceError: there are fewer than two.
    """
    from raybench.backbones.resolve import resolve_weights

    found: dict[str, BackboneSpec] = {}
    left_out: dict[str, str] = {}
    error: Exception | None = None
    for spec in GROUPS["@modern" if machine.gpus else "@small"]:
        try:
            resolve_weights(spec, settings.weights_dir, tell)
        except (DataError, ResourceError) as problem:
            left_out[spec.name] = "its weights are neither here nor can they be fetched"
            tell(f"left out: {spec.name}: {left_out[spec.name]}")
            error = problem
            continue
        found[spec.name] = spec
    if len(found) < LEAST_BACKBONES:
        raise ResourceError(
            f"a comparison needs {LEAST_BACKBONES} backbones, and the pretrained weights of "
            f"{len(found)} of {len(found) + len(left_out)} candidates can be had; the last one: "
            f"{error}"
        )
    return found, left_out


def _speeds(
    candidates: Mapping[str, BackboneSpec], classes: int, image_size: int, tell: Tell
) -> tuple[dict[str, Speed], dict[str, str]]:
    """Measured here, and why some could not be.

    Raises:
        TooLargeError: fewer than two fit into the device's memory.
    """
    speeds: dict[str, Speed] = {}
    too_large: dict[str, str] = {}
    recipe = Recipe(image_size=image_size, batch_size=MOST_PER_BATCH)
    for key, spec in candidates.items():
        try:
            found = measure_footprint(spec, classes, recipe)
        except TooLargeError as problem:
            too_large[key] = str(problem)
            tell(f"left out: {key}: {problem}")
            continue
        speeds[key] = Speed(found.train_s, found.evaluate_s)
        tell(f"speed: {key} trains on {1 / found.train_s:.0f} images/s at {image_size} px")
    if len(speeds) < LEAST_BACKBONES:
        raise TooLargeError(too_large.values())
    return speeds, too_large


def _can_cross(counts: DatasetCounts, dataset: DatasetSpec) -> bool:
    """Small and without splits of its own: then every image should be tested once."""
    if counts.total >= CROSS_VALIDATE_BELOW or counts.total < FOLDS * counts.classes:
        return False
    return not check_dataset(dataset.model_copy(update={"folds": FOLDS}))


def _designs(available: int, sizes: Sequence[int]) -> Iterator[Design]:
    """From rich to poor: trials and backbones go first, then pixels, steps, and images last."""
    for factor in (1.0, 0.5):
        for size in sizes:
            for backbones, trials in ((6, 12), (6, 8), (5, 8), (4, 8), (4, 6), (3, 6), (3, 5)):
                yield Design(min(backbones, available), trials, size, epoch_factor=factor)
    for factor, subset in ((0.5, "full"), (0.25, "full"), (0.25, "50%"), (0.25, "25%")):
        for backbones, trials in ((3, 3), (2, 5), (2, 3)):
            yield Design(min(backbones, available), trials, sizes[-1], subset, epoch_factor=factor)
    for backbones in (6, 4, 2):
        yield Design(min(backbones, available), 8, sizes[-1], method="linear_probe")


def _fastest(speeds: Mapping[str, Speed], count: int) -> list[str]:
    return sorted(speeds, key=lambda key: speeds[key].train_s)[:count]


def _scaled(speed: Speed, factor: float) -> Speed:
    """At another side of the image; work grows with its area."""
    return Speed(speed.train_s * factor**2, speed.evaluate_s * factor**2)


def _batch_size(counts: DatasetCounts, design: Design) -> int:
    """The largest power of two up to ``MOST_PER_BATCH`` that gives at least four steps an epoch."""
    images = int(counts.train * design.part)
    fitting = [size for size in (32, 16, 8, 4, 2) if 4 * size <= images]
    return min(MOST_PER_BATCH, fitting[0]) if fitting else 1


def _epochs(counts: DatasetCounts, design: Design) -> int:
    if design.method != "finetune":
        return 1
    steps = max(1.0, counts.train * design.part / _batch_size(counts, design))
    wanted = design.epoch_factor * STEPS_WANTED / steps
    return min(EPOCHS[1], max(EPOCHS[0], math.ceil(wanted)))


def _seeds(design: Design, folds: int | None) -> tuple[int, ...]:
    """Nothing is drawn in a probe; with folds, these are the repetitions."""
    return (0,) if design.method != "finetune" or folds else (0, 1, 2)


def _cost_s(
    speeds: Sequence[Speed],
    counts: DatasetCounts,
    design: Design,
    epochs: int,
    finals: int,
    machine: _Machine,
) -> float:
    """Wall seconds of the whole sweep, all slots busy."""
    train = counts.train * design.part
    work = 0.0
    for speed in speeds:
        if design.method == "linear_probe":
            work += counts.total * speed.evaluate_s + (design.trials + finals) * TRIAL_S
            continue
        epoch = train * speed.train_s + counts.val * speed.evaluate_s
        work += (design.trials + finals) * (epochs * epoch + TRIAL_S)
        work += finals * counts.test * speed.evaluate_s
    return work / machine.slots
