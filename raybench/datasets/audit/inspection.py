"""Every image of a source decoded once, and what the audit keeps of it.

Memory stays bounded: of a picture there remain some numbers and a 32x32 thumbnail, and the
thumbnails lie in a temporary file that the system may page out.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.audit.likeness import THUMB, Thumbs, thumbnail
from raybench.datasets.audit.perceptual import perceptual_hash
from raybench.datasets.decode import open_measured, open_rgb
from raybench.datasets.sources.samples import Sample, Source, content_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 256
_TELL_EVERY_S = 5.0
_SHOWN = 192  # pixels; sharp on a dense screen at half that size


@dataclass(frozen=True, slots=True)
class _Look:
    """What is kept of one image; ``reason``: why it cannot be read."""

    sha256: str = ""
    pixels: str | None = None
    phash: int = 0
    size: tuple[int, int] = (0, 0)
    grey: bool = False
    range_used: float = math.nan
    thumb: Thumbs | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Column by column, N images in the order of the source.

    Attributes:
        sha256: of the file; empty where it could not even be read.
        pixels: SHA-256 of size and decoded RGB pixels; None where it could not be decoded.
        phash: (N,) uint64. thumbs: (N, 32, 32) uint8.
        sizes: (N, 2) width and height, upright; zeros where unreadable.
        grey: (N,) whether red, green and blue are equal.
        range_used: (N,) share of the 16-bit range up to the brightest value; NaN with fewer bits.
        bad: id -> reason, sorted by id.
    """

    sha256: tuple[str, ...]
    pixels: tuple[str | None, ...]
    phash: NDArray[np.uint64]
    thumbs: Thumbs
    sizes: NDArray[np.int32]
    grey: NDArray[np.bool_]
    range_used: NDArray[np.float64]
    bad: dict[str, str]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) whether the picture could be decoded to its end."""
        return np.array([pixels is not None for pixels in self.pixels], dtype=bool)


def inspect(source: Source, tell: Callable[[str], None]) -> Inspection:
    """Read and fully decode every image, in parallel; what is unreadable is noted, not raised."""
    total = len(source.samples)
    thumbs = _paged((total, THUMB, THUMB))
    looks: list[_Look] = []
    told = time.monotonic()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, total, _CHUNK):
            for look in pool.map(_look, source.samples[start : start + _CHUNK]):
                if look.thumb is not None:
                    thumbs[len(looks)] = look.thumb
                looks.append(replace(look, thumb=None))
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                tell(f"{len(looks):,} of {total:,} images decoded")
    bad = {s.id: look.reason for s, look in zip(source.samples, looks, strict=True) if look.reason}
    return Inspection(
        sha256=tuple(look.sha256 for look in looks),
        pixels=tuple(look.pixels for look in looks),
        phash=np.array([look.phash for look in looks], dtype=np.uint64),
        thumbs=thumbs,
        sizes=np.array([look.size for look in looks], dtype=np.int32).reshape(-1, 2),
        grey=np.array([look.grey for look in looks], dtype=bool),
        range_used=np.array([look.range_used for look in looks], dtype=np.float64),
        bad=dict(sorted(bad.items())),
    )


def _paged(shape: tuple[int, ...]) -> Thumbs:
    """Zeros in a temporary file that goes with the process."""
    with tempfile.TemporaryFile(prefix="raybench-check-") as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def _look(sample: Sample) -> _Look:
    try:
        content = sample.read()
    except OSError as error:
        return _Look(reason=error.strerror or str(error))
    except ValueError as error:
        return _Look(reason=str(error))
    sha256 = content_sha256(content)
    try:
        image, range_used = open_measured(content)
    except ValueError as error:
        return _Look(sha256, reason=str(error))
    return _Look(
        sha256=sha256,
        pixels=hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest(),
        phash=perceptual_hash(image),
        size=image.size,
        grey=_is_grey(image),
        range_used=math.nan if range_used is None else range_used,
        thumb=thumbnail(image),
    )


def _is_grey(image: Image) -> bool:
    """Whether a small copy has equal channels, give or take what JPEG does to them."""
    small = np.asarray(image.resize((THUMB, THUMB), reducing_gap=2.0), dtype=np.int16)
    return bool(np.ptp(small, axis=2).max() <= 3)


def picture_uri(sample: Sample) -> str:
    """A small JPEG of the picture as a ``data:`` address for a page; empty where unreadable."""
    try:
        image = open_rgb(sample.read())
    except (OSError, ValueError):
        return ""
    image.thumbnail((_SHOWN, _SHOWN))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
