"""Every kind of picture as a person would see it, and every damaged one refused in words."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from raybench.datasets.decode import MAX_PIXELS, decode_image, open_measured, open_rgb


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


def without_adobe_marker(jpeg: bytes) -> bytes:
    """The same JPEG with its APP14 segment cut out."""
    start = jpeg.index(b"\xff\xee")
    (length,) = struct.unpack(">H", jpeg[start + 2 : start + 4])
    return jpeg[:start] + jpeg[start + 2 + length :]


def test_cmyk_becomes_rgb_with_and_without_adobes_marker():
    content = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in content
    bare = without_adobe_marker(content)
    assert b"Adobe" not in bare
    for one in (content, bare, saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")):
        red, green, blue = colour(one)
        assert red > 240 and green < 15 and blue < 15


def test_a_profile_of_another_colour_space_does_not_keep_cmyk_from_being_shown():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all"):
        image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
        red, green, blue = colour(saved(image, "JPEG", quality=100, icc_profile=profile))
        assert red > 240 and green < 15 and blue < 15


def test_cmyk_goes_through_its_own_profile(monkeypatch):
    """Checked by what the colour engine is asked: a real CMYK profile is half a megabyte."""
    asked = []

    def shown(image: Image.Image, profile: io.BytesIO, out: object, outputMode: str) -> Image.Image:
        asked.append((image.mode, profile.read(), outputMode))
        return Image.new("RGB", image.size, (1, 2, 3))

    monkeypatch.setattr(ImageCms, "profileToProfile", shown)
    content = saved(Image.new("CMYK", (8, 8)), "JPEG", icc_profile=b"a press")
    assert colour(content) == [1, 2, 3] and asked == [("CMYK", b"a press", "RGB")]


def tiff(values: list[int], bits: int, photometric: int = 1) -> bytes:
    """An uncompressed 2x2 grey TIFF, by hand: Pillow writes neither 12 bits nor white as zero."""
    if bits == 16:
        data = struct.pack("<4H", *values)
    else:
        packed = "".join(f"{value:012b}" for value in values)
        data = int(packed, 2).to_bytes(6, "big")
    tags = {256: 2, 257: 2, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 2}
    rows = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items()]
    rows.append(struct.pack("<HHII", 279, 4, 1, len(data)))
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(rows)) + b"".join(rows) + struct.pack("<I", 0)


def seen(content: bytes) -> list[int]:
    return np.asarray(open_rgb(content))[..., 0].ravel().tolist()


def test_grey_of_12_and_16_bits_ends_white_where_its_format_says():
    assert seen(tiff([65535, 0, 30000, 257], 16)) == [255, 0, 117, 1]
    assert seen(tiff([65535, 0, 30000, 257], 16, photometric=0)) == [0, 255, 138, 254]
    assert seen(tiff([4095, 0, 2048, 4095], 12)) == [255, 0, 128, 255]
    pgm = b"P5\n2 2\n4095\n" + struct.pack(">4H", 4095, 0, 2048, 4095)
    assert seen(pgm) == [255, 0, 128, 255]
    assert seen(saved(Image.fromarray(np.full((2, 2), 4095, np.uint16)), "PNG")) == [16] * 4


@pytest.mark.parametrize(("value", "seen"), [(0, 0), (65535, 255), (32768, 128), (257 * 77, 77)])
def test_sixteen_bits_are_scaled_not_clipped(value, seen):
    content = saved(Image.fromarray(np.full((5, 5), value, np.uint16)), "PNG")
    assert colour(content) == [seen] * 3


def deep_png(value: int, colour_type: int, channels: int) -> bytes:
    """A 2x2 PNG of 16 bits per channel, by hand: Pillow writes such colours in no format."""
    row = b"\0" + struct.pack(">H", value) * channels * 2
    head = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(row * 2)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("value", [0, 255, 4095, 65535])
def test_how_much_of_16_bits_a_png_uses(colour_type, channels, value):
    used = open_measured(deep_png(value, colour_type, channels))[1]
    assert used == pytest.approx(value / 65535, abs=1 / 255)
    assert (used < 1 / 16) == (value <= 4095)


def test_how_much_of_16_bits_other_formats_use():
    assert open_measured(tiff([655, 0, 10, 2], 16))[1] == pytest.approx(0.01, abs=1e-4)
    assert open_measured(tiff([65535, 65535, 65535, 65025], 16, photometric=0))[1] < 0.01
    assert open_measured(tiff([40, 0, 10, 2], 12))[1] is None
    for mode in ("L", "RGB", "RGBA", "P", "CMYK"):
        assert open_measured(saved(Image.new(mode, (4, 4)), "TIFF"))[1] is None
    head = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0)
    masks = struct.pack("<3I", 0xF800, 0x7E0, 0x1F)  # 16 bits for red, green and blue together
    five_six_five = b"BM" + struct.pack("<IHHI", 74, 0, 0, 66) + head + masks + bytes(8)
    assert open_measured(five_six_five)[1] is None
    assert open_measured(np.zeros((4, 4), np.uint8))[1] is None


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


# Where the white quarter of a picture, top left in the file, is seen.
CORNERS = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", sorted(CORNERS))
def test_every_orientation_of_every_format(kind, orientation):
    image = Image.new("RGB", (32, 16), "black")
    image.paste((255, 255, 255), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = open_rgb(saved(image, kind, exif=exif))
    assert turned.size == ((32, 16) if orientation < 5 else (16, 32))
    quarters = np.asarray(turned.resize((2, 2), Image.Resampling.BOX))[..., 0] > 128
    assert np.argwhere(quarters).tolist() == [list(CORNERS[orientation])]


def test_sixteen_bits_are_turned_as_well():
    pixels = np.zeros((4, 8), np.uint16)
    pixels[0, 0] = 65535
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.asarray(open_rgb(saved(Image.fromarray(pixels), "PNG", exif=exif)))
    assert turned.shape == (8, 4, 3) and turned[0, 3].tolist() == [255] * 3


def test_damaged_exif_does_not_hide_a_picture():
    content = saved(Image.new("RGB", (8, 8), (9, 9, 9)), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff")
    assert colour(content) == [9, 9, 9]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_seen(kind):
    frames = [Image.new("RGB", (8, 8), c) for c in ((250, 0, 0), (0, 250, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert colour(content) == [250, 0, 0]


def test_a_kind_that_is_not_read_is_named():
    heic = struct.pack(">I", 24) + b"ftypheic" + bytes(60)
    with pytest.raises(ValueError, match="is HEIC, which is not supported"):
        decode_image(heic, 8)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(ValueError, match="no image that Pillow knows"):
        decode_image(postscript, 8)


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
    with pytest.raises(ValueError, match="32-bit or signed pixels"):
        decode_image(wide, 4)


NOISE = Image.effect_noise((64, 64), 50)
CUT = ("JPEG", "BMP", "PNG", "GIF", "PPM", "TIFF")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html></html>", "is no image that Pillow knows"),
        *((saved(NOISE, kind)[:-300], "^is cut short$") for kind in CUT),
        (saved(NOISE, "WEBP")[:-3], "^is cut short$"),
        (saved(NOISE, "PNG")[:30], "^begins as a picture, but is damaged, cut short or of"),
        (
            struct.pack(">I", 32) + b"ftypavif" + bytes(60),
            "^begins as a picture, but is damaged, cut short or of",
        ),
        (b"RIFF" + struct.pack("<I", 60) + b"WAVE" + bytes(56), "is no image that Pillow knows"),
    ],
)
def test_damaged_files_are_refused_in_words(content, words):
    with pytest.raises(ValueError, match=words):
        decode_image(content, 8)


def test_a_bomb_is_refused_by_its_header_before_any_pixel_is_made(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    small = saved(Image.new("L", (4, 4)), "PNG")
    for side in (10_000, 50_000):
        header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
        bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
        with pytest.raises(ValueError, match="more than the limit") as caught:
            decode_image(bomb, 8)
        words = f"{side:,} x {side:,} pixels are more than the limit of {MAX_PIXELS:,}; shrink it"
        assert str(caught.value) == words


def test_a_truncated_jpeg_passes_verify_but_is_refused():
    content = saved(Image.effect_noise((64, 64), 50), "JPEG")[:-300]
    Image.open(io.BytesIO(content)).verify()
    with pytest.raises(ValueError, match="is cut short"):
        open_rgb(content)


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
