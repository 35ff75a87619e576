"""The plan as a table: what will run, what it is estimated to cost, how sharp the test will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.analysis import numbers
from raybench.plan_estimate import CROSS_VALIDATE_BELOW
from raybench.report.grid import grid

if TYPE_CHECKING:
    from raybench.plan_estimate import PairEstimate, PlanEstimate
    from raybench.spec import SweepSpec

COLUMNS = {
    "task": "left",
    "backbone": "left",
    "search": "right",
    "final": "right",
    "epochs": "right",
    "train": "right",
    "test": "right",
    "device": "right",
}


def plan_table(estimate: PlanEstimate) -> RenderableType:
    """One row per pair, then the totals in sentences."""
    spec = estimate.plan.spec
    title = f"{spec.name}: {numbers.plural(len(estimate.pairs), 'pair')}"
    rows = [_cells(pair) for pair in estimate.pairs]
    notes = [Text(line, style="dim") for line in _notes(estimate)]
    return Group(grid(title, COLUMNS, rows), *notes)


def _cells(pair: PairEstimate) -> tuple[str, ...]:
    hours = pair.device_hours
    return (
        pair.pair.task,
        pair.pair.title,
        str(pair.search_trials),
        str(pair.final_trials),
        str(pair.epochs),
        "?" if pair.train_images is None else f"{pair.train_images:,}",
        "?" if pair.test_images is None else f"{pair.test_images:,}",
        "?" if hours is None else numbers.duration(hours * 3600),
    )


def _notes(estimate: PlanEstimate) -> list[str]:
    spec, plan = estimate.plan.spec, estimate.plan
    resources = spec.resources
    lines = [
        f"{numbers.plural(plan.search_trials, 'search trial')} and "
        f"{numbers.plural(plan.final_trials, 'final')}, "
        f"each with {numbers.plural(resources.cpus, 'core')} and gpus {_share(resources.gpus)}; "
        f"epochs are the most there can be{_stopping(spec)}.",
    ]
    limits = []
    if spec.budget.device_hours is not None:
        limits.append(f"{spec.budget.device_hours:g} device-hours per pair")
    if spec.budget.wall_clock is not None:
        limits.append(f"{spec.budget.wall_clock} of wall clock for the whole sweep")
    if limits:
        lines.append(f"Budget: at most {' and '.join(limits)}.")
    lines += _cost(estimate)
    if tasks := estimate.oversized_batches():
        lines.append(
            f"'run' will refuse {numbers.listing(tasks)}: a batch is larger than the training "
            "split."
        )
    if small := estimate.small_datasets():
        lines.append(
            f"Fewer than {CROSS_VALIDATE_BELOW:,} images: {numbers.listing(small)}. With "
            "'folds: 5' every image is tested once (finals: seeds x folds)."
        )
    for name, (images, half) in estimate.small_tests().items():
        lines.append(
            f"{name}: {images:,} test images; near 90% accuracy their 95% interval is "
            f"±{100 * half:.1f} points, so smaller gaps are no evidence on one seed."
        )
    return lines


def _stopping(spec: SweepSpec) -> str:
    stops = spec.search.early_stop != "none" and spec.recipe.method == "finetune"
    return ", early stopping saves some" if stops else ""


def _share(gpus: str | float) -> str:
    return gpus if isinstance(gpus, str) else f"{gpus:g}"


def _cost(estimate: PlanEstimate) -> list[str]:
    hours = estimate.device_hours
    if hours is None:
        lines = ["Device time: unknown; nothing comparable has run in this home yet."]
    else:
        lines = [f"{_device_time(estimate, hours)}.", *_wall_time(estimate)]
    if estimate.checkpoint_gb:
        lines.append(f"Best weights kept: about {estimate.checkpoint_gb:.1f} GB.")
    return lines


def _device_time(estimate: PlanEstimate, hours: float) -> str:
    text = f"Device time: at most about {numbers.duration(hours * 3600)}"
    bases = [
        ("multiply-adds", f"by multiply-adds at {estimate.basis}: a rough guess"),
        ("probe", "by a short run of the network alone"),
    ]
    parts = [
        f"{numbers.plural(count, 'pair')} {words}"
        for basis, words in bases
        if (count := estimate.count_basis(basis))  # type: ignore[arg-type]
    ]
    if parts:
        text += f" ({'; '.join(parts)})"
    if unknown := estimate.count_basis(None):
        text += f" without {numbers.plural(unknown, 'pair')} that nothing is known of"
    if estimate.usd is not None:
        text += f", {estimate.usd:.2f} USD"
    return text


def _wall_time(estimate: PlanEstimate) -> list[str]:
    """On the devices that the plan is for, and what no number of them makes shorter."""
    wall_s, least_s = estimate.wall_s, estimate.least_wall_s
    assert wall_s is not None and least_s is not None, "device hours are known"
    lines = [
        f"Wall time: at most about {numbers.duration(wall_s)} on {_places(estimate)}; however many "
        f"there are, {numbers.duration(least_s)}, since a pair's finals wait for its search."
    ]
    limit_s = estimate.plan.spec.budget.wall_clock_s
    if limit_s is not None and wall_s > limit_s:
        lines.append(
            f"budget.wall_clock ({estimate.plan.spec.budget.wall_clock}) may end the search first; "
            "time for the finals is kept back."
        )
    return lines


def _places(estimate: PlanEstimate) -> str:
    devices, cpus = estimate.devices, estimate.plan.spec.resources.cpus
    if not devices.on_cpu:
        return f"{numbers.plural(devices.count, 'GPU')}{' of this machine' if devices.here else ''}"
    cores = numbers.plural(devices.count * cpus, "core")
    if not devices.here:
        return f"{cores} ({numbers.plural(devices.count, 'trial')} at once)"
    declined = estimate.plan.spec.device == "cpu" or estimate.plan.spec.resources.gpus == 0
    return f"{cores} of this machine{'' if declined else ', which has no GPU (--devices N: on N)'}"
