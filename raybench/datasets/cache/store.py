"""Decoded images on disk: content-addressed, memory-mapped, built once per machine.

    <cache_dir>/<name>-<size>-<digest12>/    one decoded set: see `files`
    <cache_dir>/index/<key>.json             what an unchanged spec had as its digest
    <cache_dir>/index/<key>.lock             held while hashing and building
    <cache_dir>/index/<folder>.verified      when its pixels were last read and found sound
    <cache_dir>/downloads/                   what was fetched

A folder is built aside, flushed and renamed, so one that exists is whole. Where locks do not work
(some network file systems) two builders end with the same content, and the later one yields. The
files of a user's folder are listed again in each process; while a process keeps a set open, asking
for their times is enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

from raybench.datasets.cache.build import Builder, Tell, folder_name
from raybench.datasets.cache.files import (
    ARRAYS,
    FORMAT_VERSION,
    META,
    PIXELS,
    SUMS,
    DamagedError,
    read_set,
    write_flushed,
)
from raybench.datasets.cache.files import CachedImages as CachedImages
from raybench.datasets.cache.fit import MAX_RATIO, Crop, short_side
from raybench.datasets.cache.prune import make_room
from raybench.datasets.listing import ListedImage
from raybench.datasets.sources.open import fingerprint, open_source
from raybench.datasets.sources.samples import Source
from raybench.errors import ResourceError
from raybench.spec import DatasetSpec

KEPT_OPEN = 4
_LONGEST = 1.5  # of a picture's long side to its short one, as room is reckoned; 4:3 is usual

Stat = tuple[int, int, int]
_open_sets: OrderedDict[str, tuple[dict[str, Stat], CachedImages]] = OrderedDict()
_open_sets_lock = threading.Lock()


def open_cache(
    spec: DatasetSpec,
    image_size: int,
    cache_dir: Path,
    crop: Crop = "none",
    tell: Tell = lambda sentence: None,
    digest: str = "",
) -> CachedImages:
    """The data set, from the cache where it is there, else decoded into it first.

    Args:
        spec: the data set.
        image_size: side of what a network will see.
        cache_dir: where decoded sets stand.
        crop: as in the recipe; see ``fit``.
        tell: hears of progress and of what was mended.
        digest: of the set that is meant, where it is known: then the cache's is as good as one
            whose own files are not on this machine. Files that are here count as ever.

    Raises:
        DataError: mistakes of the spec, or unreadable images, all of them at once.
        ResourceError: cannot be downloaded, or the cache cannot be written.
    """
    name = json.dumps([spec.model_dump(mode="json"), image_size, crop, str(cache_dir), digest])
    watched, data = _open_sets.get(name, ({}, None))
    if data is None or not _unchanged(watched):
        watched, folder, data = _by_digest(spec, image_size, crop, cache_dir, digest) or _by_source(
            spec, image_size, crop, cache_dir, tell
        )
        watched |= _stats(str(folder / file) for file in (PIXELS, ARRAYS, META, SUMS))
    _keep_open(name, watched, data)
    return data


_Opened = tuple[dict[str, Stat], Path, CachedImages]
"""What a change of would be noticed, the set's folder, and the set."""


def _by_digest(
    spec: DatasetSpec, image_size: int, crop: Crop, cache_dir: Path, digest: str
) -> _Opened | None:
    """None: not asked for, not there, or the user's own files are here to be looked at."""
    if not digest or (spec.path is not None and Path(spec.path).exists()):
        return None
    folder = cache_dir / folder_name(spec.name, image_size, crop, digest)
    try:
        data = read_set(folder, cache_dir / "index")
    except (FileNotFoundError, DamagedError):
        return None
    return ({}, folder, data) if data.digest == digest else None


def _by_source(
    spec: DatasetSpec, image_size: int, crop: Crop, cache_dir: Path, tell: Tell
) -> _Opened:
    facts, images = fingerprint(spec, cache_dir / "downloads" / spec.name)
    text = json.dumps([FORMAT_VERSION, image_size, crop, spec.name, spec.path, facts])
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    watched = _watch(spec, images)
    return watched, *_find_or_build(spec, images, image_size, crop, cache_dir, key, tell)


def _keep_open(name: str, watched: dict[str, Stat], data: CachedImages) -> None:
    """For the next trial in this process; the set that was asked for longest ago is let go."""
    with _open_sets_lock:
        _open_sets[name] = watched, data
        _open_sets.move_to_end(name)
        while len(_open_sets) > KEPT_OPEN:
            _open_sets.popitem(last=False)


def close_sets() -> None:
    """Lets go of the sets that this process keeps open for its next trial."""
    with _open_sets_lock:
        _open_sets.clear()


def _watch(spec: DatasetSpec, images: Iterable[ListedImage]) -> dict[str, Stat]:
    """The user's files and every folder that could get a new one, as they are now."""
    if spec.path is None:
        return {}
    places = {spec.path, *(image.path for image in images)}
    for root in {spec.path, spec.root or spec.path}:
        places |= {folder for folder, _, _ in os.walk(root)}
    return _stats(places)


def _stats(paths: Iterable[str]) -> dict[str, Stat]:
    stats = ((path, os.stat(path)) for path in paths)  # noqa: PTH116 - 100,000 of them
    return {path: (s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats}


def _unchanged(watched: dict[str, Stat]) -> bool:
    try:
        return _stats(watched) == watched
    except OSError:
        return False


def _find_or_build(
    spec: DatasetSpec,
    images: list[ListedImage],
    image_size: int,
    crop: Crop,
    cache_dir: Path,
    key: str,
    tell: Tell,
) -> tuple[Path, CachedImages]:
    index = cache_dir / "index"
    try:
        found = _known(cache_dir, key, lambda sentence: None)
        if found is not None:
            return found
        index.mkdir(parents=True, exist_ok=True)
        with locked(index / f"{key}.lock") as alone:
            found = _known(cache_dir, key, tell)
            if found is not None:
                return found
            for left in cache_dir.glob(f".building-{key}-*") if alone else ():
                shutil.rmtree(left, ignore_errors=True)
            source = open_source(spec, images, cache_dir / "downloads" / spec.name, tell)
            make_room(cache_dir, _expected_bytes(source, image_size, crop), tell)
            folder = Builder(spec.name, source, image_size, crop, cache_dir, key, tell).build()
            write_flushed(index / f"{key}.json", json.dumps({"folder": folder.name}).encode())
            return folder, read_set(folder, index)
    except (OSError, DamagedError) as error:
        raise ResourceError(f"the data cache {cache_dir} cannot be written: {error}") from error


def _expected_bytes(source: Source, image_size: int, crop: Crop) -> int:
    side = short_side(image_size, crop)
    longest = 1.0 if crop == "none" else min(_LONGEST, MAX_RATIO)
    return int(3 * side * side * longest * len(source.samples))


def _known(cache_dir: Path, key: str, tell: Tell) -> tuple[Path, CachedImages] | None:
    """The sound set that an equal spec and equal files led to before."""
    try:
        name = json.loads((cache_dir / "index" / f"{key}.json").read_bytes())["folder"]
        return cache_dir / name, read_set(cache_dir / name, cache_dir / "index")
    except DamagedError as error:
        tell(f"cache: {name} is damaged ({error}); it is built again")
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock; yields False where the file system has none (renaming decides there)."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
