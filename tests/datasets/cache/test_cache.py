"""The cache: built once, found again, rebuilt when anything that counts has changed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raybench.datasets.audit.perceptual import perceptual_hash
from raybench.datasets.cache import build, groups
from raybench.datasets.cache import files as cache_files
from raybench.datasets.cache import store as cache
from raybench.datasets.cache.files import DamagedError, read_set
from raybench.datasets.cache.frames import Frames
from raybench.datasets.cache.store import close_sets, open_cache
from raybench.errors import DataError, ResourceError
from raybench.spec import DatasetSpec


@pytest.fixture(autouse=True)
def _nothing_kept_open():
    close_sets()
    yield
    close_sets()


@pytest.fixture
def spec(image_folder) -> DatasetSpec:
    return DatasetSpec(name="mine", path=str(image_folder(per_class=4)))


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """Grows by one for every image that is decoded."""
    calls: list[int] = []
    real = groups.open_rgb

    def counting(content):
        calls.append(len(content))
        return real(content)

    monkeypatch.setattr(groups, "open_rgb", counting)
    return calls


def folders(cache_dir: Path) -> list[str]:
    return sorted(p.name for p in cache_dir.iterdir() if p.name != "index")


def test_what_is_cached(spec, tmp_path):
    data = open_cache(spec, 8, tmp_path / "c")
    assert isinstance(data.images, np.memmap) and not data.images.flags.writeable
    assert (data.images.shape, data.images.dtype) == ((8, 8, 8, 3), np.uint8)
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [0] * 4 + [1] * 4
    assert data.ids[0] == "cat/000.png" and data.splits == (None,) * 8
    assert folders(tmp_path / "c") == [f"mine-8-{data.digest[:12]}"]
    with Image.open(Path(spec.path) / data.ids[5]) as image:
        expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR))
    assert np.array_equal(data.images[5], expected)


def test_facts_of_every_file(spec, tmp_path):
    path = Path(spec.path) / "cat" / "001.png"
    with Image.open(path) as image:
        wide = image.resize((40, 20))
    wide.save(path)
    data = open_cache(spec, 8, tmp_path / "c")
    assert data.sizes.tolist()[:2] == [[16, 16], [40, 20]] and data.sizes.dtype == np.int32
    assert data.sha256[1] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.phash.dtype == np.uint64 and int(data.phash[1]) == perceptual_hash(wide)


def test_a_second_process_decodes_and_hashes_nothing(spec, tmp_path, decoded, monkeypatch):
    first = open_cache(spec, 8, tmp_path / "c")
    monkeypatch.setattr(groups, "content_sha256", lambda content: pytest.fail("hashed again"))
    close_sets()
    assert open_cache(spec, 8, tmp_path / "c").digest == first.digest
    assert len(decoded) == 8


def test_the_same_process_does_not_even_list_the_files(spec, tmp_path, monkeypatch):
    first = open_cache(spec, 8, tmp_path / "c")
    monkeypatch.setattr(cache, "fingerprint", lambda *_: pytest.fail("listed again"))
    assert open_cache(spec, 8, tmp_path / "c") is first


@pytest.mark.parametrize("change", ["edit", "add", "remove", "folder", "prune"])
def test_the_same_process_notices_every_change(spec, tmp_path, change):
    first = open_cache(spec, 8, tmp_path / "c")
    root = Path(spec.path)
    if change == "edit":
        Image.new("RGB", (16, 16)).save(root / "cat" / "000.png")
    elif change == "add":
        shutil.copy(root / "cat" / "000.png", root / "dog" / "new.png")
    elif change == "remove":
        (root / "cat" / "000.png").unlink()
    elif change == "folder":
        shutil.copytree(root / "cat", root / "emu")
    else:
        shutil.rmtree(tmp_path / "c")
    again = open_cache(spec, 8, tmp_path / "c")
    assert again is not first
    assert (again.digest == first.digest) == (change == "prune")


def test_few_sets_stay_open(spec, tmp_path):
    for size in range(8, 8 + 2 * cache.KEPT_OPEN):
        open_cache(spec, size, tmp_path / "c")
    assert len(cache._open_sets) == cache.KEPT_OPEN


def test_the_digest_is_of_content_not_of_place_or_time(spec, tmp_path, decoded):
    first = open_cache(spec, 8, tmp_path / "c")
    moved = shutil.copytree(spec.path, tmp_path / "elsewhere")
    second = open_cache(spec.model_copy(update={"path": str(moved)}), 8, tmp_path / "c")
    assert second.digest == first.digest and len(decoded) == 8
    assert open_cache(spec, 9, tmp_path / "c").digest != first.digest


def test_a_file_replaced_with_its_size_and_time_is_noticed(spec, tmp_path):
    open_cache(spec, 8, tmp_path / "c")
    target = Path(spec.path) / "cat" / "000.png"
    before = target.stat()
    target.write_bytes(bytes(before.st_size))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="cat/000.png"):
        open_cache(spec, 8, tmp_path / "c")


def test_relabelling_changes_the_digest(spec, tmp_path):
    first = open_cache(spec, 8, tmp_path / "c")
    root = Path(spec.path)
    (root / "cat" / "000.png").rename(root / "dog" / "zzz.png")
    assert open_cache(spec, 8, tmp_path / "c").digest != first.digest


def test_every_unreadable_image_is_named_at_once_and_nothing_is_left(spec, tmp_path):
    root = Path(spec.path)
    (root / "cat" / "001.png").write_bytes(b"")
    (root / "dog" / "002.png").write_bytes(b"<html>")
    with pytest.raises(DataError) as error:
        open_cache(spec, 8, tmp_path / "c")
    assert error.value.mistakes == (
        "image 'cat/001.png': is empty (0 bytes)",
        "image 'dog/002.png': is no image that Pillow knows",
    )
    assert folders(tmp_path / "c") == []


def test_a_damaged_cache_is_built_again(spec, tmp_path):
    first = open_cache(spec, 8, tmp_path / "c")
    folder = tmp_path / "c" / f"mine-8-{first.digest[:12]}"
    expected = np.array(first.images)
    labels = first.labels.tolist()
    for damage, word in (
        (lambda: os.truncate(folder / "pixels.bin", 200), "pixels.bin has 200 bytes, not 1536"),
        (lambda: flip_a_bit(folder / "pixels.bin", 700), "pixels.bin is not what was written"),
        (lambda: flip_a_bit(folder / "meta.json", 60), "meta.json is not what was written"),
        (lambda: flip_a_bit(folder / "arrays.npz", 130), "arrays.npz is not what was written"),
        (lambda: (folder / "arrays.npz").unlink(), "No such file"),
        (lambda: (folder / "SHA256SUMS").write_text("?"), "damaged"),
        (lambda: (folder / "in_use").unlink(), "No such file"),
    ):
        damage()
        close_sets()
        said: list[str] = []
        again = open_cache(spec, 8, tmp_path / "c", tell=said.append)
        assert again.digest == first.digest and np.array_equal(again.images, expected)
        assert again.labels.tolist() == labels
        assert len(said) == 1 and word in said[0] and folder.name in said[0]


def flip_a_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def test_what_is_gone_is_built_again_in_silence(spec, tmp_path):
    first = open_cache(spec, 8, tmp_path / "c")
    folder = tmp_path / "c" / f"mine-8-{first.digest[:12]}"
    for loss in (
        lambda: shutil.rmtree(folder),
        lambda: [p.write_text("?") for p in (tmp_path / "c" / "index").glob("*.json")],
    ):
        loss()
        close_sets()
        assert open_cache(spec, 8, tmp_path / "c", tell=pytest.fail).digest == first.digest


@pytest.fixture
def checked(monkeypatch) -> list[int]:
    """Grows by one for every block of pixels that is checked."""
    blocks: list[int] = []
    real = cache_files.zlib.crc32

    class Counting:
        @staticmethod
        def crc32(content: bytes) -> int:
            blocks.append(1)
            return real(content)

    monkeypatch.setattr(cache_files, "zlib", Counting)
    return blocks


def test_pixels_are_read_once_per_boot(spec, tmp_path, monkeypatch, checked):
    folder = tmp_path / "c" / f"mine-8-{open_cache(spec, 8, tmp_path / 'c').digest[:12]}"
    marks = tmp_path / "c" / "index"
    read_set(folder, marks)
    assert checked == []  # what was just written would come from memory
    monkeypatch.setattr(cache_files, "boot_id", lambda: "another boot")
    read_set(folder, marks)
    read_set(folder, marks)
    assert checked == [1]
    os.utime(folder / "pixels.bin")
    read_set(folder, marks)
    assert checked == [1, 1]
    monkeypatch.setattr(cache_files, "boot_id", lambda: "")
    read_set(folder, marks)
    read_set(folder, marks)
    assert checked == [1] * 4


def test_pixels_changed_while_the_rest_is_written_are_found(spec, tmp_path, monkeypatch):
    real = build.write_rest

    def meddling(aside: Path, *rest: object) -> None:
        flip_a_bit(aside / "pixels.bin", 700)
        real(aside, *rest)

    monkeypatch.setattr(build, "write_rest", meddling)
    with pytest.raises(ResourceError, match="pixels.bin is not what was written"):
        open_cache(spec, 8, tmp_path / "c")


def test_every_block_of_pixels_is_checked(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "GROUP", 3)
    data = open_cache(spec, 8, tmp_path / "c", "random")
    pixels = np.array(data.images.pixels)
    folder = tmp_path / "c" / f"mine-8c-{data.digest[:12]}"
    for place in (0, len(pixels) // 2, len(pixels) - 1):
        flip_a_bit(folder / "pixels.bin", place)
        with pytest.raises(DamagedError, match="pixels.bin is not what was written"):
            read_set(folder, tmp_path / "c" / "index")
        flip_a_bit(folder / "pixels.bin", place)
    read_set(folder, tmp_path / "c" / "index")


def test_the_size_of_groups_changes_nothing(spec, tmp_path, monkeypatch):
    one = open_cache(spec, 8, tmp_path / "a")
    monkeypatch.setattr(groups, "GROUP", 3)
    other = open_cache(spec, 8, tmp_path / "b")
    assert other.digest == one.digest and other.sha256 == one.sha256
    for name in ("images", "labels", "phash", "sizes"):
        assert np.array_equal(getattr(other, name), getattr(one, name))


def test_an_older_format_is_built_again(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_files, "FORMAT_VERSION", 1)
    folder = tmp_path / "c" / f"mine-8-{open_cache(spec, 8, tmp_path / 'c').digest[:12]}"
    monkeypatch.undo()
    with pytest.raises(DamagedError, match="of format 1, not 3"):
        read_set(folder, tmp_path / "c" / "index")
    close_sets()
    open_cache(spec, 8, tmp_path / "c")
    read_set(folder, tmp_path / "c" / "index")


def test_what_a_killed_builder_left_is_removed(spec, tmp_path):
    open_cache(spec, 8, tmp_path / "c")
    close_sets()
    (index,) = (tmp_path / "c" / "index").glob("*.json")
    left = tmp_path / "c" / f".building-{index.stem}-dead"
    left.mkdir()
    index.unlink()
    open_cache(spec, 8, tmp_path / "c")
    assert not left.exists()


def _open(arguments: tuple[DatasetSpec, Path]) -> str:
    return open_cache(arguments[0], 8, arguments[1]).digest


@pytest.mark.parametrize("locks", [True, False])
def test_builders_at_once_end_with_one_folder(spec, tmp_path, locks, monkeypatch):
    if not locks:
        monkeypatch.setattr(cache.fcntl, "flock", _no_locks)
    built = tmp_path / "built"
    real = build.Builder.build
    monkeypatch.setattr(
        build.Builder, "build", lambda self: (built.open("a").write("x"), real(self))[1]
    )
    with multiprocessing.get_context("fork").Pool(4) as pool:
        digests = set(pool.map(_open, [(spec, tmp_path / "c")] * 8))
    assert len(digests) == 1
    assert not locks or built.read_text() == "x"
    assert folders(tmp_path / "c") == [f"mine-8-{digests.pop()[:12]}"]


def _no_locks(file: object, mode: int) -> None:
    raise OSError("no locks here")


def test_a_full_disk_is_an_error_in_words_and_leaves_nothing(spec, tmp_path, monkeypatch):
    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "flush", full)
    with pytest.raises(ResourceError, match="cannot be written: .*No space left"):
        open_cache(spec, 8, tmp_path / "c")
    assert folders(tmp_path / "c") == []


def test_a_builder_killed_in_the_middle_is_cleaned_up_after(spec, tmp_path):
    reached = tmp_path / "reached"

    def builder() -> None:
        def stuck(content: object) -> None:
            reached.touch()
            time.sleep(60)

        groups.open_rgb = stuck
        open_cache(spec, 8, tmp_path / "c")

    child = multiprocessing.get_context("fork").Process(target=builder)
    child.start()
    while not reached.exists():
        time.sleep(0.01)
    child.kill()
    child.join()
    assert len(list((tmp_path / "c").glob(".building-*"))) == 1
    data = open_cache(spec, 8, tmp_path / "c")
    assert folders(tmp_path / "c") == [f"mine-8-{data.digest[:12]}"]


def test_progress_is_told_every_few_seconds(spec, tmp_path, monkeypatch):
    said: list[str] = []
    open_cache(spec, 8, tmp_path / "c", tell=said.append)
    assert said == []
    monkeypatch.setattr(build, "TELL_EVERY_S", 0.0)
    monkeypatch.setattr(groups, "GROUP", 3)
    open_cache(spec, 9, tmp_path / "c", tell=said.append)
    assert said == [f"data set mine: {count} of 8 images decoded" for count in (3, 6, 8)]


def test_pictures_keep_their_shape_for_crops(spec, tmp_path):
    Image.new("RGB", (40, 20)).save(Path(spec.path) / "cat" / "001.png")
    square = open_cache(spec, 14, tmp_path / "c")
    data = open_cache(spec, 14, tmp_path / "c", "random")
    assert isinstance(data.images, Frames) and len(data.images) == 8 and data.images.crop == 14
    assert [data.images[i].shape for i in (0, 1, 2)] == [(16, 16, 3), (16, 32, 3), (16, 16, 3)]
    assert data.images.nbytes == 3 * 16 * (7 * 16 + 32) and not data.images[1].flags.writeable
    with Image.open(Path(spec.path) / data.ids[5]) as image:
        assert np.array_equal(data.images[5], np.asarray(image))
    assert data.digest != square.digest and len(folders(tmp_path / "c")) == 2


def test_mistakes_of_the_spec_come_as_data_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_cache(DatasetSpec(name="mine", path=str(tmp_path / "none")), 8, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_meta_says_what_is_there(spec, tmp_path):
    data = open_cache(spec.model_copy(update={"group_by": "([0-9]+)[.]"}), 8, tmp_path / "c")
    meta = json.loads((tmp_path / "c" / f"mine-8-{data.digest[:12]}" / "meta.json").read_text())
    assert meta["groups"] == list(data.groups) == ["000", "001", "002", "003"] * 2
    assert (meta["image_size"], meta["digest"], meta["format"]) == (8, data.digest, 3)
