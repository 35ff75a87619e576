"""Space: what a sweep has still to write, held against what is free there, before its first trial.

``least`` is what cannot be done without: weights that are kept, and one checkpoint. ``most`` is all
of it, if every trial runs to its end. Places on one file system are summed.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raybench.costs import most_epochs
from raybench.errors import ResourceError
from raybench.gpus import local_gpus
from raybench.plan import Pair, Plan
from raybench.rates import WEIGHT_BYTES, checkpoint_models, weights_kept
from raybench.records import PairRow, SweepSnapshot
from raybench.settings import Settings
from raybench.spec import SweepSpec
from raybench.sweep.options import RunOptions
from raybench.sweep.packing import SHARES
from raybench.sweep.progress import TERMINAL, search_owed
from raybench.sweep.ray_session import is_private
from raybench.sweep.retries import is_owed_again

CHECKPOINTS_AT_ONCE = 3
"""The last two of a running trial, and the one that is being written."""
RECORD_BYTES = 16_000
"""Of one epoch: 1.5 kB in the ledger and in each of six copies of it, 6 kB in MLflow's store."""
FEATURE_BYTES = 4 * 2048
"""Of one image; few backbones end wider."""
PREDICTION_BYTES = 64
"""Of one test image, beside its probabilities: label and file name."""
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes to be written below ``place``: ``least`` in any case, ``most`` if all trials run."""

    place: Path
    least: float
    most: float


def check_space(
    plan: Plan,
    settings: Settings,
    before: SweepSnapshot,
    facts: Mapping[str, Mapping[str, Any]],
    options: RunOptions,
    tell: Callable[[str], None],
) -> None:
    """Refuse what cannot fit; say where it is tight.

    On Ray with other nodes only the shared checkpoint root and this machine's home can be looked
    at; their caches are checked when they are written. Quotas are not seen. A backbone of unknown
    size (``python:``) counts as nothing.

    Raises:
        ResourceError: a file system has less room than the sweep needs at the least.
    """
    needs = space_needed(plan, settings, before, facts, options)
    thrifty = _keeping_winners(plan)
    refused = []
    for need in _by_file_system(needs):
        free = shutil.disk_usage(_existing(need.place)).free
        if need.least > free:
            less = space_needed(thrifty, settings, before, facts, options)
            is_scratch = settings.storage_url is not None
            refused.append(_refusal(need, free, plan.spec, _at(less, need.place), is_scratch))
        elif need.most > free:
            tell(
                f"little room: {_gb(free)} are free at {need.place}, and the sweep may write "
                f"about {_gb(need.most)} there; a full disk stops it until there is room again"
            )
    if refused:
        raise ResourceError(refused)


def space_needed(
    plan: Plan,
    settings: Settings,
    before: SweepSnapshot,
    facts: Mapping[str, Mapping[str, Any]],
    options: RunOptions,
) -> list[Need]:
    """What the trials that are still owed will write, by place; see ``check_space``."""
    known = {row.id: row for row in before.pairs}
    works = [_work(plan.spec, p, known.get(p.id), facts.get(p.id, {})) for p in plan.pairs]
    owed = [work.checkpoint for work in works if work.searches + work.finals]
    largest = max(owed, default=0.0)
    kept = sum(work.kept for work in works)
    bounded = plan.spec.budget.device_hours is not None or plan.spec.budget.wall_clock is not None
    certain = sum(work.kept_of_finals for work in works) if bounded else kept
    at_once = min(_at_once(plan, options), sum(work.searches + work.finals for work in works))
    stays = Need(settings.checkpoint_root, certain, kept + sum(work.predictions for work in works))
    running = Need(settings.checkpoint_root, largest, at_once * CHECKPOINTS_AT_ONCE * largest)
    needs = [
        *_of_checkpoints(stays, running, settings, options),
        Need(settings.home, 0.0, sum(work.records for work in works)),
        Need(settings.cache_dir, 0.0, sum(work.features for work in works)),
    ]
    root = None if settings.storage_url is not None else settings.artifact_root
    if root is not None and options.tracker is not None:
        copies = sum(work.weights for work in works if work.finals)
        needs.append(Need(Path(root), 0.0, copies))
    return needs


def _of_checkpoints(
    stays: Need, running: Need, settings: Settings, options: RunOptions
) -> list[Need]:
    """With an object store only what a running trial writes, where it runs on this machine."""
    if settings.storage_url is None:
        return [Need(stays.place, stays.least + running.least, stays.most + running.most)]
    return [running] if options.inline or is_private(options) else []


@dataclass(frozen=True, slots=True)
class _Work:
    """What one pair owes, and bytes: of one model's weights, one checkpoint, and of all the rest.

    ``kept``: best weights that stay, of searches and finals together.
    """

    searches: int
    finals: int
    weights: float
    checkpoint: float
    kept: float
    kept_of_finals: float
    predictions: float
    records: float
    features: float


def _work(spec: SweepSpec, pair: Pair, row: PairRow | None, facts: Mapping[str, Any]) -> _Work:
    searches, finals = _owed(pair, row)
    weights = float(facts.get("parameters", 0)) * WEIGHT_BYTES
    trains = spec.recipe.method == "finetune"
    images = sum(int(facts.get(f"{split}_images", 0)) for split in ("train", "val", "test"))
    probabilities = int(facts.get("classes", 0)) * 4
    return _Work(
        searches=searches,
        finals=finals,
        weights=weights,
        checkpoint=weights * checkpoint_models(spec) if trains else 0.0,
        kept=weights * weights_kept(spec, searches, finals),
        kept_of_finals=weights * weights_kept(spec, 0, finals),
        predictions=finals * int(facts.get("test_images", 0)) * (probabilities + PREDICTION_BYTES),
        records=(searches + finals) * most_epochs(spec) * RECORD_BYTES,
        features=0.0 if trains or not searches + finals else images * FEATURE_BYTES,
    )


def _owed(pair: Pair, row: PairRow | None) -> tuple[int, int]:
    """Search trials and finals that have not ended, or are owed again, at most."""
    if row is None:
        return pair.quota, pair.final_trials
    finals = [t for t in row.final_trials() if t.state in TERMINAL and not is_owed_again(t)]
    again = sum(is_owed_again(trial) for trial in row.search_trials())
    searches = search_owed(row.trials, pair.quota, False) + again
    return searches, max(0, pair.final_trials - len(finals))


def _at_once(plan: Plan, options: RunOptions) -> int:
    """Trials that may run together; a cluster, not asked yet, is taken to run one of each pair."""
    resources = plan.spec.resources
    if options.inline:
        return 1
    if not is_private(options):
        return len(plan.pairs)
    cores = options.num_cpus or os.cpu_count() or 1
    by_cores = max(1, cores // resources.cpus)
    if plan.spec.device == "cpu" or resources.gpus == 0:
        return by_cores
    gpus = len(local_gpus()) if options.num_gpus is None else options.num_gpus
    share = SHARES[0] if resources.gpus == "auto" else float(resources.gpus)
    return min(by_cores, int(gpus / share)) if gpus else by_cores


def _keeping_winners(plan: Plan) -> Plan:
    return replace(plan, spec=plan.spec.model_copy(update={"keep": "winners"}))


def _by_file_system(needs: Iterable[Need]) -> list[Need]:
    """One for each file system, named by the place that gets the most."""
    groups: defaultdict[int, list[Need]] = defaultdict(list)
    for need in needs:
        groups[_existing(need.place).stat().st_dev].append(need)
    return [
        Need(
            max(group, key=lambda need: need.most).place,
            sum(need.least for need in group),
            sum(need.most for need in group),
        )
        for group in groups.values()
    ]


def _at(needs: Iterable[Need], place: Path) -> Need:
    """What comes to the file system of ``place``."""
    device = _existing(place).stat().st_dev
    (found,) = _by_file_system(n for n in needs if _existing(n.place).stat().st_dev == device)
    return found


def _existing(place: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _refusal(need: Need, free: float, spec: SweepSpec, thrifty: Need, is_scratch: bool) -> str:
    ways = ["free some", "move checkpoints/ to a place with more and set RAYBENCH_STORAGE to it"]
    if is_scratch:
        ways[1] = "set RAYBENCH_CACHE to a place with more"
    elif spec.keep != "winners" and thrifty.least < need.least:
        ways.append(f"give 'keep: winners' in the sweep file, which needs {_gb(thrifty.least)}")
    return (
        f"the sweep needs at least {_gb(need.least)} at {need.place} (weights that are kept, and a "
        f"checkpoint), and {_gb(free)} are free there; {', or '.join(ways)}"
    )


def _gb(size: float) -> str:
    """``12 GB``, ``3.4 GB``, ``0.05 GB``."""
    gigabytes = size / _GB
    return f"{gigabytes:.0f} GB" if gigabytes >= 10 else f"{gigabytes:.2g} GB"
