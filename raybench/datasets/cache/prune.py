"""What stands in the cache, how large it may grow, and what goes when it would grow larger.

Decoded sets are bounded by ``RAYBENCH_CACHE_GB``; without it by the disk, of which a twentieth is
left free. The least recently used set goes first; one that a live process has open never does,
on whichever machine that process runs, as long as the file system has locks. Where it has none,
nothing is pruned. Downloads and features are listed, not bounded.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raybench.datasets.cache.files import IN_USE, META
from raybench.errors import ResourceError

GIGABYTE = 10**9
LIMIT_VARIABLE = "RAYBENCH_CACHE_GB"
_FREE_PART = 0.05


@dataclass(frozen=True, slots=True)
class CachedSet:
    """One decoded set. ``last_use``: seconds since 1970."""

    folder: Path
    name: str
    image_size: int
    crop: str
    images: int
    bytes: int
    last_use: float
    in_use: bool

    def as_json(self) -> dict[str, Any]:
        """JSON types; the time in ISO 8601, UTC."""
        when = datetime.fromtimestamp(self.last_use, UTC).isoformat(timespec="seconds")
        return asdict(self) | {"folder": str(self.folder), "last_use": when}


def list_sets(cache_dir: Path) -> list[CachedSet]:
    """All decoded sets, the least recently used first; unreadable ones with no images."""
    folders = [path.parent for path in cache_dir.glob(f"*/{IN_USE}")]
    sets = [_describe(folder) for folder in folders if not folder.name.startswith(".")]
    return sorted((s for s in sets if s is not None), key=lambda s: (s.last_use, s.name))


def _describe(folder: Path) -> CachedSet | None:
    """None: it went away while being looked at."""
    try:
        last_use = (folder / IN_USE).stat().st_mtime
        size = folder_bytes(folder)
        meta = _read_meta(folder)
    except FileNotFoundError:
        return None
    return CachedSet(
        folder=folder,
        name=meta.get("name", folder.name),
        image_size=meta.get("image_size", 0),
        crop=meta.get("crop", ""),
        images=len(meta.get("ids", ())),
        bytes=size,
        last_use=last_use,
        in_use=not _remove(folder, only_try=True),
    )


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / META).read_bytes())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def folder_bytes(folder: Path) -> int:
    """Of all files below; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def prune(cache_dir: Path, limit_bytes: int) -> list[CachedSet]:
    """Removes unused sets until at most ``limit_bytes`` are left; what was removed."""
    sets = list_sets(cache_dir)
    total, removed = sum(s.bytes for s in sets), []
    for candidate in sets:
        if total <= limit_bytes:
            break
        if _remove(candidate.folder):
            total -= candidate.bytes
            removed.append(candidate)
    return removed


def _remove(folder: Path, only_try: bool = False) -> bool:
    """Whether nobody uses the set; removes it then, unless ``only_try``."""
    try:
        descriptor = os.open(folder / IN_USE, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not only_try:
            # Renamed while locked: who waits for the lock finds nothing at the old place.
            gone = folder.with_name(f".pruned-{uuid.uuid4().hex[:8]}")
            folder.rename(gone)
            shutil.rmtree(gone)
    except OSError:
        return False  # in use, or no locks to tell by
    finally:
        os.close(descriptor)
    return True


def limit_gb() -> float | None:
    """What ``RAYBENCH_CACHE_GB`` says; None where it is not set.

    Raises:
        ResourceError: it is no amount.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ResourceError(f"{LIMIT_VARIABLE} is '{text}'; give an amount in gigabytes, e.g. 50")
    return value


def make_room(cache_dir: Path, needed: int, tell: Callable[[str], None]) -> None:
    """Before ``needed`` bytes are written: removes what the limit has no room for.

    Raises:
        ResourceError: the disk cannot hold them, whatever is removed.
    """
    disk, limit = shutil.disk_usage(cache_dir), limit_gb()
    room = max(0, disk.free - int(_FREE_PART * disk.total))
    held = sum(s.bytes for s in list_sets(cache_dir))
    allowed = held + room if limit is None else min(held + room, int(limit * GIGABYTE))
    if held + needed > allowed:
        for gone in prune(cache_dir, max(0, allowed - needed)):
            tell(f"cache: removed {gone.folder.name} ({gone.bytes / GIGABYTE:.2f} GB) for room")
    free = shutil.disk_usage(cache_dir).free
    if needed > free:
        raise ResourceError(
            f"the data cache {cache_dir} needs about {needed / GIGABYTE:.1f} GB more, and "
            f"{free / GIGABYTE:.1f} GB are free; set RAYBENCH_CACHE to a folder on a larger disk, "
            "or lower recipe.image_size"
        )
