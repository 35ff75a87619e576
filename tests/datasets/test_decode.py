"""Every kind of picture as a person would see it, and every damaged one refused in words."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from raybench.datasets.decode import MAX_PIXELS, decode_image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colour(content: bytes, size: int = 4) -> list[int]:
    """The one colour of a flat picture."""
    pixels = decode_image(content, size)
    assert pixels.shape == (size, size, 3) and pixels.dtype == np.uint8
    assert np.ptp(pixels, axis=(0, 1)).max() <= 2
    return pixels[0, 0].tolist()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA"])
def test_formats(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.new("RGB", (6, 5), (200, 100, 50)), kind, **options)
    assert colour(content) == [200, 100, 50]


def test_grey_palette_and_bilevel():
    assert colour(saved(Image.new("L", (5, 5), 77), "PNG")) == [77, 77, 77]
    assert colour(saved(Image.new("1", (5, 5), 1), "PNG")) == [255, 255, 255]
    palette = Image.new("RGB", (5, 5), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert colour(saved(palette, "PNG")) == [10, 200, 30]


def test_cmyk_becomes_rgb():
    content = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    red, green, blue = colour(content)
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize(("value", "seen"), [(0, 0), (65535, 255), (32768, 128), (257 * 77, 77)])
def test_sixteen_bits_are_scaled_not_clipped(value, seen):
    content = saved(Image.fromarray(np.full((5, 5), value, np.uint16)), "PNG")
    assert colour(content) == [seen] * 3


def test_transparency_shows_white():
    assert colour(saved(Image.new("RGBA", (5, 5), (0, 0, 0, 0)), "PNG")) == [255, 255, 255]
    assert colour(saved(Image.new("LA", (5, 5), (0, 127)), "PNG")) == [128, 128, 128]
    palette = Image.new("P", (5, 5), 0)
    palette.putpalette([9, 9, 9])
    assert colour(saved(palette, "PNG", transparency=0)) == [255, 255, 255]


def test_the_cameras_rotation_is_applied():
    image = Image.new("RGB", (8, 8), "black")
    image.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode_image(saved(image, "PNG", exif=exif), 8)
    assert pixels[:, 7].min() == 255 and pixels[:, 0].max() == 0


def test_resize_is_bilinear_antialiased_and_uncropped():
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    pixels = decode_image(saved(Image.fromarray(board.astype(np.uint8)), "PNG"), 8)
    assert np.all(np.abs(pixels.astype(int) - 127) <= 3)
    wide = np.zeros((4, 40), np.uint8)
    wide[:, -4:] = 255
    pixels = decode_image(wide, 10)
    assert pixels[:, -1].min() > 200 and pixels[:, :-2].max() == 0


def test_floating_point_and_32_bits_are_refused():
    floats = saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(ValueError, match="floating-point pixels"):
        decode_image(floats, 4)
    wide = saved(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF")
    with pytest.raises(ValueError, match="32-bit pixels"):
        decode_image(wide, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html></html>", "is no image that Pillow knows"),
        (saved(Image.effect_noise((64, 64), 50), "JPEG")[:-300], "truncated"),
        (saved(Image.effect_noise((64, 64), 50), "BMP")[:-300], "truncated"),
        (saved(Image.effect_noise((64, 64), 50), "PNG")[:-300], "."),
    ],
)
def test_damaged_files_are_refused_in_words(content, words):
    with pytest.raises(ValueError, match=words):
        decode_image(content, 8)


def test_a_bomb_is_refused_by_its_header():
    small = saved(Image.new("L", (4, 4)), "PNG")
    for side in (10_000, 50_000):
        header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
        bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
        with pytest.raises(ValueError, match=f"more than {MAX_PIXELS:,} pixels|bomb"):
            decode_image(bomb, 8)


def test_random_damage_never_escapes_as_anything_but_valueerror():
    chance = random.Random(0)
    originals = [
        saved(Image.effect_noise((24, 24), 50).convert("RGB"), kind)
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
    ]
    refused = 0
    for number in range(300):
        content = bytearray(originals[number % len(originals)])
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            assert decode_image(bytes(content), 8).shape == (8, 8, 3)
        except ValueError:
            refused += 1
    assert refused > 50
