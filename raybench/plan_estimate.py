"""What a plan says it will cost: values, their totals, and how ``plan --json`` shows them.

Early stopping is not foreseen, so everything here is the most that it can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raybench.costs import Basis, Price
from raybench.datasets.folders import check_dataset
from raybench.plan import Pair, Plan
from raybench.rates import REFERENCE
from raybench.wall_time import Work, wall_seconds

SMALL_TEST_IMAGES = 2000
CROSS_VALIDATE_BELOW = 2000
START_S = 25.0
"""To the first trial: Ray's start, every model built once, workers that import torch."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What a plan is for.

    Attributes:
        count: GPUs; on CPU trials at once. here: this machine's, else as told.
    """

    count: int
    on_cpu: bool
    here: bool


@dataclass(frozen=True, slots=True)
class PairEstimate:
    """One pair's work. Hours and gigabytes are None where nothing is known of the backbone.

    ``device_hours``: all the time that its trials hold a device, times their share of it.
    ``price``: of one trial. ``work``: all of them, for the wall time.
    """

    pair: Pair
    search_trials: int
    final_trials: int
    epochs: int
    train_images: int | None
    test_images: int | None
    images: int | None
    device_hours: float | None
    price: Price | None
    work: Work | None
    checkpoint_gb: float | None

    @property
    def basis(self) -> Basis | None:
        """What the hours rest on."""
        return None if self.price is None else self.price.basis

    @property
    def measured(self) -> bool:
        """Whether the hours rest on this home's trials of the same backbone and image size."""
        return self.basis == "trials"


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """A whole plan. ``device_hours`` and ``wall_s`` count the pairs that could be estimated."""

    plan: Plan
    pairs: tuple[PairEstimate, ...]
    usd_per_hour: float | None
    devices: Devices
    basis: str = REFERENCE

    @property
    def device_hours(self) -> float | None:
        known = [p.device_hours for p in self.pairs if p.device_hours is not None]
        return sum(known) if known else None

    @property
    def work(self) -> list[Work]:
        return [pair.work for pair in self.pairs if pair.work is not None]

    @property
    def wall_s(self) -> float | None:
        """Wall seconds of the sweep on ``devices``, at most."""
        return START_S + wall_seconds(self.work, self.devices.count) if self.work else None

    @property
    def least_wall_s(self) -> float | None:
        """What no number of devices makes shorter: the longest pair's trials that must wait."""
        return START_S + max(work.chain_s for work in self.work) if self.work else None

    @property
    def checkpoint_gb(self) -> float | None:
        """Best weights that are kept: of all trials, or of the finals (``keep``)."""
        known = [p.checkpoint_gb for p in self.pairs if p.checkpoint_gb is not None]
        return sum(known) if known else None

    def count_basis(self, basis: Basis | None) -> int:
        """Pairs whose hours rest on it; None: those of which nothing is known."""
        return sum(pair.basis == basis for pair in self.pairs)

    @property
    def usd(self) -> float | None:
        if self.usd_per_hour is None or self.device_hours is None:
            return None
        return self.device_hours * self.usd_per_hour

    def small_tests(self) -> dict[str, tuple[int, float]]:
        """Task -> test images and half width of their 95% interval, for small test splits."""
        from raybench.analysis.intervals import proportion_halfwidth

        return {
            p.pair.dataset.name: (p.test_images, proportion_halfwidth(p.test_images, 0.9))
            for p in self.pairs
            if p.test_images and p.test_images < SMALL_TEST_IMAGES
        }

    def oversized_batches(self) -> list[str]:
        """Tasks with fewer training images than a batch has, which ``run`` refuses."""
        spec = self.plan.spec
        if spec.recipe.method != "finetune":
            return []
        small = (p for p in self.pairs if p.train_images and p.train_images < spec.largest_batch)
        return sorted({p.pair.task for p in small})

    def small_datasets(self) -> list[str]:
        """Data sets too small for one test split, which could be cross-validated instead."""
        names = {
            p.pair.dataset.name
            for p in self.pairs
            if p.images is not None
            and p.images < CROSS_VALIDATE_BELOW
            and p.pair.folds == 1
            and not check_dataset(p.pair.dataset.model_copy(update={"folds": 5, "split": None}))
        }
        return sorted(names)

    def as_json(self) -> dict[str, Any]:
        spec = self.plan.spec
        return {
            "sweep": spec.name,
            "trials": {"search": self.plan.search_trials, "final": self.plan.final_trials},
            "quota": {
                "trials": spec.budget.trials,
                "device_hours": spec.budget.device_hours,
                "wall_clock_s": spec.budget.wall_clock_s,
            },
            "resources": spec.resources.model_dump(mode="json"),
            "devices": self.devices.count,
            "device": "cpu" if self.devices.on_cpu else "gpu",
            "device_hours": self.device_hours,
            "device_hours_basis": self.basis if self.count_basis("multiply-adds") else "measured",
            "pairs_without_estimate": self.count_basis(None),
            "wall_s": self.wall_s,
            "least_wall_s": self.least_wall_s,
            "checkpoint_gb": self.checkpoint_gb,
            "small_datasets": self.small_datasets(),
            "usd": self.usd,
            "test_interval_halfwidth": {k: v[1] for k, v in self.small_tests().items()},
            "pairs": [_pair_json(pair) for pair in self.pairs],
        }


def _pair_json(estimate: PairEstimate) -> dict[str, Any]:
    pair = estimate.pair
    return {
        "id": pair.id,
        "backbone": pair.title,
        "dataset": pair.dataset.name,
        "subset": pair.subset,
        "search_trials": estimate.search_trials,
        "final_trials": estimate.final_trials,
        "epochs": estimate.epochs,
        "train_images": estimate.train_images,
        "test_images": estimate.test_images,
        "device_hours": estimate.device_hours,
        "measured": estimate.measured,
        "basis": estimate.basis,
        "folds": pair.folds,
        "checkpoint_gb": estimate.checkpoint_gb,
    }
