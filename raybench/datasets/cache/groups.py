"""Pictures decoded group by group in threads: what a builder writes, in order.

Pillow, zlib, hashlib and file systems work without the interpreter's lock, but every handing over
waits for it. So a group is one task, one piece of memory, one checksum and one write.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.audit.perceptual import grey_thumbnail, perceptual_hashes
from raybench.datasets.cache.fit import Crop, fit_rgb
from raybench.datasets.decode import open_rgb
from raybench.datasets.sources.samples import Sample, content_sha256

GROUP = 16
_WINDOW = 3  # groups per core, in work or waiting to be written: what bounds the memory


@dataclass(frozen=True, slots=True)
class Group:
    """Some pictures as they are stored, and facts of their files.

    Attributes:
        count: how many were asked for.
        problems: what is wrong with each that failed; with any, the rest is not to be used.
        sha256: of each file.
        pixels: one picture after another. bytes, crc32: of ``pixels``.
        phash: (n,) uint64.
        sizes: (n, 2) int32, width and height before resizing.
        shapes: (n, 2) int32, height and width as stored.
    """

    count: int
    problems: list[str]
    sha256: list[str]
    pixels: bytes = b""
    bytes: int = 0
    crc32: int = 0
    phash: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    sizes: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 2), np.int32))
    shapes: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 2), np.int32))

    def without_pixels(self) -> Group:
        """What is kept of it once they are written."""
        return replace(self, pixels=b"")


def cores() -> int:
    """That this process may run on, where the system tells."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def in_groups(
    pool: ThreadPoolExecutor, work: Callable[[Sequence[Sample]], Group], samples: Sequence[Sample]
) -> Iterator[Group]:
    """Results in order; a window bounds what waits to be written."""
    groups = (samples[i : i + GROUP] for i in range(0, len(samples), GROUP))
    window: deque[Future[Group]] = deque()

    def submit(count: int) -> None:
        window.extend(pool.submit(work, group) for group in itertools.islice(groups, count))

    submit(_WINDOW * cores())
    while window:
        yield window.popleft().result()
        submit(1)


def hash_group(samples: Sequence[Sample]) -> Group:
    """Only ``sha256``; nothing is decoded."""
    hashes, problems = _each(lambda sample: content_sha256(sample.read()), samples)
    return Group(len(samples), problems, hashes)


def decode_group(samples: Sequence[Sample], image_size: int, crop: Crop) -> Group:
    """All of it; see ``fit`` for the pixels."""
    decode = functools.partial(_decode, image_size=image_size, crop=crop)
    decoded, problems = _each(decode, samples)
    if problems:
        return Group(len(samples), problems, [])
    pictures, hashes, thumbnails, sizes = zip(*decoded, strict=True)
    pixels = b"".join(pictures)
    return Group(
        count=len(samples),
        problems=[],
        sha256=list(hashes),
        pixels=pixels,
        bytes=len(pixels),
        crc32=zlib.crc32(pixels),
        phash=perceptual_hashes(np.stack(thumbnails)),
        sizes=np.array(sizes, dtype=np.int32),
        shapes=np.array([picture.shape[:2] for picture in pictures], dtype=np.int32),
    )


_Result = TypeVar("_Result")


def _each(
    work: Callable[[Sample], _Result], samples: Sequence[Sample]
) -> tuple[list[_Result], list[str]]:
    """Results, and what was wrong with those that have none."""
    results, problems = [], []
    for sample in samples:
        try:
            results.append(work(sample))
        except OSError as error:
            problems.append(f"image '{sample.id}': {error.strerror or error}")
        except ValueError as error:
            problems.append(f"image '{sample.id}': {error}")
    return results, problems


_Decoded = tuple[NDArray[np.uint8], str, NDArray[np.uint8], tuple[int, int]]


def _decode(sample: Sample, image_size: int, crop: Crop) -> _Decoded:
    """Pixels, hash of the file, thumbnail, size before resizing."""
    content = sample.read()
    image = open_rgb(content)
    pixels = np.ascontiguousarray(fit_rgb(image, image_size, crop))
    return pixels, content_sha256(content), grey_thumbnail(image), image.size
