"""What a plan will cost, as far as it can be known without running anything.

Trials and epochs are exact upper bounds. Seconds come from what this home has measured of the same
backbone at the same image size, else from its multiply-adds at a rate that is named (``costs``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raybench.costs import REFERENCE, Costs, read_costs
from raybench.datasets.folders import DatasetCounts, check_dataset, count_dataset
from raybench.fields import SUBSET_PATTERN
from raybench.plan import Pair, Plan, make_plan
from raybench.settings import Settings
from raybench.spec import SweepSpec

SMALL_TEST_IMAGES = 2000
CROSS_VALIDATE_BELOW = 2000
WEIGHT_BYTES = 4


@dataclass(frozen=True, slots=True)
class PairEstimate:
    """One pair's work. Hours and gigabytes are None where nothing is known of the backbone.

    ``measured``: the hours rest on this home's trials of the same backbone and image size.
    """

    pair: Pair
    search_trials: int
    final_trials: int
    epochs: int
    train_images: int | None
    test_images: int | None
    images: int | None
    device_hours: float | None
    measured: bool
    checkpoint_gb: float | None


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """A whole plan. ``device_hours`` counts the pairs that could be estimated."""

    plan: Plan
    pairs: tuple[PairEstimate, ...]
    usd_per_hour: float | None
    basis: str = REFERENCE

    @property
    def device_hours(self) -> float | None:
        known = [p.device_hours for p in self.pairs if p.device_hours is not None]
        return sum(known) if known else None

    @property
    def unmeasured_pairs(self) -> int:
        """Pairs whose hours rest on multiply-adds."""
        return sum(p.device_hours is not None and not p.measured for p in self.pairs)

    @property
    def unknown_pairs(self) -> int:
        return sum(pair.device_hours is None for pair in self.pairs)

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
        tuned = spec.space.get("batch_size")
        largest = int(tuned.high) if tuned else spec.recipe.batch_size
        return sorted(
            {p.pair.task for p in self.pairs if p.train_images and p.train_images < largest}
        )

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
            "device_hours": self.device_hours,
            "device_hours_basis": self.basis if self.unmeasured_pairs else "measured",
            "pairs_without_estimate": self.unknown_pairs,
            "small_datasets": self.small_datasets(),
            "usd": self.usd,
            "test_interval_halfwidth": {k: v[1] for k, v in self.small_tests().items()},
            "pairs": [
                {
                    "id": p.pair.id,
                    "backbone": p.pair.title,
                    "dataset": p.pair.dataset.name,
                    "subset": p.pair.subset,
                    "search_trials": p.search_trials,
                    "final_trials": p.final_trials,
                    "epochs": p.epochs,
                    "train_images": p.train_images,
                    "test_images": p.test_images,
                    "device_hours": p.device_hours,
                    "measured": p.measured,
                    "folds": p.pair.folds,
                    "checkpoint_gb": p.checkpoint_gb,
                }
                for p in self.pairs
            ],
        }


def estimate_plan(
    spec: SweepSpec, settings: Settings, usd_per_hour: float | None = None
) -> PlanEstimate:
    """Expand the spec and put a price on each pair."""
    on_cpu = spec.device == "cpu" or spec.resources.gpus == 0
    plan, costs = make_plan(spec), read_costs(settings, on_cpu)
    counts = {dataset.name: count_dataset(dataset) for dataset in spec.datasets}
    pairs = tuple(_estimate(spec, pair, counts[pair.dataset.name], costs) for pair in plan.pairs)
    return PlanEstimate(plan, pairs, usd_per_hour, costs.basis)


def _estimate(
    spec: SweepSpec,
    pair: Pair,
    counts: DatasetCounts | None,
    costs: Costs,
) -> PairEstimate:
    finals = pair.final_trials
    epochs = (pair.quota + finals) * spec.recipe.epochs
    images = None if counts is None else _subset_images(counts, pair.subset)
    size = spec.recipe.image_size
    parameters, epoch = costs.parameters(pair, size), None
    if counts is not None and images is not None:
        epoch = costs.epoch_seconds(pair, size, images, counts.val)
    hours = None
    if epoch is not None:
        share = spec.resources.gpus if isinstance(spec.resources.gpus, float) else 1.0
        hours = epoch[0] * epochs * ((share or 1.0) if epoch[1] else 1.0) / 3600
    trials = pair.quota + finals
    return PairEstimate(
        pair=pair,
        search_trials=pair.quota,
        final_trials=finals,
        epochs=epochs,
        train_images=images,
        test_images=None if counts is None else counts.test,
        images=None if counts is None else counts.total,
        device_hours=hours,
        measured=epoch is not None and epoch[1],
        checkpoint_gb=None if parameters is None else parameters * WEIGHT_BYTES * trials / 1e9,
    )


def _subset_images(counts: DatasetCounts, subset: str) -> int:
    match = SUBSET_PATTERN.match(subset)
    assert match is not None  # validated
    if match["percent"]:
        return max(counts.classes, round(counts.train * float(match["percent"]) / 100))
    if match["shots"]:
        return int(match["shots"]) * counts.classes
    return counts.train
