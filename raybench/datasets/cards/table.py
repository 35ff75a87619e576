"""The table of known data sets in ``docs/datasets.md``, made from the cards.

``python -m raybench.datasets.cards.table docs/datasets.md`` writes it anew between its two marks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from raybench.datasets.cards import CARDS, DatasetCard

BEGIN, END = "<!-- cards: begin -->", "<!-- cards: end -->"
_SPLITS = ("train", "val", "test")


def card_table() -> str:
    """All cards as a Markdown table, in the order of ``CARDS``."""
    rows = [
        "| name | domain | classes | images | from | licence | notes |",
        "|---|---|---|---|---|---|---|",
        *(_row(card) for card in CARDS.values()),
    ]
    return "\n".join(rows)


def _row(card: DatasetCard) -> str:
    counts = " / ".join(f"{card.images[split]:,}" for split in _SPLITS if split in card.images)
    cells = (
        f"`{card.name}`",
        card.domain,
        str(card.classes),
        counts or f"{card.total:,}, no split",
        card_origin(card),
        card.licence,
        card.notes,
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def card_origin(card: DatasetCard) -> str:
    """How the images come here, in a word or two."""
    if card.torchvision is not None:
        return "by hand" if card.torchvision.by_hand else "torchvision"
    if card.published is not None:
        return "by hand" if card.published.by_hand else "its home"
    return "bundled"


def replace_table(text: str) -> str:
    """``text`` with what stands between the marks replaced by the table of today."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{card_table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(replace_table(page.read_text(encoding="utf-8")), encoding="utf-8")
