"""Decodes a data set into a folder of the cache, with as many threads as there are cores.

Pillow decodes and resizes without the interpreter's lock. JPEG's draft mode (decoding at a half, a
quarter, an eighth) is not used: the pixels would differ, and so would sizes and perceptual hashes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cache.files import (
    PIXELS,
    DamagedError,
    file_state,
    flush,
    note_verified,
    read_set,
    write_rest,
)
from raybench.datasets.cache.fit import Crop
from raybench.datasets.cache.groups import Group, cores, decode_group, hash_group, in_groups
from raybench.datasets.sources.samples import Source
from raybench.errors import DataError

Tell = Callable[[str], None]
DIGEST_VERSION = 1  # of what the digest is made of
TELL_EVERY_S = 3.0


def folder_name(name: str, image_size: int, crop: Crop, digest: str) -> str:
    """What the folder of a set is called in any cache."""
    return f"{name}-{image_size}{'c' if crop == 'random' else ''}-{digest[:12]}"


class Builder:
    """Builds one set.

    Args:
        name: of the data set.
        source: its samples.
        image_size: side of what a network will see.
        crop: as in the recipe.
        cache_dir: where the folder goes. key: names what is built aside.
        tell: hears of progress.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        image_size: int,
        crop: Crop,
        cache_dir: Path,
        key: str,
        tell: Tell,
    ) -> None:
        self.name, self.source, self.image_size, self.crop = name, source, image_size, crop
        self.cache_dir, self.key, self.tell = cache_dir, key, tell

    def build(self) -> Path:
        """The folder, which is there and whole.

        Raises:
            DataError: unreadable images, each with its reason.
            OSError: cannot be written.
        """
        with ThreadPoolExecutor(max_workers=cores()) as pool:
            known = self._same_content(pool)
            if known is not None:
                return known
            aside = self.cache_dir / f".building-{self.key}-{uuid.uuid4().hex[:8]}"
            try:
                aside.mkdir()
                digest, state = self._write(aside, pool)
                folder = self.folder(digest)
                put_in_place(aside, folder, state, self.cache_dir / "index")
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return folder

    def folder(self, digest: str) -> Path:
        return self.cache_dir / folder_name(self.name, self.image_size, self.crop, digest)

    def _same_content(self, pool: ThreadPoolExecutor) -> Path | None:
        """A folder built from equal files elsewhere; hashing is cheaper than decoding."""
        others = folder_name(self.name, self.image_size, self.crop, "*")
        if not any(self.cache_dir.glob(others)):
            return None
        hashed = self._progress(in_groups(pool, hash_group, self.source.samples), "hashed")
        hashes = [sha256 for group in _all_good(hashed) for sha256 in group.sha256]
        folder = self.folder(self._digest(hashes))
        try:
            read_set(folder, self.cache_dir / "index")
        except (FileNotFoundError, DamagedError):
            return None
        return folder

    def _write(self, aside: Path, pool: ThreadPoolExecutor) -> tuple[str, list[int]]:
        """Decode; the digest, and the state of the file of pixels."""
        decode = functools.partial(decode_group, image_size=self.image_size, crop=self.crop)
        decoded = self._progress(in_groups(pool, decode, self.source.samples), "decoded")
        groups: list[Group] = []
        # Ordinary writes, since a full disk kills a process that writes a map.
        with (aside / PIXELS).open("wb") as file:
            for group in _all_good(decoded):
                file.write(group.pixels)
                groups.append(group.without_pixels())
            flush(file)
            state = file_state(file)
        hashes = [sha256 for group in groups for sha256 in group.sha256]
        digest = self._digest(hashes)
        write_rest(aside, self._arrays(groups), self._meta(digest, hashes))
        return digest, state

    def _arrays(self, groups: Sequence[Group]) -> dict[str, NDArray[Any]]:
        return {
            "labels": np.array([s.label for s in self.source.samples], dtype=np.int64),
            "sizes": np.concatenate([group.sizes for group in groups]),
            "shapes": np.concatenate([group.shapes for group in groups]),
            "phash": np.concatenate([group.phash for group in groups]),
            "blocks": np.array([(g.bytes, g.crc32) for g in groups], dtype=np.int64),
        }

    def _meta(self, digest: str, hashes: Sequence[str]) -> dict[str, Any]:
        samples = self.source.samples
        return {
            "digest": digest,
            "name": self.name,
            "image_size": self.image_size,
            "crop": self.crop,
            "classes": self.source.classes,
            "ids": [sample.id for sample in samples],
            "splits": [sample.split for sample in samples],
            "groups": [sample.group for sample in samples],
            "sha256": hashes,
        }

    def _digest(self, hashes: Sequence[str]) -> str:
        """SHA-256 over what decides the pixels, labels and splits; not over places or times."""
        rows = [
            [s.id, self.source.classes[s.label], s.split, s.group, sha256]
            for s, sha256 in zip(self.source.samples, hashes, strict=True)
        ]
        cropped = [self.crop] if self.crop != "none" else []
        text = json.dumps([DIGEST_VERSION, self.image_size, self.source.classes, rows, *cropped])
        return hashlib.sha256(text.encode()).hexdigest()

    def _progress(self, groups: Iterable[Group], word: str) -> Iterator[Group]:
        total, done, said = len(self.source.samples), 0, time.monotonic()
        for group in groups:
            yield group
            done += group.count
            if time.monotonic() - said >= TELL_EVERY_S:
                self.tell(f"data set {self.name}: {done:,} of {total:,} images {word}")
                said = time.monotonic()


def _all_good(groups: Iterable[Group]) -> Iterator[Group]:
    """Every group while none has failed.

    Raises:
        DataError: after the last one, what was wrong with each picture that has.
    """
    mistakes: list[str] = []
    for group in groups:
        mistakes += group.problems
        if not mistakes:
            yield group
    if mistakes:
        raise DataError(sorted(mistakes))


def put_in_place(aside: Path, folder: Path, state: list[int], marks: Path) -> None:
    """Rename; if another builder was first, its equal folder stays; a damaged one goes."""
    if folder.exists() and not _is_whole(folder, marks):
        shutil.rmtree(folder)
    try:
        aside.rename(folder)
    except OSError:
        if not _is_whole(folder, marks):
            raise
    else:
        note_verified(folder, state, marks)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _is_whole(folder: Path, marks: Path) -> bool:
    try:
        read_set(folder, marks)
    except (FileNotFoundError, DamagedError):
        return False
    return True
