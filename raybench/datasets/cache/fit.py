"""The size in which pictures are stored: squeezed to a square, or in their own shape with a margin.

``crop: none``: a square of ``image_size``, as ``decode.resize_rgb`` makes it.
``crop: random``: the shape stays and the short side is 8/7 of ``image_size`` (256 for 224, what
ImageNet recipes use since Krizhevsky et al. 2012), so that a square of ``image_size`` can be cut
anywhere. Pictures longer than 4 to 1 lose their ends, or one thin strip could fill the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.decode import resize_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

Crop = Literal["none", "random"]
MAX_RATIO = 4


def short_side(image_size: int, crop: Crop) -> int:
    """Of a stored picture, in pixels."""
    return image_size if crop == "none" else round(image_size * 8 / 7)


def fit_rgb(image: Image, image_size: int, crop: Crop) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 pixels as they are stored; bilinear with antialiasing."""
    if crop == "none":
        return resize_rgb(image, image_size)
    from PIL import Image as Images

    short = short_side(image_size, crop)
    width, height = (min(side, MAX_RATIO * min(image.size)) for side in image.size)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (left, top, left + width, top + height)
    scale = short / min(width, height)
    target = (max(short, round(width * scale)), max(short, round(height * scale)))
    return np.asarray(image.resize(target, Images.Resampling.BILINEAR, box=box))
