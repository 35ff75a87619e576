"""Where images come from: one name for every kind of source.

A source lists its samples without reading them; each sample then reads its own content, which is
either a file's bytes or an array of pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards import CARDS
from raybench.datasets.decode import read_picture
from raybench.datasets.folders import list_and_check
from raybench.datasets.listing import ListedImage, class_order
from raybench.datasets.sources.names import HubName, parse_source
from raybench.datasets.sources.samples import Content, Sample, Source
from raybench.errors import DataError
from raybench.spec import DatasetSpec

Tell = Callable[[str], None]


def quiet(text: str) -> None:
    """Where nobody listens to progress."""


def fingerprint(
    spec: DatasetSpec, download_dir: Path | None = None
) -> tuple[list[str], list[ListedImage]]:
    """What tells cheaply whether ``spec`` still means the same images; and the user's files.

    A file counts as unchanged while its path, size, modification and change times stay. The change
    time cannot be set by programs, so a file replaced with its old size and modification time is
    noticed as well. A change only means that all files are hashed again. Sets known by name never
    change under one version of their library or one hash; of a hub's, the commit is meant.

    ``download_dir`` is that of ``open_source``; a hub's commit is looked up and noted there.

    Raises:
        DataError: every mistake of ``check_dataset``.
        ResourceError: the commit of a hub's data set cannot be found out.
    """
    listing, mistakes = list_and_check(spec)
    if mistakes:
        raise DataError(mistakes)
    if spec.source is not None:
        return _source_facts(spec.source, spec, download_dir or Path()), []
    if spec.path is None:
        return _card_facts(spec.name), []
    facts = []
    for image in listing.images:
        stat = os.stat(image.path)  # noqa: PTH116 - 100,000 of them
        facts.append(
            f"{image.path}\0{image.label}\0{image.split}\0{image.group}\0"
            f"{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
        )
    return facts, listing.images


def _card_facts(name: str) -> list[str]:
    card = CARDS[name]
    if card.published is not None:
        return [name, "published", repr(card.published)]
    library = "scikit-learn" if card.torchvision is None else "torchvision"
    return [name, library, metadata.version(library)]


def _source_facts(text: str, spec: DatasetSpec, download_dir: Path) -> list[str]:
    name = parse_source(text)
    if isinstance(name, HubName):
        from raybench.datasets.sources.hub import resolve_commit

        columns = spec.columns.model_dump_json() if spec.columns else ""
        return [text, resolve_commit(name, download_dir), columns]
    from raybench.datasets.sources.medmnist import medmnist_facts

    return medmnist_facts(name)


def open_source(
    spec: DatasetSpec, images: Sequence[ListedImage], download_dir: Path, tell: Tell = quiet
) -> Source:
    """The samples of ``spec``; ``images`` are the user's files, as ``fingerprint`` gave them.

    Raises:
        DataError: a published set cannot be used as the spec asks.
        ResourceError: a published set is neither here nor can it be downloaded.
    """
    if spec.path is not None:
        return _user_files(images)
    if spec.source is not None:
        return _open_named_source(spec.source, spec, download_dir, tell)
    card = CARDS[spec.name]
    if card.published is not None:
        from raybench.datasets.sources.published import open_published

        return open_published(card, download_dir, tell)
    if card.torchvision is not None:
        from raybench.datasets.sources.torchvision import open_torchvision

        return open_torchvision(card, download_dir, tell)
    return _digits()


def _open_named_source(text: str, spec: DatasetSpec, download_dir: Path, tell: Tell) -> Source:
    name = parse_source(text)
    if isinstance(name, HubName):
        from raybench.datasets.sources.hub import open_hub

        return open_hub(name, spec, download_dir, tell)
    from raybench.datasets.sources.medmnist import open_medmnist

    return open_medmnist(name, download_dir, tell)


def _user_files(images: Sequence[ListedImage]) -> Source:
    classes = class_order(image.label for image in images)
    index = {name: i for i, name in enumerate(classes)}
    return Source(
        classes,
        tuple(
            Sample(i.id, partial(read_picture, i.path), index[i.label], i.split, i.group)
            for i in images
        ),
    )


def _digits() -> Source:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    samples = (
        Sample(f"{i:05d}", partial(_array, pixels[i]), int(label))
        for i, label in enumerate(data.target)
    )
    return Source(tuple(str(name) for name in data.target_names), tuple(samples))


def _array(pixels: NDArray[np.uint8]) -> Content:
    return pixels
