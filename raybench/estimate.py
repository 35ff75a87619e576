"""Puts a price on every pair of a plan, as far as that can be known without running anything.

Trials and epochs are exact upper bounds. Seconds come from what this home has measured of the same
backbone at the same image size, else from its multiply-adds at a rate that is named (``costs``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace

from raybench.costs import Costs, Images, Price, most_epochs
from raybench.datasets.folders import DatasetCounts, count_dataset
from raybench.fields import SUBSET_PATTERN
from raybench.gpus import local_gpus
from raybench.plan import Pair, make_plan
from raybench.plan_estimate import Devices, PairEstimate, PlanEstimate
from raybench.rates import WEIGHT_BYTES, weights_kept
from raybench.settings import Settings
from raybench.spec import SweepSpec
from raybench.sweep.history import read_costs
from raybench.sweep.progress import most_at_once
from raybench.wall_time import PARTS, Work


def estimate_plan(
    spec: SweepSpec,
    settings: Settings,
    usd_per_hour: float | None = None,
    devices: int | None = None,
) -> PlanEstimate:
    """Expand the spec and put a price on each pair.

    Args:
        spec: validated.
        settings: whose home is asked what it has measured.
        usd_per_hour: price of one device-hour.
        devices: GPUs (on CPU trials at once) for the wall time; None: what this machine has.
    """
    target = find_devices(spec, devices)
    plan, costs = make_plan(spec), read_costs(settings, target.on_cpu)
    counts = {dataset.name: count_dataset(dataset) for dataset in spec.datasets}
    pairs = tuple(_estimate(spec, pair, counts[pair.dataset.name], costs) for pair in plan.pairs)
    return PlanEstimate(plan, _charge_once(pairs), usd_per_hour, target, costs.basis)


def find_devices(spec: SweepSpec, told: int | None) -> Devices:
    """What is told, else what this machine offers to the sweep; without a GPU that is its cores."""
    on_cpu = spec.device == "cpu" or spec.resources.gpus == 0
    if told is not None:
        return Devices(told, on_cpu, here=False)
    gpus = 0 if on_cpu else len(local_gpus())
    if gpus or spec.device in ("cuda", "mps"):
        return Devices(max(1, gpus), on_cpu=False, here=bool(gpus) or spec.device == "mps")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Devices(max(1, (cores or 1) // spec.resources.cpus), on_cpu=True, here=True)


def _estimate(
    spec: SweepSpec, pair: Pair, counts: DatasetCounts | None, costs: Costs
) -> PairEstimate:
    images = None if counts is None else _images(counts, pair.subset)
    price = None if images is None else costs.price(pair, spec, images)
    work = None if price is None else _work(spec, pair, price, costs.on_cpu)
    return PairEstimate(
        pair=pair,
        search_trials=pair.quota,
        final_trials=pair.final_trials,
        epochs=(pair.quota + pair.final_trials) * most_epochs(spec),
        train_images=None if images is None else images.train,
        test_images=None if counts is None else counts.test,
        images=None if counts is None else counts.total,
        device_hours=None if price is None or work is None else work.alone_s * price.share / 3600,
        price=price,
        work=work,
        checkpoint_gb=_checkpoint_gb(spec, pair, costs.parameters(pair, spec)),
    )


def _charge_once(pairs: Sequence[PairEstimate]) -> tuple[PairEstimate, ...]:
    """A pass over the images is paid by the first pair that needs it; its subsets' share it."""
    seen: set[str] = set()
    charged = []
    for pair in pairs:
        if pair.work is not None and pair.price is not None and pair.work.features in seen:
            shared_h = pair.work.features_s * pair.price.share / 3600
            pair = replace(pair, device_hours=(pair.device_hours or 0.0) - shared_h)
        if pair.work is not None and pair.work.features:
            seen.add(pair.work.features)
        charged.append(pair)
    return tuple(charged)


def _work(spec: SweepSpec, pair: Pair, price: Price, on_cpu: bool) -> Work:
    """The pair's trials as its device-hours allow."""
    searches = pair.quota
    if spec.budget.device_hours is not None:
        trial_h = price.epochs_s * price.share / 3600
        searches = min(searches, math.ceil(spec.budget.device_hours / trial_h))
    return Work(
        searches=searches,
        search_s=price.search_s,
        finals=pair.final_trials,
        final_s=price.final_s,
        at_once=most_at_once(spec.search.sampler, pair.quota),
        ladder=len(pair.ladder),
        parts=PARTS if on_cpu else max(1, round(price.share * PARTS)),
        features=f"{pair.title} {pair.dataset.name}" if price.features_s else "",
        features_s=price.features_s,
    )


def _checkpoint_gb(spec: SweepSpec, pair: Pair, parameters: float | None) -> float | None:
    """Best weights that stay on disk."""
    if parameters is None:
        return None
    return parameters * WEIGHT_BYTES * weights_kept(spec, pair.quota, pair.final_trials) / 1e9


def _images(counts: DatasetCounts, subset: str) -> Images:
    return Images(_subset_images(counts, subset), counts.val, counts.test, counts.total)


def _subset_images(counts: DatasetCounts, subset: str) -> int:
    match = SUBSET_PATTERN.match(subset)
    assert match is not None  # validated
    if match["percent"]:
        return max(counts.classes, round(counts.train * float(match["percent"]) / 100))
    if match["shots"]:
        return int(match["shots"]) * counts.classes
    return counts.train
