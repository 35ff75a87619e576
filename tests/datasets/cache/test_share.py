"""Decoded sets on a storage: a node without the images opens the same bytes, or says why not."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from raybench.datasets.cache import share
from raybench.datasets.cache.build import folder_name
from raybench.datasets.cache.files import ARRAYS, META, PIXELS, SUMS, CachedImages
from raybench.datasets.cache.share import publish_set, pull_set
from raybench.datasets.cache.store import close_sets, open_cache
from raybench.datasets.task import load_task
from raybench.errors import DataError, ResourceError
from raybench.spec import DatasetSpec
from raybench.storage import Store


@pytest.fixture(autouse=True)
def _nothing_kept_open() -> Iterator[None]:
    close_sets()
    yield
    close_sets()


@pytest.fixture
def spec(image_folder: Callable[..., Path]) -> DatasetSpec:
    return DatasetSpec(name="mine", path=str(image_folder(per_class=4)))


@pytest.fixture
def storage(tmp_path: Path) -> Store:
    return Store(tmp_path / "storage")


@pytest.fixture
def data(spec: DatasetSpec, storage: Store, tmp_path: Path) -> CachedImages:
    """Decoded on the driver and published."""
    data = open_cache(spec, 8, tmp_path / "driver")
    publish_set(tmp_path / "driver" / name_of(data), storage, lambda text: None)
    return data


def name_of(data: CachedImages) -> str:
    return folder_name("mine", 8, "none", data.digest)


def pull(data: CachedImages, storage: Store, node: Path) -> bool:
    return pull_set(name_of(data), data.digest, storage, node, lambda text: None)


def test_a_node_without_the_images_opens_the_same(
    spec: DatasetSpec, data: CachedImages, storage: Store, tmp_path: Path
) -> None:
    shutil.rmtree(str(spec.path))
    assert pull(data, storage, tmp_path / "node")
    task = load_task(spec, 8, "full", 0, tmp_path / "node", digest=data.digest)
    assert np.array_equal(task.images, data.images) and task.ids == data.ids
    assert task.data_digest == data.digest
    left = {path.name for path in (tmp_path / "node").iterdir()}
    assert left == {"index", name_of(data)}


def test_crops_too(spec: DatasetSpec, storage: Store, tmp_path: Path) -> None:
    data = open_cache(spec, 8, tmp_path / "driver", "random")
    name = folder_name("mine", 8, "random", data.digest)
    publish_set(tmp_path / "driver" / name, storage, lambda text: None)
    shutil.rmtree(str(spec.path))
    assert pull_set(name, data.digest, storage, tmp_path / "node", lambda text: None)
    again = open_cache(spec, 8, tmp_path / "node", "random", digest=data.digest)
    assert np.array_equal(again.images[3], data.images[3])


def test_images_that_are_here_count_as_ever(
    spec: DatasetSpec, data: CachedImages, storage: Store, tmp_path: Path
) -> None:
    """Changed ones must be seen, whatever was published."""
    assert pull(data, storage, tmp_path / "node")
    (Path(str(spec.path)) / "cat" / "000.png").unlink()
    assert open_cache(spec, 8, tmp_path / "node", digest=data.digest).digest != data.digest


def test_without_images_and_without_a_copy_it_is_refused(
    spec: DatasetSpec, data: CachedImages, tmp_path: Path
) -> None:
    shutil.rmtree(str(spec.path))
    with pytest.raises(DataError, match="images"):
        open_cache(spec, 8, tmp_path / "node", digest=data.digest)


def test_another_set_of_that_name_is_not_taken(
    spec: DatasetSpec, data: CachedImages, storage: Store, tmp_path: Path
) -> None:
    shutil.rmtree(str(spec.path))
    other = data.digest[:12] + "0" * 52
    assert not pull_set(name_of(data), other, storage, tmp_path / "node", lambda text: None)
    assert pull(data, storage, tmp_path / "node")
    with pytest.raises(DataError):
        open_cache(spec, 8, tmp_path / "node", digest=other)


def test_what_is_there_is_not_sent_again(
    data: CachedImages, storage: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda *args: sent.append(args[1]) or put(*args))
    folder = tmp_path / "driver" / name_of(data)
    publish_set(folder, storage, lambda text: None)
    assert sent == []
    storage.delete([f"datasets/{folder.name}/{SUMS}"])  # as after a kill
    publish_set(folder, storage, lambda text: None)
    assert [Path(name).name for name in sent] == [PIXELS, ARRAYS, META, SUMS]


def test_what_is_half_published_is_none(data: CachedImages, storage: Store, tmp_path: Path) -> None:
    storage.delete([f"datasets/{name_of(data)}/{SUMS}"])
    assert not pull(data, storage, tmp_path / "node")
    assert not (tmp_path / "node" / name_of(data)).exists()


@pytest.mark.parametrize("name", [PIXELS, ARRAYS, META])
def test_what_is_damaged_on_the_storage_is_not_taken(
    data: CachedImages, storage: Store, tmp_path: Path, name: str
) -> None:
    place = f"datasets/{name_of(data)}/{name}"
    content = bytearray(storage.get(place))
    content[len(content) // 2] ^= 1
    storage.put(place, bytes(content))
    said: list[str] = []
    assert not pull_set(name_of(data), data.digest, storage, tmp_path / "node", said.append)
    assert "was damaged" in said[-1] and storage.uri("datasets") in said[-1]
    assert [path.name for path in (tmp_path / "node").iterdir()] == ["index"]
    publish_set(tmp_path / "driver" / name_of(data), storage, said.append)
    assert pull(data, storage, tmp_path / "node"), "who publishes again mends it"


def test_what_is_damaged_on_the_node_comes_again(
    spec: DatasetSpec, data: CachedImages, storage: Store, tmp_path: Path
) -> None:
    assert pull(data, storage, tmp_path / "node")
    (tmp_path / "node" / name_of(data) / META).write_text("{}")
    assert pull(data, storage, tmp_path / "node")
    shutil.rmtree(str(spec.path))
    assert open_cache(spec, 8, tmp_path / "node", digest=data.digest).digest == data.digest


def _pull(arguments: tuple[str, str, Path, Path]) -> list[str]:
    name, digest, storage, node = arguments
    said: list[str] = []
    assert pull_set(name, digest, Store(storage), node, said.append)
    return said


def test_one_process_of_a_node_pulls(data: CachedImages, storage: Store, tmp_path: Path) -> None:
    job = (name_of(data), data.digest, Path(storage.place), tmp_path / "node")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        said = pool.map(_pull, [job] * 3)
    assert sum(map(len, said)) == 1


def test_what_a_killed_puller_left_is_removed(
    data: CachedImages, storage: Store, tmp_path: Path
) -> None:
    (tmp_path / "node" / f".pulling-{name_of(data)}-0").mkdir(parents=True)
    assert pull(data, storage, tmp_path / "node")
    assert not list((tmp_path / "node").glob(".pulling-*"))


def test_a_storage_that_is_away_is_said_in_words(
    data: CachedImages, storage: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ResourceError("the storage is away")

    monkeypatch.setattr(share.Store, "get_file", away)
    with pytest.raises(ResourceError, match="the storage is away"):
        pull(data, storage, tmp_path / "node")
    assert [path.name for path in (tmp_path / "node").iterdir()] == ["index"]
