"""One decoded data set on disk: how it is written, verified and read.

    pixels.bin    uint8 RGB, picture after picture, mapped by all who use it
    arrays.npz    labels (N,) int64; sizes, shapes (N, 2) int32; phash (N,) uint64; blocks
                  (B, 2) int64: length and CRC-32 of each piece of pixels.bin, in order
    meta.json     ids, classes, splits, groups, hashes, digest
    SHA256SUMS    of arrays.npz and meta.json, as sha256sum -c reads it
    in_use        locked (shared) by every process that has the set open; its time is the last use

Every opening checks SHA256SUMS, which covers all but the pixels, and the size of pixels.bin. The
pixels are read and checked against their CRC-32 once per boot of a machine, and whenever the file's
times or size have changed since: that finds what a crash, a copy or a failing disk has done to the
file, but not what a disk does to it between two checks. Building counts as the check of this boot:
read right after being written, pixels come from memory, which says nothing of the disk. So a disk
that garbles them on the way is found after the next boot, or by a machine that shares the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cache.frames import Images, make_frames
from raybench.datasets.cards import Split

FORMAT_VERSION = 3
PIXELS, ARRAYS, META, SUMS, IN_USE = "pixels.bin", "arrays.npz", "meta.json", "SHA256SUMS", "in_use"
_BOOTS_KEPT = 64
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class DamagedError(Exception):
    """The folder is there, but not what was written; says in which way."""


class Hold:
    """A shared lock on a set, for as long as this lives: the set is not pruned meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Also notes the time of use; None where the file system has no locks."""
        while True:
            held = cls(_open_for_lock(folder / IN_USE))
            try:
                fcntl.flock(held._descriptor, fcntl.LOCK_SH)
            except OSError:
                return None
            if os.path.samestat(os.fstat(held._descriptor), (folder / IN_USE).stat()):
                with contextlib.suppress(OSError):  # another user's cache, read-only to us
                    os.utime(held._descriptor)
                return held
            # Pruned, and perhaps built again, between opening and locking.

    def __del__(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True, eq=False)
class CachedImages:
    """One data set at one size, and what is known of each picture.

    Attributes:
        images: uint8, mapped, read-only; (N, S, S, 3), with ``crop: random`` ``Frames``.
        labels: (N,) int64 indices into ``classes``.
        sha256: of each file as it came. phash: (N,) uint64 perceptual hashes of the whole pictures.
        sizes: (N, 2) int32, width and height before resizing, upright.
        use: keeps the set from being pruned while this value lives.
    """

    images: Images
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    splits: tuple[Split | None, ...]
    groups: tuple[str | None, ...]
    digest: str
    sha256: tuple[str, ...]
    phash: NDArray[np.uint64]
    sizes: NDArray[np.int32]
    use: Hold | None = field(default=None, repr=False)


def read_set(folder: Path, marks: Path) -> CachedImages:
    """The set, verified and marked as used.

    Args:
        folder: where it stands.
        marks: a folder for notes of what was verified since when.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not what was written, or of another version.
    """
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        use = Hold.take(folder)
        _check_sums(folder)
        meta = json.loads((folder / META).read_bytes())
        if meta["format"] != FORMAT_VERSION:
            raise DamagedError(f"of format {meta['format']}, not {FORMAT_VERSION}")
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        _check_pixels(folder, arrays["blocks"], marks)
        return CachedImages(
            images=_map_pixels(folder / PIXELS, arrays["shapes"], meta),
            labels=arrays["labels"],
            ids=tuple(meta["ids"]),
            classes=tuple(meta["classes"]),
            splits=tuple(meta["splits"]),
            groups=tuple(meta["groups"]),
            digest=meta["digest"],
            sha256=tuple(meta["sha256"]),
            phash=arrays["phash"],
            sizes=arrays["sizes"],
            use=use,
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        if not folder.is_dir():
            raise FileNotFoundError(folder) from error  # pruned just now
        raise DamagedError(str(error)) from error


def _open_for_lock(path: Path) -> int:
    """For writing where that is allowed: over NFS an exclusive lock needs it."""
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _check_sums(folder: Path) -> None:
    for line in (folder / SUMS).read_text().splitlines():
        expected, _, name = line.partition("  ")
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise DamagedError(f"{name} is not what was written")


def _check_pixels(folder: Path, blocks: NDArray[np.int64], marks: Path) -> None:
    with (folder / PIXELS).open("rb") as file:
        state = file_state(file)
        expected = int(blocks[:, 0].sum())
        if state[1] != expected:
            raise DamagedError(f"{PIXELS} has {state[1]} bytes, not {expected}")
        if _read_mark(_mark(folder, marks)).get(boot_id()) == state:
            return
        for length, checksum in blocks.tolist():
            if zlib.crc32(file.read(length)) != checksum:
                raise DamagedError(f"{PIXELS} is not what was written")
    note_verified(folder, state, marks)


def file_state(file: IO[Any]) -> list[int]:
    """What changes whenever the file does: inode, size, times."""
    stat = os.fstat(file.fileno())
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def note_verified(folder: Path, state: list[int], marks: Path) -> None:
    """The pixels are known to be sound as long as their file has this state, during this boot."""
    boot, mark = boot_id(), _mark(folder, marks)
    if boot:
        kept = list((_read_mark(mark) | {boot: state}).items())[-_BOOTS_KEPT:]
        with contextlib.suppress(OSError):  # without the note the next opening reads them again
            write_flushed(mark, json.dumps(dict(kept)).encode())


def _mark(folder: Path, marks: Path) -> Path:
    return marks / f"{folder.name}.verified"


def _read_mark(mark: Path) -> dict[str, list[int]]:
    try:
        value = json.loads(mark.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def boot_id() -> str:
    """Names this boot of this machine; empty where the system has no such name."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _map_pixels(path: Path, shapes: NDArray[np.int32], meta: dict[str, Any]) -> Images:
    pixels = np.memmap(path, dtype=np.uint8, mode="r")
    if meta["crop"] == "random":
        return make_frames(pixels, shapes, meta["image_size"])
    return pixels.reshape(-1, *shapes[0].tolist(), 3)


def write_rest(aside: Path, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
    """Everything beside the pixels, which are there already."""
    with (aside / ARRAYS).open("wb") as file:
        np.savez(file, **arrays)
        flush(file)
    text = json.dumps({"format": FORMAT_VERSION, **meta})
    write_flushed(aside / META, text.encode())
    sums = [
        f"{hashlib.sha256((aside / name).read_bytes()).hexdigest()}  {name}\n"
        for name in (ARRAYS, META)
    ]
    write_flushed(aside / SUMS, "".join(sums).encode())
    (aside / IN_USE).touch()


def write_flushed(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with aside.open("wb") as file:
        file.write(content)
        flush(file)
    aside.replace(path)


def flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
