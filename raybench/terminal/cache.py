"""What stands in the data cache, for people and for machines; and what pruning has removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.datasets.cache.prune import (
    GIGABYTE,
    CachedSet,
    folder_bytes,
    limit_gb,
    list_sets,
    prune,
)

if TYPE_CHECKING:
    from rich.console import RenderableType


_COLUMNS = {
    "data set": "left",
    "px": "right",
    "crop": "left",
    "images": "right",
    "GB": "right",
    "last use": "left",
    "": "left",
}


@dataclass(frozen=True, slots=True)
class CacheState:
    """The cache as it is now; ``pruned`` has just gone."""

    folder: Path
    sets: list[CachedSet]
    pruned: list[CachedSet]
    downloads_bytes: int
    features_bytes: int

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "limit_gb": limit_gb(),
            "sets": [one.as_json() for one in self.sets],
            "pruned": [one.as_json() for one in self.pruned],
            "downloads_bytes": self.downloads_bytes,
            "features_bytes": self.features_bytes,
        }

    def table(self) -> RenderableType:
        """One line per set, the least recently used first; then the sums."""
        from rich.console import Group
        from rich.text import Text

        from raybench.report.grid import grid

        rows = [
            (
                one.name,
                str(one.image_size),
                one.crop,
                f"{one.images:,}",
                f"{one.bytes / GIGABYTE:.3f}",
                f"{datetime.fromtimestamp(one.last_use):%Y-%m-%d %H:%M}",
                "in use" if one.in_use else "",
            )
            for one in self.sets
        ]
        gone = [f"removed {one.folder.name} ({_gb(one.bytes)})" for one in self.pruned]
        table = grid("Decoded images", _COLUMNS, rows, self._sums())
        return Group(*map(Text, gone), table)

    def _sums(self) -> str:
        limit = limit_gb()
        bound = "no limit but the disk" if limit is None else f"at most {limit:g} GB"
        return (
            f"{self.folder}: {_gb(sum(one.bytes for one in self.sets))} of decoded images "
            f"({bound}), {_gb(self.downloads_bytes)} of downloads, "
            f"{_gb(self.features_bytes)} of features"
        )


def _gb(size: int) -> str:
    return f"{size / GIGABYTE:.3f} GB"


def cache_state(cache_dir: Path, prune_to_gb: float | None = None) -> CacheState:
    """The cache, after unused sets were removed until ``prune_to_gb`` are left (None: keep all)."""
    pruned = [] if prune_to_gb is None else prune(cache_dir, int(prune_to_gb * GIGABYTE))
    return CacheState(
        folder=cache_dir,
        sets=list_sets(cache_dir),
        pruned=pruned,
        downloads_bytes=folder_bytes(cache_dir / "downloads"),
        features_bytes=folder_bytes(cache_dir / "features"),
    )
