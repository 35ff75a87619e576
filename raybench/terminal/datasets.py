"""What can be named as a data set, in the terminal and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.datasets.cards import CARDS
from raybench.datasets.cards.table import card_origin
from raybench.report.grid import grid

_COLUMNS = {
    "name": "left",
    "domain": "left",
    "classes": "right",
    "train": "right",
    "val": "right",
    "test": "right",
    "from": "left",
}
_OTHERS = (
    "No split of its own: 60/20/20, stratified, drawn from the sweep's seed. More on each: --json.",
    "Or your own: {name: mine, path: ./folder-of-class-folders}, a CSV or Parquet table, "
    "hf:ORG/NAME, medmnist:NAME (docs/datasets.md).",
)


def card_rows() -> list[dict[str, Any]]:
    """Every card as JSON types."""
    return [
        {
            "name": card.name,
            "domain": card.domain,
            "classes": card.classes,
            "images": dict(card.images),
            "from": card_origin(card),
            "source": card.source,
            "licence": card.licence,
            "citation": card.citation,
            "notes": card.notes,
        }
        for card in CARDS.values()
    ]


def datasets_table() -> RenderableType:
    """One row per card; a set without splits shows its images under train."""
    rows = [
        (
            card.name,
            card.domain,
            str(card.classes),
            *(_count(card.images, split) for split in ("train", "val", "test")),
            card_origin(card),
        )
        for card in CARDS.values()
    ]
    notes = [Text(line, style="dim") for line in _OTHERS]
    return Group(grid(f"{len(rows)} data sets by name", _COLUMNS, rows), *notes)


def _count(images: Any, split: str) -> str:
    if "all" in images:
        return f"{images['all']:,} in all" if split == "train" else ""
    return f"{images[split]:,}" if split in images else ""
