"""Where images come from: scikit-learn's digits, torchvision's sets, the user's own files.

A source lists its samples without reading them; each sample then reads its own content, which is
either a file's bytes or an array of pixels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards import CARDS, DatasetCard
from raybench.datasets.folders import check_dataset, list_images
from raybench.datasets.listing import ListedImage, class_order
from raybench.datasets.samples import Content, Sample, Source
from raybench.errors import DataError, ResourceError
from raybench.spec import DatasetSpec


def fingerprint(spec: DatasetSpec) -> tuple[list[str], list[ListedImage]]:
    """What tells cheaply whether ``spec`` still means the same images; and the user's files.

    A file counts as unchanged while its path, size, modification and change times stay. The change
    time cannot be set by programs, so a file replaced with its old size and modification time is
    noticed as well. A change only means that all files are hashed again. Named sets never change
    under one version of their library.

    Raises:
        DataError: every mistake of ``check_dataset``.
    """
    mistakes = check_dataset(spec)
    if mistakes:
        raise DataError(mistakes)
    if spec.path is None:
        library = "scikit-learn" if CARDS[spec.name].torchvision is None else "torchvision"
        return [spec.name, library, metadata.version(library)], []
    images = list_images(spec).images
    facts = []
    for image in images:
        stat = Path(image.path).stat()
        facts.append(
            f"{image.path}\0{image.label}\0{image.split}\0{image.group}\0"
            f"{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
        )
    return facts, images


def open_source(spec: DatasetSpec, images: Sequence[ListedImage], download_dir: Path) -> Source:
    """The samples of ``spec``; ``images`` are the user's files, as ``fingerprint`` gave them.

    Raises:
        ResourceError: a named set is neither here nor can it be downloaded.
    """
    if spec.path is None:
        card = CARDS[spec.name]
        return _digits() if card.torchvision is None else _torchvision(card, download_dir)
    classes = class_order(image.label for image in images)
    index = {name: i for i, name in enumerate(classes)}
    return Source(
        classes,
        tuple(
            Sample(i.id, Path(i.path).read_bytes, index[i.label], i.split, i.group) for i in images
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


def _torchvision(card: DatasetCard, download_dir: Path) -> Source:
    source = card.torchvision
    assert source is not None
    samples: list[Sample] = []
    classes: Sequence[str] = ()
    for split, arguments in source.splits.items() or [(None, {})]:
        data = _construct(card, download_dir, dict(arguments))
        classes = data.classes
        for index in range(len(data)):
            image, label = data[index]
            if source.in_memory:
                sample_id = f"{split}/{index:06d}"
                samples.append(Sample(sample_id, partial(_array, np.asarray(image)), label, split))
            else:
                sample_id = Path(image).relative_to(download_dir).as_posix()
                samples.append(Sample(sample_id, Path(image).read_bytes, int(label), split))
    return Source(tuple(classes), tuple(sorted(samples, key=lambda sample: sample.id)))


def _construct(card: DatasetCard, download_dir: Path, arguments: dict[str, Any]) -> Any:
    """A torchvision data set; file-based ones hand out paths instead of decoded images.

    Raises:
        ResourceError: not found and not to be downloaded, with the way to provide it by hand.
    """
    from torchvision import datasets

    source = card.torchvision
    assert source is not None
    if not source.in_memory:
        arguments["loader"] = os.fspath
    download_dir.mkdir(parents=True, exist_ok=True)
    constructor = getattr(datasets, source.class_name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision unpickles CIFAR with NumPy's old names
            return constructor(str(download_dir), download=not source.by_hand, **arguments)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        how = source.by_hand or f"put the archive from {card.source} there unchanged"
        raise ResourceError(
            f"data set '{card.name}' is not in {download_dir} and cannot be downloaded ({error}). "
            f"By hand: {how}; or give your own copy as class folders with `path:`"
        ) from error
