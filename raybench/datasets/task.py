"""A data set and a subset of its training split, ready to be trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cache.build import Tell
from raybench.datasets.cache.files import Hold
from raybench.datasets.cache.fit import Crop
from raybench.datasets.cache.frames import Images
from raybench.datasets.cache.store import open_cache
from raybench.datasets.splits import Indices, make_splits, take_subset
from raybench.spec import DatasetSpec


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What one trial trains, selects and (in the final phase) tests on.

    Attributes:
        images: uint8 RGB, memory-mapped, read-only; all images of the data set, (N, H, W, 3), or
            ``Frames`` of different shapes with ``crop: random``.
        labels: (N,) int64 indices into ``classes``.
        ids: N names, stable across machines.
        groups: N names of what belongs together (a patient), None where nothing does.
        train, val, test: sorted int64 indices into ``images``; ``train`` is the subset already.
        data_digest: SHA-256 of images, labels and official splits at this size.
        split_digest: SHA-256 of the ids of train, val and test.
        use: keeps the cached set from being pruned while this task lives.
    """

    images: Images
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    classes: tuple[str, ...]
    train: Indices
    val: Indices
    test: Indices
    data_digest: str
    split_digest: str
    use: Hold | None = None


def load_task(
    dataset: DatasetSpec,
    image_size: int,
    subset: str,
    split_seed: int,
    cache_dir: Path,
    crop: Crop = "none",
    fold: int | None = None,
    tell: Tell = lambda sentence: None,
    digest: str = "",
) -> Task:
    """The task, from the cache where it is there, else decoded into it first.

    Args:
        dataset: the data set.
        image_size: side of what a network will see.
        subset: of the training split.
        split_seed: names split and subset.
        cache_dir: where decoded sets stand.
        crop: as in the recipe.
        fold: which part of a data set with ``folds`` is the test split; None: the first.
        tell: hears of progress.
        digest: of the data set, where it is known; see ``open_cache``.

    Raises:
        DataError: mistakes of the spec, unreadable images, classes too small; all at once.
        ResourceError: a named set cannot be downloaded, or the cache cannot be written.
    """
    data = open_cache(dataset, image_size, cache_dir, crop, tell, digest)
    splits = make_splits(
        data.labels,
        data.classes,
        data.splits,
        data.groups,
        dataset.split,
        split_seed,
        dataset.folds,
        fold or 0,
    )
    train = take_subset(splits.train, data.labels, subset, split_seed)
    return Task(
        images=data.images,
        labels=data.labels,
        ids=data.ids,
        groups=data.groups,
        classes=data.classes,
        train=train,
        val=splits.val,
        test=splits.test,
        data_digest=data.digest,
        split_digest=_split_digest(data.ids, train, splits.val, splits.test),
        use=data.use,
    )


def _split_digest(ids: tuple[str, ...], *parts: Indices) -> str:
    text = json.dumps([[ids[index] for index in part] for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()
