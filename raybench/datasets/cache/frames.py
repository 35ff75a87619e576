"""Pictures of different shapes in one memory-mapped array; only what is asked for is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """N pictures, one after another; ``frames[i]`` is a (H, W, 3) view of the i-th.

    Attributes:
        pixels: (bytes,) uint8, read-only.
        offsets: (N,) int64, where each picture begins.
        shapes: (N, 2) int32, height and width of each.
        crop: side of the square that a network sees of each, in pixels.
    """

    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int32]
    crop: int

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        height, width = self.shapes[index].tolist()
        start = int(self.offsets[index])
        return self.pixels[start : start + 3 * height * width].reshape(height, width, 3)

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes


def make_frames(pixels: NDArray[np.uint8], shapes: NDArray[np.int32], crop: int) -> Frames:
    """Frames over ``pixels``; a plain view, since slicing an ``np.memmap`` costs more in Python."""
    sizes = 3 * shapes.astype(np.int64).prod(axis=1)
    return Frames(np.asarray(pixels).view(np.ndarray), sizes.cumsum() - sizes, shapes, crop)


Images = NDArray[np.uint8] | Frames
"""(N, H, W, 3) pictures of one shape, usually a memory map, or of different shapes."""
