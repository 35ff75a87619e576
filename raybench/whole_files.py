"""Whole files for ``raybench.download``: measured, compared, locked, written aside."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_HASH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is published about a file."""

    sha256: str | None
    md5: str | None
    size: int | None

    def difference(self, path: Path, recorded: str | None) -> tuple[str, str]:
        """SHA-256 of ``path``, and in words how it differs from what is known; empty: not."""
        sha256, md5, size = measure(path)
        known = (
            ("size", self.size, size, "published"),
            ("SHA-256", self.sha256, sha256, "published"),
            ("MD5", self.md5, md5, "published"),
            ("SHA-256", None if self.sha256 else recorded, sha256, "recorded on first download"),
        )
        words = [
            f"{name} {came} instead of {asked} ({source})"
            for name, asked, came, source in known
            if asked is not None and asked != came
        ]
        return sha256, " and ".join(words)


def beside(target: Path, suffix: str) -> Path:
    """``a.zip.part`` for ``a.zip`` and ``.part``."""
    return target.with_name(target.name + suffix)


def size_of(path: Path) -> int:
    """Bytes of ``path``; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def measure(path: Path) -> tuple[str, str, int]:
    """SHA-256, MD5 and size in bytes."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while chunk := file.read(_HASH_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return sha256.hexdigest(), md5.hexdigest(), size


def write_text(path: Path, text: str) -> None:
    """Write ``path`` aside, flush it to the disk, rename it."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with aside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(target: Path, tell: Callable[[str], None]) -> Iterator[bool]:
    """Hold the target's lock; yields False where the file system has none."""
    with beside(target, ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"{target.name}: another process is fetching it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
