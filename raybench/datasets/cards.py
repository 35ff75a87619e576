"""Data sets known by name, as one table. Nothing heavy is imported; ``sources`` loads them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class TorchvisionSource:
    """Which class of ``torchvision.datasets`` holds a set, and how its splits are asked for.

    Attributes:
        class_name: in ``torchvision.datasets``.
        splits: constructor arguments per official split; empty: one pool of images.
        in_memory: the class holds the pixels itself and takes no ``loader``.
        by_hand: where to get it when torchvision cannot download it any more.
    """

    class_name: str
    splits: Mapping[Split, Mapping[str, str | bool]] = field(default_factory=dict)
    in_memory: bool = False
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What a person should know before using a data set.

    Attributes:
        images: official counts per split; ``{"all": n}`` where there is no official split.
        torchvision: None for scikit-learn's ``digits``.
    """

    name: str
    domain: str
    classes: int
    images: Mapping[str, int]
    source: str
    licence: str
    citation: str
    notes: str = ""
    torchvision: TorchvisionSource | None = None

    @property
    def total(self) -> int:
        """Images over all splits."""
        return sum(self.images.values())


_BOOLEAN: Mapping[Split, Mapping[str, str | bool]] = {
    "train": {"train": True},
    "test": {"train": False},
}
_TWO: Mapping[Split, Mapping[str, str | bool]] = {
    "train": {"split": "train"},
    "test": {"split": "test"},
}
_THREE: Mapping[Split, Mapping[str, str | bool]] = {
    "train": {"split": "train"},
    "val": {"split": "val"},
    "test": {"split": "test"},
}

CARDS: dict[str, DatasetCard] = {
    card.name: card
    for card in (
        DatasetCard(
            name="digits",
            domain="handwriting",
            classes=10,
            images={"all": 1797},
            source="bundled with scikit-learn (sklearn.datasets.load_digits)",
            licence="CC BY 4.0 (UCI)",
            citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI",
            notes="8x8 grey, 0..16 scaled to 0..255; needs no network",
        ),
        DatasetCard(
            name="cifar10",
            domain="natural",
            classes=10,
            images={"train": 50000, "test": 10000},
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated",
            citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
            notes="32x32; has near duplicates between train and test",
            torchvision=TorchvisionSource("CIFAR10", _BOOLEAN, in_memory=True),
        ),
        DatasetCard(
            name="cifar100",
            domain="natural",
            classes=100,
            images={"train": 50000, "test": 10000},
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated",
            citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
            notes="32x32, fine labels; has near duplicates between train and test",
            torchvision=TorchvisionSource("CIFAR100", _BOOLEAN, in_memory=True),
        ),
        DatasetCard(
            name="flowers102",
            domain="natural",
            classes=102,
            images={"train": 1020, "val": 1020, "test": 6149},
            source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
            licence="none stated",
            citation="Nilsback and Zisserman 2008, Automated Flower Classification",
            notes="10 training images a class; needs scipy",
            torchvision=TorchvisionSource("Flowers102", _THREE),
        ),
        DatasetCard(
            name="food101",
            domain="natural",
            classes=101,
            images={"train": 75750, "test": 25250},
            source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
            licence="photos from foodspotting.com; scientific fair use",
            citation="Bossard et al. 2014, Food-101: Mining Discriminative Components",
            notes="training labels are noisy on purpose",
            torchvision=TorchvisionSource("Food101", _TWO),
        ),
        DatasetCard(
            name="dtd",
            domain="texture",
            classes=47,
            images={"train": 1880, "val": 1880, "test": 1880},
            source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
            licence="research use",
            citation="Cimpoi et al. 2014, Describing Textures in the Wild",
            notes="partition 1 of 10",
            torchvision=TorchvisionSource("DTD", _THREE),
        ),
        DatasetCard(
            name="eurosat",
            domain="remote sensing",
            classes=10,
            images={"all": 27000},
            source="https://github.com/phelber/EuroSAT",
            licence="MIT",
            citation="Helber et al. 2019, EuroSAT",
            notes="64x64 RGB; no official split",
            torchvision=TorchvisionSource("EuroSAT"),
        ),
        DatasetCard(
            name="stanford_cars",
            domain="natural",
            classes=196,
            images={"train": 8144, "test": 8041},
            source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (gone)",
            licence="research use",
            citation="Krause et al. 2013, 3D Object Representations for Fine-Grained ...",
            notes="no longer downloadable; needs scipy",
            torchvision=TorchvisionSource(
                "StanfordCars",
                _TWO,
                by_hand="put cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat "
                "into its folder stanford_cars/",
            ),
        ),
    )
}


def dataset_names() -> tuple[str, ...]:
    """Every name that needs no ``path``."""
    return tuple(sorted(CARDS))


def nearest_names(name: str) -> tuple[str, ...]:
    """Up to three known names that look like ``name``."""
    return tuple(difflib.get_close_matches(name.lower(), dataset_names(), n=3, cutoff=0.5))
