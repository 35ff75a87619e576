"""Image files changed at random: pixels, or an error that names the file; never a crash.

``RAYBENCH_TEST_EXAMPLES=2000`` (nightly) tries as many; 200 without it.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import zlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from raybench.cli import main
from raybench.datasets.cache.store import open_cache
from raybench.datasets.decode import decode_image
from raybench.errors import DataError
from raybench.spec import DatasetSpec

EXAMPLES = int(os.environ.get("RAYBENCH_TEST_EXAMPLES", "200"))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def originals() -> dict[str, bytes]:
    """Sound files of every kind that is read, small enough to be changed everywhere."""
    rgb = Image.effect_noise((40, 30), 60).convert("RGB")
    grey = rgb.convert("L")
    deep = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    frames = [rgb, rgb.rotate(90), rgb.rotate(180)]
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "jpeg": saved(rgb, "JPEG"),
        "progressive jpeg": saved(rgb, "JPEG", progressive=True, exif=exif),
        "cmyk jpeg": saved(rgb.convert("CMYK"), "JPEG"),
        "png": saved(rgb, "PNG"),
        "16-bit png": saved(deep, "PNG"),
        "palette png": saved(rgb.convert("P"), "PNG", transparency=0),
        "rgba png": saved(rgb.convert("RGBA"), "PNG"),
        "gif": saved(rgb.convert("P"), "GIF", save_all=True, append_images=frames[1:]),
        "bmp": saved(rgb, "BMP"),
        "tiff": saved(rgb, "TIFF"),
        "lzw tiff": saved(grey, "TIFF", compression="tiff_lzw"),
        "jpeg tiff": saved(rgb, "TIFF", compression="jpeg"),
        "16-bit tiff": saved(deep, "TIFF"),
        "webp": saved(rgb, "WEBP"),
        "ppm": saved(rgb, "PPM"),
        "tga": saved(rgb, "TGA"),
    }
    if features.check_codec("jpg_2000"):
        found["jpeg 2000"] = saved(rgb, "JPEG2000")
    if features.check("avif"):
        found["avif"] = saved(rgb, "AVIF")
    return found


ORIGINALS = originals()
HTML = b"<!DOCTYPE html><html><body>404: no such image</body></html>"


def mutate(content: bytes, chance: random.Random) -> bytes:
    """One change."""
    spot = chance.randrange(len(content) + 1)
    match chance.randrange(9):
        case 0:
            return content[:spot]
        case 1:
            return _with_bits_flipped(content, chance, chance.choice([1, 1, 3, 30]))
        case 2:  # one kind's header before another's body
            other = ORIGINALS[chance.choice(sorted(ORIGINALS))]
            cut = chance.choice([2, 4, 8, 16, 33, 64])
            return other[:cut] + content[cut:]
        case 3:
            return content[:spot] + chance.randbytes(chance.randrange(1, 64)) + content[spot:]
        case 4:
            return content[:spot] + bytes(chance.randrange(1, 200)) + content[spot + 50 :]
        case 5:
            return content + content[:spot]
        case 6:
            return _with_giant_sides(content, chance)
        case 7:  # a length or an offset somewhere near the front
            place = chance.randrange(min(120, max(1, len(content) - 4)))
            number = chance.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 0xFFFF])
            return content[:place] + struct.pack(">I", number) + content[place + 4 :]
        case _:
            return chance.choice([b"", HTML, HTML + content, b"\0" * 500, chance.randbytes(300)])


def _with_bits_flipped(content: bytes, chance: random.Random, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _with_giant_sides(content: bytes, chance: random.Random) -> bytes:
    """A PNG header that promises more pixels than there are, its checksum right."""
    side = chance.choice([9_000, 50_000, 0x7FFFFFFF])
    png = ORIGINALS["png"]
    header = b"IHDR" + struct.pack(">II", side, chance.choice([1, side])) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def mutated(kind: str, chance: random.Random, changes: int) -> bytes:
    content = ORIGINALS[kind]
    for _ in range(changes):
        content = mutate(content, chance)
    return content


def decoded_or_refused(content: bytes) -> bool:
    """Whether there are pixels; else there are words."""
    try:
        pixels = decode_image(content, 8)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return False
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    return True


def test_the_originals_are_sound() -> None:
    assert all(decoded_or_refused(content) for content in ORIGINALS.values())
    assert len(ORIGINALS) >= 16


@given(
    st.sampled_from(sorted(ORIGINALS)), st.randoms(use_true_random=False), st.integers(1, 4)
)  # fmt: skip
@settings(max_examples=EXAMPLES, deadline=timedelta(seconds=20))
def test_any_file_gives_pixels_or_words(kind: str, chance: random.Random, changes: int) -> None:
    decoded_or_refused(mutated(kind, chance, changes))


IN_A_PROCESS = """
import faulthandler, random, resource, sys
from tests.datasets.test_fuzz_images import ORIGINALS, decoded_or_refused, mutated

faulthandler.enable()
memory = 4 << 30  # what a giant header asks for must be refused, not allocated
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
shown = 0
for number in range(int(sys.argv[1])):
    chance = random.Random(number)
    kind = sorted(ORIGINALS)[number % len(ORIGINALS)]
    print(number, kind, file=sys.stderr, flush=True)
    shown += decoded_or_refused(mutated(kind, chance, 1 + number % 4))
print("alive", shown)
"""


def test_no_file_takes_the_process_with_it() -> None:
    """In a process of its own, so that a decoder's crash is seen as one; its last file is named."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(3 * EXAMPLES)],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    word, shown = done.stdout.split()
    assert word == "alive" and 0.1 < int(shown) / (3 * EXAMPLES) < 0.9


SUFFIXES = {"jpeg": ".jpg", "tiff": ".tif", "png": ".png", "2000": ".jp2"}


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, set[str]]:
    """Sixty changed files in two classes, and which of them cannot be read; and sound ones."""
    bad = set()
    for number in range(60):
        chance = random.Random(1000 + number)
        kind = chance.choice(sorted(ORIGINALS))
        content = mutated(kind, chance, 2)
        last = kind.rsplit(" ", 1)[-1]
        name = f"{('cat', 'dog')[number % 2]}/{number:03d}{SUFFIXES.get(last, f'.{last}')}"
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if not decoded_or_refused(content):
            bad.add(name)
    for label in ("cat", "dog"):
        for number in range(6):
            noise = Image.effect_noise((20, 20), 40 + 10 * number + 5 * (label == "dog"))
            noise.convert("RGB").save(tmp_path / "images" / label / f"sound-{number}.png")
    assert 20 < len(bad) < 55
    return tmp_path / "images", bad


def test_check_lists_every_file_that_cannot_be_read(
    folder: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, bad = folder
    code = main(["check", str(images), "--json", "--home", str(tmp_path / "home")])
    report = json.loads(capsys.readouterr().out)
    assert code in (1, 2) and set(report["datasets"][0]["unreadable"]) == bad
    assert all(report["datasets"][0]["unreadable"].values())


def test_a_sweep_is_refused_with_every_file_that_cannot_be_read(
    folder: tuple[Path, set[str]], tmp_path: Path
) -> None:
    images, bad = folder
    with pytest.raises(DataError) as refused:
        open_cache(DatasetSpec(name="mine", path=str(images)), 16, tmp_path / "cache")
    named = {name for name in bad if any(name in text for text in refused.value.mistakes)}
    assert named == bad
    assert not any("sound" in text for text in refused.value.mistakes)
