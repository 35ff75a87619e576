"""From a file's bytes to square RGB pixels, as a person would see the picture.

The camera's rotation is applied; palettes, CMYK, grey and 16-bit pixels become RGB; transparent
parts show white. The picture is resized to a square without a crop, bilinear with antialiasing:
what the scripts of Jeevan and Sethi (arXiv 2406.05612) do.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def decode_image(content: bytes | NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 RGB pixels; of an animation, the first frame.

    Raises:
        ValueError: no complete picture of a kind that can be shown; the message says why.
    """
    from PIL import Image as Images
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, bombs: judged below
            if isinstance(content, bytes):
                image: Image = Images.open(io.BytesIO(content))
            else:
                image = Images.fromarray(content)
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"{image.width}x{image.height} is more than {MAX_PIXELS:,} pixels; shrink it"
                )
            image.load()
            rgb = _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise anything on damaged bytes
        raise ValueError(_reason(error, content)) from error
    return np.asarray(rgb.resize((size, size), Images.Resampling.BILINEAR))


def _reason(error: Exception, content: bytes | NDArray[np.uint8]) -> str:
    if isinstance(content, bytes) and not content:
        return "is empty (0 bytes)"
    if type(error).__name__ == "UnidentifiedImageError":
        return "is no image that Pillow knows"
    return str(error) or type(error).__name__


def _to_rgb(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode in _SIXTEEN_BIT:
        return _from_sixteen_bit(image).convert("RGB")
    if image.mode == "F":
        raise ValueError("has floating-point pixels, whose white is not defined; save 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Images.new("RGBA", rgba.size, "white")
        return Images.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_sixteen_bit(image: Image) -> Image:
    from PIL import Image as Images

    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("has 32-bit pixels, whose white is not defined; save 8 or 16 bits")
    return Images.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
