"""The cache: built once, found again, rebuilt when anything that counts has changed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raybench.datasets import cache
from raybench.datasets.cache import open_cache
from raybench.errors import DataError, ResourceError
from raybench.spec import DatasetSpec


@pytest.fixture
def spec(image_folder) -> DatasetSpec:
    return DatasetSpec(name="mine", path=str(image_folder(per_class=4)))


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """Grows by one for every image that is decoded."""
    calls: list[int] = []
    real = cache.decode_image

    def counting(content, size):
        calls.append(size)
        return real(content, size)

    monkeypatch.setattr(cache, "decode_image", counting)
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


def test_a_second_call_decodes_and_hashes_nothing(spec, tmp_path, decoded, monkeypatch):
    first = open_cache(spec, 8, tmp_path / "c")
    monkeypatch.setattr(cache, "content_sha256", lambda content: pytest.fail("hashed again"))
    assert open_cache(spec, 8, tmp_path / "c").digest == first.digest
    assert len(decoded) == 8


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
    for damage in (
        lambda: os.truncate(folder / "images.npy", 200),
        lambda: (folder / "meta.json").write_text("{"),
        lambda: (folder / "labels.npy").unlink(),
        lambda: shutil.rmtree(folder),
        lambda: [p.write_text("?") for p in (tmp_path / "c" / "index").glob("*.json")],
    ):
        damage()
        again = open_cache(spec, 8, tmp_path / "c")
        assert again.digest == first.digest and np.array_equal(again.images, expected)


def test_what_a_killed_builder_left_is_removed(spec, tmp_path):
    open_cache(spec, 8, tmp_path / "c")
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
    with multiprocessing.get_context("fork").Pool(4) as pool:
        digests = set(pool.map(_open, [(spec, tmp_path / "c")] * 8))
    assert len(digests) == 1
    assert folders(tmp_path / "c") == [f"mine-8-{digests.pop()[:12]}"]


def _no_locks(file: object, mode: int) -> None:
    raise OSError("no locks here")


def test_a_full_disk_is_an_error_in_words_and_leaves_nothing(spec, tmp_path, monkeypatch):
    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_flush", full)
    with pytest.raises(ResourceError, match="cannot be written: .*No space left"):
        open_cache(spec, 8, tmp_path / "c")
    assert folders(tmp_path / "c") == []


def test_mistakes_of_the_spec_come_as_data_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_cache(DatasetSpec(name="mine", path=str(tmp_path / "none")), 8, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_meta_says_what_is_there(spec, tmp_path):
    data = open_cache(spec.model_copy(update={"group_by": "([0-9]+)[.]"}), 8, tmp_path / "c")
    meta = json.loads((tmp_path / "c" / f"mine-8-{data.digest[:12]}" / "meta.json").read_text())
    assert meta["groups"] == list(data.groups) == ["000", "001", "002", "003"] * 2
    assert (meta["image_size"], meta["digest"], meta["format"]) == (8, data.digest, 1)
