"""What a card of a data set says, and where its images come from. Values only."""

from __future__ import annotations

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
class PublishedFile:
    """One file of a published set. An archive is unpacked into a folder of its own.

    Attributes:
        name: the file's name in the data set's folder.
        url: empty where a person has to fetch it.
        sha256: and ``md5``, ``size`` (bytes): None where nobody publishes them.
        unpack: False for a file that is read as it is.
    """

    name: str
    url: str = ""
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    unpack: bool = True

    @property
    def place(self) -> str:
        """What its images are read from: ``CUB_200_2011`` of ``CUB_200_2011.tgz``."""
        if not self.unpack:
            return self.name
        for suffix in (".tar.gz", ".tgz", ".tar", ".zip"):
            if self.name.endswith(suffix):
                return self.name.removesuffix(suffix)
        raise ValueError(f"'{self.name}' is no archive that can be unpacked")


@dataclass(frozen=True, slots=True)
class PublishedSource:
    """A set from its published home.

    Attributes:
        layout: how the unpacked files name labels and splits; ``published_layouts.LAYOUTS``.
        files: what is fetched and unpacked.
        options: what that layout needs to know, paths relative to the data set's folder.
        shared: name of the folder, where several cards read the same files.
        by_hand: steps for a person, where no program may fetch the files.
    """

    layout: str
    files: tuple[PublishedFile, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    shared: str = ""
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What a person should know before using a data set.

    Attributes:
        images: counts per split; ``{"all": n}`` where there is no official split.
        torchvision: or ``published``, says where it comes from; scikit-learn's ``digits`` has none.
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
    published: PublishedSource | None = None

    @property
    def total(self) -> int:
        """Images over all splits."""
        return sum(self.images.values())
