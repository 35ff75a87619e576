"""One data set of a sweep before its first trial: decoded, split, looked through for leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raybench.datasets.manifest import Manifest, manifest_of
from raybench.errors import DataError
from raybench.seeding import derive_seed
from raybench.spec import TWO_CLASS_METRICS, DatasetSpec, SweepSpec

if TYPE_CHECKING:
    from raybench.datasets.cache.store import CachedImages

Facts = dict[str, str | float]


@dataclass(frozen=True)
class DatasetCheck:
    """What was found of one data set.

    Attributes:
        facts: by subset: classes, images per split, digests.
        manifest: None where the splits cannot be cut.
        leaks: sentences, of the user's own images. badge: what marks the results, e.g.
            ``7 near across splits``; also for a published set, whose leaks nobody can mend.
        mistakes: what refuses the sweep.
    """

    facts: Mapping[str, Facts] = field(default_factory=dict)
    manifest: Manifest | None = None
    leaks: tuple[str, ...] = ()
    badge: str = ""
    mistakes: tuple[str, ...] = ()


def check_dataset(
    spec: SweepSpec, dataset: DatasetSpec, cache_dir: Path, tell: Callable[[str], None]
) -> DatasetCheck:
    """Every subset of ``dataset`` under the sweep's recipe and seeds.

    Raises:
        DataError: unreadable images, or splits that cannot be cut. ResourceError: out of reach.
    """
    from raybench.datasets.cache.store import open_cache

    recipe, seed = spec.recipe, derive_seed(spec.seed, "split")
    data = open_cache(dataset, recipe.image_size, cache_dir, recipe.crop, tell)
    manifest = manifest_of(data, dataset, seed)
    leaks, badge = _leaks(data, dataset, manifest)
    common: Facts = {"manifest_digest": manifest.digest}
    if badge:
        common["leaks"] = badge
    mistakes: list[str] = []
    facts = {}
    for subset in spec.subsets:
        try:
            found = _subset_facts(spec, dataset, subset, seed, cache_dir, mistakes)
        except DataError as error:
            mistakes += [f"{_title(dataset, subset)}: {mistake}" for mistake in error.mistakes]
            continue
        facts[subset] = found | common
    return DatasetCheck(facts, manifest, leaks, badge, tuple(mistakes))


def _leaks(
    data: CachedImages, dataset: DatasetSpec, manifest: Manifest
) -> tuple[tuple[str, ...], str]:
    """Sentences that refuse the sweep, and what marks its results."""
    from raybench.datasets.audit.leaks import leaks_of

    part_of = {row.id: row.part for row in manifest.rows}
    parts = np.array([part_of[name] for name in data.ids])
    findings = leaks_of(
        sha256=data.sha256,
        phash=data.phash,
        images=data.images,
        splits={str(part): np.flatnonzero(parts == part) for part in np.unique(parts)},
        groups=data.groups,
        ids=data.ids,
        labels=data.labels,
        sizes=data.sizes,
        published=dataset.path is None,
    )
    across = [f for f in findings if f.kind.endswith("_across_splits")]
    counts = ", ".join(f"{f.count} {f.kind.replace('_', ' ')}" for f in across)
    leaks = tuple(f.sentence for f in findings if f.severity == "leak")
    return leaks, counts


def _title(dataset: DatasetSpec, subset: str) -> str:
    return dataset.name if subset == "full" else f"{dataset.name} ({subset})"


def _subset_facts(
    spec: SweepSpec,
    dataset: DatasetSpec,
    subset: str,
    split_seed: int,
    cache_dir: Path,
    mistakes: list[str],
) -> Facts:
    from raybench.datasets.task import load_task

    recipe = spec.recipe
    task = load_task(dataset, recipe.image_size, subset, split_seed, cache_dir, recipe.crop)
    title = _title(dataset, subset)
    key = {"finetune": "batch_size", "knn": "neighbors"}.get(recipe.method)
    tuned = spec.space.get(key) if key else None
    largest = int(tuned.high) if tuned else getattr(recipe, key) if key else 0
    if largest > len(task.train):
        mistakes.append(
            f"{title}: {key} {largest} is larger than the training split of "
            f"{len(task.train)} images; give at most that"
        )
    if spec.search.metric in TWO_CLASS_METRICS and len(task.classes) != 2:
        mistakes.append(
            f"{title}: {spec.search.metric} is for two classes, this has {len(task.classes)}"
        )
    return {
        "classes": len(task.classes),
        "train_images": len(task.train),
        "val_images": len(task.val),
        "test_images": len(task.test),
        "data_digest": task.data_digest,
        "split_digest": task.split_digest,
        "domain": _domain(dataset),
    }


def _domain(dataset: DatasetSpec) -> str:
    from raybench.datasets.cards import CARDS

    own = dataset.path is not None or dataset.source is not None
    card = None if own else CARDS.get(dataset.name)
    return dataset.domain or (card.domain if card else "yours")
