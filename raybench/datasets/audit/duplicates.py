"""The same content twice: equal keys, and pictures that look alike. Pure NumPy, on indices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.audit.likeness import Thumbs, find_near
from raybench.datasets.splits import Indices


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Sets of indices with equal content, and pairs that look alike; ``bounded``: maybe more."""

    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, int], ...]
    bounded: bool = False


def find_duplicates(
    keys: Sequence[Hashable | None],
    hashes: NDArray[np.uint64],
    large: NDArray[np.bool_],
    thumbs_of: Callable[[Indices], Thumbs],
) -> Duplicates:
    """Equal keys, and look-alikes among one image of each key.

    Args:
        keys: content of each image; None: unreadable, compared with nothing.
        hashes: (N,) perceptual hashes.
        large: (N,) whether the image can be judged by its thumbnail.
        thumbs_of: from indices to their thumbnails, as ``likeness.find_near`` asks for them.
    """
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            members[key].append(index)
    exact = tuple(tuple(same) for same in members.values() if len(same) > 1)
    firsts = np.array(sorted(same[0] for same in members.values()), dtype=np.int64)
    # Flat pictures have the hash 0: all of them would be candidates, and none can be judged.
    judged = firsts[large[firsts] & (hashes[firsts] != 0)]
    near = find_near(hashes, judged, thumbs_of)
    return Duplicates(exact, tuple((int(a), int(b)) for a, b in near.pairs), near.bounded)
