"""A 64-bit hash of what a picture looks like, and the search for hashes that are nearly equal.

The hash is the classic one over a cosine transform ("pHash", Zauner 2010, Implementation and
Benchmarking of Perceptual Image Hash Functions): 32x32 grey, the 64 lowest frequencies without the
mean, each bit telling whether its coefficient is above their median. Saving again, resizing and
brightening leave nearly all bits as they were. How far apart two hashes may be, and what must hold
besides: ``duplicates``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 32
_BITS = 64
_BLOCK = 2048


def _cosines(side: int, frequencies: int) -> NDArray[np.float64]:
    """(frequencies, side): the first rows of the orthonormal DCT-II."""
    angles = np.outer(np.arange(frequencies), 2 * np.arange(side) + 1) * (np.pi / (2 * side))
    rows: NDArray[np.float64] = np.cos(angles) * np.sqrt(2 / side)
    rows[0] /= np.sqrt(2)
    return rows


def _lowest(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the ``count`` lowest frequencies after the mean, along diagonals."""
    places = [(row, total - row) for total in range(1, 2 * SIDE) for row in range(total + 1)]
    rows, columns = zip(*places[:count], strict=True)
    return np.array(rows), np.array(columns)


_ROWS, _COLUMNS = _lowest(_BITS)
_DCT = _cosines(SIDE, int(max(_ROWS.max(), _COLUMNS.max())) + 1)


def perceptual_hash(image: Image) -> int:
    """64 bits that pictures share when a person would call them the same; flat ones give 0."""
    return int(perceptual_hashes(grey_thumbnail(image)[None])[0])


def grey_thumbnail(image: Image) -> NDArray[np.uint8]:
    """(32, 32): all that the hash looks at; whole pixels are averaged first, which is cheap."""
    from PIL import Image as Images

    grey = image.convert("L").resize((SIDE, SIDE), Images.Resampling.BILINEAR, reducing_gap=1.0)
    return np.asarray(grey)


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n,) hashes of (n, 32, 32) thumbnails: many at once, since NumPy's calls cost the most."""
    spectra = _DCT @ thumbnails.astype(np.float64) @ _DCT.T
    # Rounded, so that what is zero in a symmetric picture does not turn into bits of noise.
    lowest = np.round(spectra[:, _ROWS, _COLUMNS], 3)
    bits = np.packbits(lowest > np.median(lowest, axis=1, keepdims=True), axis=1)
    return np.ascontiguousarray(bits).view(">u8")[:, 0].astype(np.uint64)


def near_pairs(hashes: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.int64]]:
    """Blocks of (n, 2) index pairs, first < second, whose hashes differ in at most ``bits`` bits.

    Every pair is compared, block by block in NumPy: 50,000 hashes (1.25e9 pairs) take seconds.
    """
    count = len(hashes)
    for row in range(0, count, _BLOCK):
        for column in range(row, count, _BLOCK):
            rows, columns = hashes[row : row + _BLOCK], hashes[column : column + _BLOCK]
            near = np.bitwise_count(rows[:, None] ^ columns[None, :]) <= bits
            pairs = np.argwhere(np.triu(near, 1) if row == column else near)
            if len(pairs):
                yield pairs + (row, column)
