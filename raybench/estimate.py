"""What a plan will cost, as far as it can be known without running anything.

Trials and epochs are exact upper bounds. Seconds come from what this home has measured of the same
backbone at the same image size; where it has measured nothing, the estimate is absent, not made up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raybench.datasets.folders import DatasetCounts, count_dataset
from raybench.errors import HomeError
from raybench.fields import SUBSET_PATTERN
from raybench.plan import Pair, Plan, make_plan
from raybench.settings import Settings
from raybench.spec import SweepSpec

SMALL_TEST_IMAGES = 2000
WEIGHT_BYTES = 4


@dataclass(frozen=True, slots=True)
class PairEstimate:
    """One pair's work. Hours and gigabytes are None where nothing comparable was measured."""

    pair: Pair
    search_trials: int
    final_trials: int
    epochs: int
    train_images: int | None
    test_images: int | None
    device_hours: float | None
    checkpoint_gb: float | None


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """A whole plan. ``device_hours`` counts the pairs that could be estimated."""

    plan: Plan
    pairs: tuple[PairEstimate, ...]
    usd_per_hour: float | None

    @property
    def device_hours(self) -> float | None:
        known = [p.device_hours for p in self.pairs if p.device_hours is not None]
        return sum(known) if known else None

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
            "pairs_without_estimate": self.unknown_pairs,
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
                    "checkpoint_gb": p.checkpoint_gb,
                }
                for p in self.pairs
            ],
        }


@dataclass(frozen=True, slots=True)
class _Measured:
    seconds_per_image: float
    parameters: float | None


def estimate_plan(
    spec: SweepSpec, settings: Settings, usd_per_hour: float | None = None
) -> PlanEstimate:
    """Expand the spec and put a price on each pair where this home knows one."""
    plan = make_plan(spec)
    measured = _measurements(settings)
    counts = {dataset.name: count_dataset(dataset) for dataset in spec.datasets}
    pairs = tuple(_estimate(spec, pair, counts[pair.dataset.name], measured) for pair in plan.pairs)
    return PlanEstimate(plan, pairs, usd_per_hour)


def _estimate(
    spec: SweepSpec,
    pair: Pair,
    counts: DatasetCounts | None,
    measured: Mapping[tuple[str, int], _Measured],
) -> PairEstimate:
    finals = pair.final_trials
    epochs = (pair.quota + finals) * spec.recipe.epochs
    images = None if counts is None else _subset_images(counts, pair.subset)
    known = measured.get((pair.title, spec.recipe.image_size))
    hours = gigabytes = None
    if known is not None:
        if known.parameters is not None:
            gigabytes = known.parameters * WEIGHT_BYTES * (pair.quota + finals) / 1e9
        if images is not None:
            share = spec.resources.gpus if isinstance(spec.resources.gpus, float) else 1.0
            hours = known.seconds_per_image * images * epochs * (share or 1.0) / 3600
    return PairEstimate(
        pair=pair,
        search_trials=pair.quota,
        final_trials=finals,
        epochs=epochs,
        train_images=images,
        test_images=None if counts is None else counts.test,
        device_hours=hours,
        checkpoint_gb=gigabytes,
    )


def _subset_images(counts: DatasetCounts, subset: str) -> int:
    match = SUBSET_PATTERN.match(subset)
    assert match is not None  # validated
    if match["percent"]:
        return max(counts.classes, round(counts.train * float(match["percent"]) / 100))
    if match["shots"]:
        return int(match["shots"]) * counts.classes
    return counts.train


def _measurements(settings: Settings) -> dict[tuple[str, int], _Measured]:
    """Backbone and image size -> device-seconds per training image, over the home's sweeps."""
    from raybench.sweep.reader import SweepReader, sweep_names
    from raybench.sweep.tables import open_engine

    path = settings.ledger_file
    if path is not None and not path.exists():
        return {}
    try:
        engine = open_engine(settings.ledger_url, create=False)
    except HomeError:
        return {}  # ``run`` and ``status`` say what is wrong with it; a plan needs no ledger
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    parameters: dict[tuple[str, int], float | None] = {}
    for name in sweep_names(engine):
        snapshot = SweepReader(engine, name).snapshot()
        size = int(snapshot.spec["recipe"]["image_size"])
        for pair in snapshot.pairs:
            images = float(pair.facts.get("train_images", 0))
            epochs = [record for trial in pair.trials for record in trial.epochs]
            if not images or not epochs:
                continue
            key = (pair.backbone, size)
            seconds[key].append(sum(r.duration_s for r in epochs) / (images * len(epochs)))
            known = pair.facts.get("parameters")  # the user's own models have none
            parameters[key] = None if known is None else float(known)
    engine.dispose()
    return {k: _Measured(sum(v) / len(v), parameters[k]) for k, v in seconds.items()}
