"""Decoded sets on a storage that all nodes reach: a node needs neither the images nor a network.

    <storage>/datasets/<name>-<size>-<digest12>/    a set's files; SHA256SUMS is put last

A node takes a set aside, checks it as any opening does (sums, every block of pixels, the digest)
and renames it into its cache. Who waits for another process's copy finds it whole.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from raybench.datasets.cache.build import Tell, put_in_place
from raybench.datasets.cache.files import (
    ARRAYS,
    IN_USE,
    META,
    PIXELS,
    SUMS,
    DamagedError,
    file_state,
    read_set,
)
from raybench.datasets.cache.prune import make_room
from raybench.datasets.cache.store import locked
from raybench.errors import ResourceError
from raybench.storage import Store

SHARED = "datasets"
_FILES = (PIXELS, ARRAYS, META, SUMS)
_GB = 1e9


def publish_set(folder: Path, storage: Store, tell: Tell) -> None:
    """Put a set of this machine's cache on the storage, unless it is there.

    Raises:
        OSError, ResourceError: the set cannot be read, or the storage not be written.
    """
    place = f"{SHARED}/{folder.name}"
    sizes = {f"{place}/{name}": (folder / name).stat().st_size for name in _FILES}
    if storage.sizes(place).items() >= sizes.items():
        return
    gigabytes = sum(sizes.values()) / _GB
    tell(f"data: {folder.name} ({gigabytes:.2f} GB) goes to the storage, for all nodes")
    for name in _FILES:
        storage.put(f"{place}/{name}", folder / name)


def pull_set(name: str, digest: str, storage: Store, cache_dir: Path, tell: Tell) -> bool:
    """Make this node's cache have a set; whether it has it now.

    Args:
        name: of its folder.
        digest: what its content must have.
        storage: where ``publish_set`` may have put it.
        cache_dir: this node's.
        tell: hears of a copy, and of a damaged one.

    Raises:
        ResourceError: the storage is out of reach, or the cache has no room.
    """
    index = cache_dir / "index"
    try:
        index.mkdir(parents=True, exist_ok=True)
        with locked(index / f"{name}.lock") as alone:
            if _is_here(cache_dir / name, digest, index):
                return True
            for left in cache_dir.glob(f".pulling-{name}-*") if alone else ():
                shutil.rmtree(left, ignore_errors=True)
            return _pull(name, digest, storage, cache_dir, tell)
    except OSError as error:
        raise ResourceError(f"the data cache {cache_dir} cannot be written: {error}") from error


def _pull(name: str, digest: str, storage: Store, cache_dir: Path, tell: Tell) -> bool:
    place = f"{SHARED}/{name}"
    sizes = storage.sizes(place)
    if f"{place}/{SUMS}" not in sizes:
        return False
    make_room(cache_dir, sum(sizes.values()), tell)
    tell(f"data: {name} comes from the storage ({sum(sizes.values()) / _GB:.2f} GB)")
    aside = cache_dir / f".pulling-{name}-{uuid.uuid4().hex[:8]}"
    marks = aside / "marks"
    try:
        marks.mkdir(parents=True)
        for file in _FILES:
            storage.get_file(f"{place}/{file}", aside / file)
        (aside / IN_USE).touch()
        if read_set(aside, marks).digest != digest:
            tell(f"data: {storage.uri(place)} is another set of that name, and not used")
            return False
        shutil.rmtree(marks)
        with (aside / PIXELS).open("rb") as pixels:
            state = file_state(pixels)
        put_in_place(aside, cache_dir / name, state, cache_dir / "index")
    except (DamagedError, FileNotFoundError) as error:
        # Of the right sizes it would stay: who publishes does not read it all.
        storage.delete([f"{place}/{SUMS}"])
        tell(
            f"data: {storage.uri(place)} was damaged ({error}) and is not used; the next start "
            "puts it there again"
        )
        return False
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _is_here(folder: Path, digest: str, marks: Path) -> bool:
    try:
        _check(folder, digest, marks)
    except (DamagedError, FileNotFoundError):
        return False
    return True


def _check(folder: Path, digest: str, marks: Path) -> None:
    """Read the set.

    Raises:
        FileNotFoundError: there is none. DamagedError: it is another, or not what was written.
    """
    came = read_set(folder, marks).digest
    if came != digest:
        raise DamagedError(f"its digest is {came[:12]}, not {digest[:12]}")
