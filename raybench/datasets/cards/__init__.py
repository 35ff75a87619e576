"""Data sets known by name, as one table. Nothing heavy is imported; ``sources`` loads them."""

from __future__ import annotations

import difflib

from raybench.datasets.cards.card import (
    DatasetCard,
    PublishedFile,
    PublishedSource,
    Split,
    TorchvisionSource,
)
from raybench.datasets.cards.paper import PAPER_CARDS
from raybench.datasets.cards.torchvision import TORCHVISION_CARDS

__all__ = [
    "CARDS",
    "DatasetCard",
    "PublishedFile",
    "PublishedSource",
    "Split",
    "TorchvisionSource",
    "dataset_names",
    "nearest_names",
]

_DIGITS = DatasetCard(
    name="digits",
    domain="handwriting",
    classes=10,
    images={"all": 1797},
    source="bundled with scikit-learn (sklearn.datasets.load_digits)",
    licence="CC BY 4.0 (UCI)",
    citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI",
    notes="8x8 grey, 0..16 scaled to 0..255; needs no network",
)

CARDS: dict[str, DatasetCard] = {
    card.name: card for card in (_DIGITS, *PAPER_CARDS, *TORCHVISION_CARDS.values())
}


def dataset_names() -> tuple[str, ...]:
    """Every name that needs no ``path``."""
    return tuple(sorted(CARDS))


def nearest_names(name: str) -> tuple[str, ...]:
    """Up to three known names that look like ``name``."""
    return tuple(difflib.get_close_matches(name.lower(), dataset_names(), n=3, cutoff=0.5))
