"""What every kind of source hands out: classes, and samples that read their own content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards import Split

Content = bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: ``read`` returns its file's bytes, or (H, W) or (H, W, 3) uint8 pixels."""

    id: str
    read: Callable[[], Content]
    label: int
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A data set's classes, by index, and its samples, sorted by id."""

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]


def content_sha256(content: Content) -> str:
    """SHA-256 of a file's bytes, or of the shape and values of an array."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256(str(content.shape).encode())
    digest.update(np.ascontiguousarray(content).data)
    return digest.hexdigest()
