"""Decoded images on disk: content-addressed, memory-mapped, built once per machine.

    <cache_dir>/<name>-<size>-<digest12>/    images.npy  labels.npy  meta.json
    <cache_dir>/index/<key>.json             what an unchanged spec had as its digest
    <cache_dir>/index/<key>.lock             held while hashing and building
    <cache_dir>/downloads/                   what torchvision fetched

A folder is built aside, flushed and renamed, so one that exists is whole. Where locks do not work
(some network file systems) two builders end with the same content, and the later one yields.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards import Split
from raybench.datasets.decode import decode_image
from raybench.datasets.samples import Sample, Source, content_sha256
from raybench.datasets.sources import fingerprint, open_source
from raybench.errors import DataError, ResourceError
from raybench.spec import DatasetSpec

FORMAT_VERSION = 1
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class CachedImages:
    """One data set at one size: (N, H, W, 3) uint8 pixels, mapped, and what is known of each."""

    images: np.memmap[Any, np.dtype[np.uint8]]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    splits: tuple[Split | None, ...]
    groups: tuple[str | None, ...]
    digest: str


def open_cache(spec: DatasetSpec, image_size: int, cache_dir: Path) -> CachedImages:
    """The data set, from the cache where it is there, else decoded into it first.

    Raises:
        DataError: mistakes of the spec, or unreadable images, all of them at once.
        ResourceError: cannot be downloaded, or the cache cannot be written.
    """
    facts, images = fingerprint(spec)
    text = json.dumps([FORMAT_VERSION, image_size, spec.name, spec.path, facts])
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    known = _known_folder(cache_dir, key)
    if known is not None:
        return _open_folder(known)
    try:
        (cache_dir / "index").mkdir(parents=True, exist_ok=True)
        with _locked(cache_dir / "index" / f"{key}.lock") as alone:
            known = _known_folder(cache_dir, key)
            if known is None:
                for left in cache_dir.glob(f".building-{key}-*") if alone else ():
                    shutil.rmtree(left, ignore_errors=True)
                source = open_source(spec, images, cache_dir / "downloads" / spec.name)
                known = _build(spec.name, source, image_size, cache_dir, key)
    except OSError as error:
        raise ResourceError(f"the data cache {cache_dir} cannot be written: {error}") from error
    return _open_folder(known)


def _known_folder(cache_dir: Path, key: str) -> Path | None:
    """The whole folder that an equal spec and equal files led to before."""
    try:
        name = json.loads((cache_dir / "index" / f"{key}.json").read_text())["folder"]
    except (OSError, ValueError, KeyError):
        return None
    return cache_dir / name if _is_whole(cache_dir / name) else None


def _is_whole(folder: Path) -> bool:
    """Whether every file has the size that was written down when it was built."""
    try:
        sizes = json.loads((folder / "meta.json").read_text())["bytes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def _open_folder(folder: Path) -> CachedImages:
    meta = json.loads((folder / "meta.json").read_text())
    images: np.memmap[Any, np.dtype[np.uint8]] = np.load(folder / "images.npy", mmap_mode="r")
    return CachedImages(
        images=images,
        labels=np.load(folder / "labels.npy"),
        ids=tuple(meta["ids"]),
        classes=tuple(meta["classes"]),
        splits=tuple(meta["splits"]),
        groups=tuple(meta["groups"]),
        digest=meta["digest"],
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock; yields False where the file system has none (renaming decides there)."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True


def _build(name: str, source: Source, size: int, cache_dir: Path, key: str) -> Path:
    """Hash, decode and write ``source`` aside, then rename it to the name its content gives."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        hashes = _hash_all(source, pool)
        digest = _digest(source, hashes, size)
        folder = cache_dir / f"{name}-{size}-{digest[:12]}"
        if not _is_whole(folder):
            aside = cache_dir / f".building-{key}-{uuid.uuid4().hex[:8]}"
            try:
                aside.mkdir()
                _write_images(aside / "images.npy", source, hashes, size, pool)
                _write_rest(aside, source, size, digest)
                _put(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    _write_flushed(cache_dir / "index" / f"{key}.json", json.dumps({"folder": folder.name}))
    return folder


def _hash_all(source: Source, pool: ThreadPoolExecutor) -> list[str]:
    mistakes: list[str] = []

    def digest(sample: Sample) -> str:
        try:
            return content_sha256(sample.read())
        except OSError as error:
            mistakes.append(f"image '{sample.id}': {error.strerror}")
            return ""

    hashes = list(pool.map(digest, source.samples))
    if mistakes:
        raise DataError(sorted(mistakes))
    return hashes


def _digest(source: Source, hashes: list[str], size: int) -> str:
    """SHA-256 over what decides the pixels, labels and splits; not over places or times."""
    rows = [
        [s.id, source.classes[s.label], s.split, s.group, sha256]
        for s, sha256 in zip(source.samples, hashes, strict=True)
    ]
    text = json.dumps([FORMAT_VERSION, size, source.classes, rows])
    return hashlib.sha256(text.encode()).hexdigest()


def _write_images(
    path: Path, source: Source, hashes: list[str], size: int, pool: ThreadPoolExecutor
) -> None:
    """Decode in chunks; ordinary writes, since a full disk kills a process that writes a map.

    Raises:
        DataError: unreadable images, each with its reason.
    """
    mistakes: list[str] = []

    def decode(index: int) -> NDArray[np.uint8] | None:
        sample = source.samples[index]
        try:
            content = sample.read()
            if content_sha256(content) != hashes[index]:
                raise ValueError("changed while it was being read; run again")
            return decode_image(content, size)
        except (OSError, ValueError) as error:
            mistakes.append(f"image '{sample.id}': {error}")
            return None

    total = len(source.samples)
    header = {"descr": "|u1", "fortran_order": False, "shape": (total, size, size, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, total, _CHUNK):
            chunk = list(pool.map(decode, range(start, min(start + _CHUNK, total))))
            if not mistakes:
                file.write(np.stack([pixels for pixels in chunk if pixels is not None]).data)
        _flush(file)
    if mistakes:
        raise DataError(sorted(mistakes))


def _write_rest(aside: Path, source: Source, size: int, digest: str) -> None:
    with (aside / "labels.npy").open("wb") as file:
        np.save(file, np.array([sample.label for sample in source.samples], dtype=np.int64))
        _flush(file)
    meta = {
        "format": FORMAT_VERSION,
        "digest": digest,
        "image_size": size,
        "classes": source.classes,
        "ids": [sample.id for sample in source.samples],
        "splits": [sample.split for sample in source.samples],
        "groups": [sample.group for sample in source.samples],
        "bytes": {n: (aside / n).stat().st_size for n in ("images.npy", "labels.npy")},
    }
    _write_flushed(aside / "meta.json", json.dumps(meta))


def _put(aside: Path, folder: Path) -> None:
    """Rename; if another builder was first, its equal folder stays; a damaged one goes."""
    if folder.exists() and not _is_whole(folder):
        shutil.rmtree(folder)
    try:
        aside.rename(folder)
    except OSError:
        if not _is_whole(folder):
            raise
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _write_flushed(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with aside.open("w") as file:
        file.write(text)
        _flush(file)
    aside.replace(path)


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
