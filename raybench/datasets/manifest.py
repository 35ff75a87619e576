"""What a sweep was run on: every image with the hash of its file and the split it stands in."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raybench.datasets.cache.store import CachedImages
from raybench.datasets.listing import some
from raybench.datasets.splits import make_splits
from raybench.spec import DatasetSpec


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image. ``part`` is train, val or test; with cross-validation ``fold 0`` and so on."""

    id: str
    sha256: str
    label: str
    part: str


@dataclass(frozen=True)
class Manifest:
    """All images of one data set, sorted by id."""

    rows: tuple[ManifestRow, ...]

    @cached_property
    def text(self) -> str:
        """One JSON list per line: id, SHA-256, class, part."""
        return "\n".join(json.dumps([r.id, r.sha256, r.label, r.part]) for r in self.rows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ``text``."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Compressed, for the ledger."""
        return zlib.compress(self.text.encode())

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        lines = zlib.decompress(content).decode().splitlines()
        return cls(tuple(ManifestRow(*json.loads(line)) for line in lines))


def make_manifest(
    ids: Sequence[str], sha256: Sequence[str], labels: Sequence[str], parts: Sequence[str]
) -> Manifest:
    """Rows of equally long columns."""
    rows = zip(ids, sha256, labels, parts, strict=True)
    return Manifest(tuple(sorted((ManifestRow(*row) for row in rows), key=lambda row: row.id)))


def manifest_of(data: CachedImages, dataset: DatasetSpec, split_seed: int) -> Manifest:
    """The manifest of a cached data set under the splits that the sweep cuts.

    Raises:
        DataError: classes too small for the splits.
    """
    parts = np.full(len(data.ids), "", dtype=object)
    for fold in range(dataset.folds or 1):
        splits = make_splits(
            data.labels, data.classes, data.splits, data.groups,
            dataset.split, split_seed, dataset.folds, fold,
        )  # fmt: skip
        if dataset.folds:
            parts[splits.test] = f"fold {fold}"
        else:
            for name in ("train", "val", "test"):
                parts[getattr(splits, name)] = name
    labels = [data.classes[label] for label in data.labels]
    return make_manifest(data.ids, data.sha256, labels, [str(part) for part in parts])


def differences(before: Manifest, now: Manifest) -> list[str]:
    """What has happened to the images, in words; empty where nothing has."""
    old, new = ({row.id: row for row in manifest.rows} for manifest in (before, now))
    both = old.keys() & new.keys()
    found = {
        "changed": (name for name in both if old[name].sha256 != new[name].sha256),
        "gone": old.keys() - new.keys(),
        "new": new.keys() - old.keys(),
        "in another class": (name for name in both if old[name].label != new[name].label),
        "in another split": (name for name in both if old[name].part != new[name].part),
    }
    return [text for word, names in found.items() if (text := _sentence(word, names))]


def _sentence(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    return (
        f"{len(listed)} {'image is' if len(listed) == 1 else 'images are'} {word}: {some(listed)}"
    )
