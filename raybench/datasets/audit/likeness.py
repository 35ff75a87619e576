"""Near duplicates: pairs of pictures whose hashes are close and whose details lie upon each other.

A close hash alone says "the same light and dark areas", which is true of all heads in a scanner and
of all black hats. So each candidate is verified on 32x32 grey thumbnails, of which only the details
are kept (a blurred copy is taken away) and compared by correlation, shifted and scaled by up to 5%
so that a crop is found. The thresholds were chosen by measurement: ``docs/data-audit.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.audit.perceptual import near_pairs

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB = 32
"""Side of a thumbnail; pictures with a shorter side below it are not judged."""
HASH_BITS = 14
LIKENESS = 0.78
_SIEVE = 0.55
_FLAT = 1.0  # grey levels: less detail than JPEG's own noise
_BATCH = 1024
_MAX_CANDIDATES = 300_000

Thumbs = NDArray[np.uint8]
Pairs = NDArray[np.int64]
_Matrix = NDArray[Any]  # float32


@dataclass(frozen=True, slots=True)
class NearPairs:
    """(n, 2) index pairs, and whether the search ended at its bound (then there may be more)."""

    pairs: Pairs
    bounded: bool = False


def thumbnail(image: Image) -> Thumbs:
    """(32, 32) uint8 grey pixels, each the mean of its area."""
    from PIL import Image as Images

    grey = image.convert("L").resize((THUMB, THUMB), Images.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(grey)


def find_near(
    hashes: NDArray[np.uint64],
    judged: NDArray[np.int64],
    thumbs_of: Callable[[NDArray[np.int64]], Thumbs],
) -> NearPairs:
    """Near duplicates among the images ``judged``, as sorted pairs of indices into ``hashes``.

    Args:
        hashes: (N,) perceptual hashes.
        judged: indices of the images to compare.
        thumbs_of: from k indices to their (k, 32, 32) thumbnails; asked for candidates only.
    """
    blocks: list[Pairs] = [np.empty((0, 2), np.int64)]
    left = _MAX_CANDIDATES + 1
    for block in near_pairs(hashes[judged], HASH_BITS):
        blocks.append(judged[block[:left]])
        left -= len(blocks[-1])
        if not left:
            break
    pairs = np.concatenate(blocks)
    used, places = np.unique(pairs, return_inverse=True)
    alike = pairs[are_alike(thumbs_of(used), places.reshape(pairs.shape))]
    order = np.lexsort((alike[:, 1], alike[:, 0]))
    return NearPairs(alike[order], bounded=not left)


def are_alike(thumbs: Thumbs, pairs: Pairs) -> NDArray[np.bool_]:
    """(n,) whether the two thumbnails of each pair show the same picture."""
    half = THUMB // 2
    small = thumbs.reshape(-1, half, 2, half, 2).mean((2, 4))
    alike = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), _BATCH):
        batch = np.arange(start, min(start + _BATCH, len(pairs)))
        # A cheap sieve first; it loses 2% of the planted crops (docs/data-audit.md).
        left = batch[_correlation(small, pairs[batch], 1, (0.0, 0.025, 0.05)) > _SIEVE]
        alike[left] = likeness(thumbs, pairs[left], enough=LIKENESS) > LIKENESS
    return alike


def likeness(thumbs: Thumbs, pairs: Pairs, enough: float = 1.0) -> NDArray[np.float32]:
    """(n,) the best correlation of details over all windows, in [-1, 1]; flat pictures give 0.

    Windows that are left are not tried for a pair that has passed ``enough``.
    """
    return _correlation(thumbs, pairs, 2, (0.0, 0.0125, 0.025, 0.0375, 0.05), enough)


def _correlation(
    pictures: NDArray[Any],
    pairs: Pairs,
    reach: int,
    shifts: tuple[float, ...],
    enough: float = 1.0,
) -> NDArray[np.float32]:
    """The best over windows of 95% and 97.5% of the sides at ``shifts``, either way round."""
    used, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    whole = pictures[used].astype(np.float32)
    blur = _blur(whole.shape[1], reach)
    details = _details(whole, blur)
    best = _dots(details, details, places)
    for across, down in _windows(whole.shape[1], shifts):
        rest = np.flatnonzero(best <= enough)
        if not len(rest):
            break
        seen = _details(down @ whole @ across.T, blur)
        forth, back = _dots(seen, details, places[rest]), _dots(details, seen, places[rest])
        best[rest] = np.maximum(best[rest], np.maximum(forth, back))
    return best


def _dots(first: _Matrix, second: _Matrix, pairs: Pairs) -> NDArray[np.float32]:
    products: _Matrix = np.einsum("ij,ij->i", first[pairs[:, 0]], second[pairs[:, 1]])
    return products


def _details(pictures: _Matrix, blur: _Matrix) -> _Matrix:
    """(n, pixels) unit vectors of what the blur takes away; zeros where that is next to nothing."""
    vectors = (pictures - blur @ pictures @ blur.T).reshape(len(pictures), blur.size)
    vectors = vectors - vectors.mean(1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    seen = length > _FLAT * vectors.shape[1] ** 0.5
    unit: _Matrix = np.divide(vectors, length, out=np.zeros_like(vectors), where=seen)
    return unit


@cache
def _blur(side: int, reach: int) -> _Matrix:
    """(side, side): the mean of ``reach`` neighbours on either side, the edge repeated."""
    rows = np.zeros((side, side), dtype=np.float32)
    for offset in range(-reach, reach + 1):
        near = np.clip(np.arange(side) + offset, 0, side - 1)
        np.add.at(rows, (np.arange(side), near), 1 / (2 * reach + 1))
    return rows


@cache
def _windows(side: int, shifts: tuple[float, ...]) -> list[tuple[_Matrix, _Matrix]]:
    """Resampling matrices, across and down, of every window that lies within the picture."""
    windows = []
    for size in (0.975, 0.95):
        looks = [_resampling(side, shift, size) for shift in shifts if shift + size <= 1 + 1e-9]
        windows += [(across, down) for across in looks for down in looks]
    return windows


def _resampling(side: int, start: float, size: float) -> _Matrix:
    """(side, side) bilinear weights that stretch [start, start + size] over the whole side."""
    at = ((np.arange(side) + 0.5) / side * size + start) * side - 0.5
    at = np.clip(at, 0, side - 1)
    low = np.floor(at).astype(int)
    weights = np.zeros((side, side), dtype=np.float32)
    np.add.at(weights, (np.arange(side), low), 1 - (at - low))
    np.add.at(weights, (np.arange(side), np.minimum(low + 1, side - 1)), at - low)
    return weights
