"""From a file's bytes to square RGB pixels, as a person would see the picture.

The camera's rotation is applied; palettes, CMYK, grey and 16-bit pixels become RGB; transparent
parts show white. CMYK goes through the file's own colour profile where it has one; profiles of RGB
and grey pictures are not applied, as in torchvision. The picture is resized to a square without a
crop, bilinear with antialiasing: what the scripts of Jeevan and Sethi (arXiv 2406.05612) do.

Sixteen bits are scaled linearly, 0..65535 to 0..255, the same for every picture: a scale taken from
each picture's own brightest pixel would hide how bright it is, which may tell the classes apart.
Pictures that use a small part of the range (12-bit scans stored in 16) stay as dark as a viewer
shows them; stretch all of them by one factor before use. ``raybench check`` finds them.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

    Content = bytes | NDArray[np.uint8] | Image  # a file's bytes, pixels, or what Pillow opened

MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb
MAX_FILE_BYTES = 1 << 30  # more than so many pixels take, uncompressed, with four 16-bit channels
# What a photograph or scan comes in. Not EPS, which Pillow hands to Ghostscript: a program.
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA", "AVIF")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of TIFF 6.0, and of EXIF
_WHITE_16 = 65535
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
# What Pillow's decoders say of a file that ends too early.
_CUT_SHORT = ("truncated", "eof", "not enough image data", "but only got", "image was incomplete")
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",  # Pillow counts against the clock
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def read_picture(path: str | Path) -> bytes:
    """A picture's file, if it is not larger than any picture that is decoded.

    Raises:
        OSError: it cannot be read. ValueError: it is too large; the message says so.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"is {size / 1e9:.1f} GB, more than any picture that is decoded")
        return file.read(MAX_FILE_BYTES)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height as the file's header gives them.

    Raises:
        OSError, ValueError: it cannot be read, or is no picture of a kind that can be shown.
    """
    from PIL import Image as Images

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Images.open(path, formats=_FORMATS) as image:
                return image.size
        except Images.DecompressionBombError as error:
            raise ValueError(str(error)) from error


def decode_image(content: Content, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 RGB pixels; see ``open_rgb`` and ``resize_rgb``.

    Raises:
        ValueError: no complete picture of a kind that can be shown; the message says why.
    """
    return resize_rgb(open_rgb(content), size)


def resize_rgb(image: Image, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 pixels, squeezed to a square, not cropped."""
    from PIL import Image as Images

    return np.asarray(image.resize((size, size), Images.Resampling.BILINEAR))


def open_rgb(content: Content) -> Image:
    """The whole picture in RGB, upright, in its own size; of an animation, the first frame.

    Raises:
        ValueError: no complete picture of a kind that can be shown; the message says why.
    """
    return open_measured(content)[0]


def open_measured(content: Content) -> tuple[Image, float | None]:
    """``open_rgb``, and how much of a 16-bit range its brightest value uses (0..1).

    None where the channels have fewer bits, or a depth that Pillow does not tell (of JPEG 2000 and
    PPM in colour).

    Raises:
        ValueError: no complete picture of a kind that can be shown; the message says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, bombs: judged below
            image = _opened(content)
            if image.width * image.height > MAX_PIXELS:
                raise _UnfitError(_too_large(image.size))
            deep_colour = _is_deep_colour(image)  # asked first: loading forgets it
            image.load()
            if image.mode.startswith("I"):
                values, white = _sixteen_bit_values(image)
                shown = _to_eight_bit(values, white)
                used = float(values.max()) / white if white == _WHITE_16 else None
            else:
                shown = image
                used = _brightest(image) / 255 if deep_colour else None
            return _to_rgb(_upright(shown, image)), used
    except Exception as error:  # decoders raise anything on damaged bytes
        raise ValueError(_reason(error, content)) from error


class _UnfitError(ValueError):
    """A sound picture that is refused, in words of ours."""


def _opened(content: Content) -> Image:
    from PIL import Image as Images

    if isinstance(content, bytes):
        return Images.open(io.BytesIO(content), formats=_FORMATS)
    return Images.fromarray(content) if isinstance(content, np.ndarray) else content


def _upright(pixels: Image, file: Image) -> Image:
    """``pixels`` turned as the EXIF data of ``file`` say; damaged data say nothing."""
    from PIL import Image as Images

    try:
        turn = _TURNS.get(file.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (anything, as for pixels; a viewer shows such a picture)
        return pixels
    return pixels if turn is None else pixels.transpose(Images.Transpose[turn])


def _reason(error: Exception, content: Content) -> str:
    """Why a picture is refused, in words for those who do not know Pillow's."""
    if isinstance(error, _UnfitError) or not isinstance(content, bytes):
        return str(error)
    if not content:
        return "is empty (0 bytes)"
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        return "is HEIC, which is not supported; save it as JPEG or PNG"
    if type(error).__name__ == "DecompressionBombError":
        size = _declared_size(content)
        return _too_large(size) if size else f"has more than {MAX_PIXELS:,} pixels; shrink it"
    if _is_cut_short(str(error).lower(), content):
        return "is cut short"
    begins = content.startswith(_SIGNATURES) or content[4:12] == b"ftypavif"
    if type(error).__name__ == "UnidentifiedImageError" and not begins:
        return "is no image that Pillow knows"
    return "begins as a picture, but is damaged, cut short or of a kind that is not read"


def _is_cut_short(words: str, content: bytes) -> bool:
    if content[:4] == b"RIFF" and len(content) < 8 + int.from_bytes(content[4:8], "little"):
        return True
    return any(hint in words for hint in _CUT_SHORT)


def _too_large(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width:,} x {height:,} pixels are more than the limit of {MAX_PIXELS:,}; shrink it"


def _declared_size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the header gives them, of a file that Pillow refuses for its size."""
    from PIL import Image as Images

    for kind in _FORMATS:
        factory, accepts = Images.OPEN[kind]
        if accepts is None or accepts(content[:16]):
            with contextlib.suppress(Exception):  # another kind
                return factory(io.BytesIO(content), "").size
    return None


def _is_deep_colour(image: Image) -> bool:
    """Whether Pillow will keep only the upper 8 of 16 bits per channel, before ``load``."""
    tiles = getattr(image, "tile", ())
    return image.format in ("PNG", "TIFF") and any(";16" in str(tile.args) for tile in tiles)


def _brightest(image: Image) -> float:
    """The highest value of any channel but transparency."""
    opaque = image.convert("RGB") if image.mode == "RGBA" else image
    return float(np.asarray(opaque).max())


def _to_rgb(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode == "F":
        raise _UnfitError(
            "has floating-point pixels, whose white is not defined; save 8 or 16 bits"
        )
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Images.new("RGBA", rgba.size, "white")
        return Images.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # that copies


def _from_cmyk(image: Image) -> Image:
    """Through the embedded profile where it can be used, else by arithmetic (paper white, no ink).

    Pillow has undone Adobe's inversion already.
    """
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if profile:
        try:
            shown = ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except ImageCms.PyCMSError:
            shown = None  # damaged, or of another colour space: viewers ignore it as well
        if shown is not None:
            return shown
    return image.convert("RGB")


def _sixteen_bit_values(image: Image) -> tuple[NDArray[np.int64], int]:
    """(H, W) values, 0 for black, and the value that means white."""
    if image.mode == "I" and image.format not in ("PPM", "PNG"):  # those are scaled to 16 bits
        raise _UnfitError(
            "has 32-bit or signed pixels, whose white is not defined; save 8 or 16 bits"
        )
    pixels = np.asarray(image).astype(np.int64)
    white = _WHITE_16
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        white = 4095
    if tags.get(_PHOTOMETRIC) == 0:  # WhiteIsZero, which Pillow undoes for 8 bits only
        pixels = white - pixels
    return pixels, white


def _to_eight_bit(values: NDArray[np.int64], white: int) -> Image:
    from PIL import Image as Images

    return Images.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))
