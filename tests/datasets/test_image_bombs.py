"""Risk "image bombs": pixels and bytes are limited before anything is decoded, wherever it is."""

from __future__ import annotations

import os
import re
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from raybench.datasets import decode
from raybench.datasets.audit.inspection import inspect, picture_uri
from raybench.datasets.cache.store import open_cache
from raybench.datasets.decode import MAX_FILE_BYTES, MAX_PIXELS, picture_size, read_picture
from raybench.datasets.folders import list_images
from raybench.datasets.listing import class_order
from raybench.datasets.sources.open import open_source
from raybench.errors import DataError
from raybench.spec import DatasetSpec

PACKAGE = Path(decode.__file__).parents[1]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )  # fmt: skip


def png_bomb(path: Path, side: int = 50_000) -> None:
    """A header that promises ``side`` x ``side`` pixels, and some packed zeros."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(10_000_000))
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", content), _chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def png_above_our_limit(path: Path) -> None:
    """Pillow alone would only warn of it."""
    png_bomb(path, side=12_000)


def gif_bomb(path: Path) -> None:
    side = struct.pack("<HH", 65_535, 65_535)
    screen = side + b"\x80\0\0" + bytes(6)  # a palette of two colours
    path.write_bytes(b"GIF89a" + screen + b"," + bytes(4) + side + b"\0\2\2\x4c\1\0;")


def bmp_bomb(path: Path) -> None:
    info = struct.pack("<IiiHHIIiiII", 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info)


def sparse(path: Path) -> None:
    """10 GB that take no room on the disk."""
    path.touch()
    os.truncate(path, 10 * 10**9)


BOMBS = [
    (png_bomb, "50,000 x 50,000 pixels are more than the limit of 89,478,485"),
    (png_above_our_limit, "12,000 x 12,000 pixels are more than the limit of 89,478,485"),
    (gif_bomb, "65,535 x 65,535 pixels are more than the limit"),
    (bmp_bomb, "50,000 x 50,000 pixels are more than the limit"),
    (sparse, "is 10.0 GB, more than any picture that is decoded"),
]


@pytest.fixture(params=BOMBS, ids=lambda bomb: bomb[0].__name__)
def bomb(request, image_folder) -> tuple[DatasetSpec, str]:
    """A data set with one bomb in it, and what is to be said of that."""
    plant, words = request.param
    folder = image_folder()
    plant(folder / "cat" / "bomb.png")
    return DatasetSpec(name="pets", path=str(folder)), words


@pytest.fixture(autouse=True)
def little_memory() -> Callable[[], None]:
    """Nothing here may take half a GB more than what Python has taken before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 500_000


def test_a_sweep_refuses_it_by_name(bomb, tmp_path):
    spec, words = bomb
    with pytest.raises(DataError) as error:
        open_cache(spec, 16, tmp_path / "cache")
    assert error.value.mistakes == (f"image 'cat/bomb.png': {error.value.mistakes[0][22:]}",)
    assert words in error.value.mistakes[0]


def test_check_lists_it_and_goes_on(bomb, tmp_path):
    spec, words = bomb
    images = list_images(spec).images
    assert class_order(image.label for image in images) == ("cat", "dog")
    source = open_source(spec, images, tmp_path)
    found = inspect(source, lambda line: None)
    assert list(found.bad) == ["cat/bomb.png"] and words in found.bad["cat/bomb.png"]
    assert found.readable.sum() == 20
    shown = {sample.id: picture_uri(sample) for sample in source.samples}
    assert shown["cat/bomb.png"] == "" and shown["cat/000.png"].startswith("data:image/jpeg")


def test_a_header_is_enough_to_be_refused(tmp_path):
    png_bomb(tmp_path / "a.png")
    with pytest.raises(ValueError, match="pixels"):
        picture_size(tmp_path / "a.png")
    png_bomb(tmp_path / "b.png", side=100)
    assert picture_size(tmp_path / "b.png") == (100, 100)


def test_the_limits_fit_each_other(tmp_path):
    assert MAX_FILE_BYTES > MAX_PIXELS * 8  # four channels of 16 bits
    (tmp_path / "a.png").write_bytes(b"abc")
    assert read_picture(tmp_path / "a.png") == b"abc"


def test_pictures_are_opened_in_one_place_only():
    opening = re.compile(r"Images?\.open\(")
    found = [p.name for p in PACKAGE.rglob("*.py") if opening.search(p.read_text())]
    assert found == ["decode.py"]
