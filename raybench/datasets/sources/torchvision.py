"""torchvision's data sets as samples: paths where it keeps files, pixels where it keeps arrays.

Downloads go through ``raybench.download`` (resumed, retried, told) and are checked against the MD5
sums that torchvision publishes.
"""

from __future__ import annotations

import lzma
import os
import re
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards.card import DatasetCard, Split, TorchvisionSource
from raybench.datasets.sources.samples import Content, Sample, Source
from raybench.datasets.sources.torchvision_downloads import Failures, downloads_by, in_words
from raybench.errors import ResourceError

Tell = Callable[[str], None]

# Classes whose constructor takes no ``loader``. Two of the lists are private: tests hold them.
_FILES: Mapping[str, Callable[[Any], Iterable[tuple[Any, Any]]]] = {
    "Caltech101": lambda data: (
        (Path(data.root, "101_ObjectCategories", data.categories[y], f"image_{i:04d}.jpg"), y)
        for i, y in zip(data.index, data.y, strict=True)
    ),
    "Caltech256": lambda data: (
        (Path(data.root, "256_ObjectCategories", data.categories[y], f"{y + 1:03d}_{i:04d}.jpg"), y)
        for i, y in zip(data.index, data.y, strict=True)
    ),
    "GTSRB": lambda data: data._samples,
    "OxfordIIITPet": lambda data: zip(data._images, data._labels, strict=True),
}
_CLASSES: Mapping[str, tuple[str, ...]] = {
    "FER2013": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),  # Kaggle's page
    "PCAM": ("no tumour", "tumour"),
}
_SIGN = re.compile(r"/GTSRB/Training/(\d+)/(\d+)_\d+\.ppm$")
_DAMAGED = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def open_torchvision(card: DatasetCard, download_dir: Path, tell: Tell) -> Source:
    """The samples of ``card``, downloaded into ``download_dir`` where they are not there yet.

    Raises:
        ResourceError: not there and not to be downloaded, or not all there.
    """
    source = card.torchvision
    assert source is not None
    samples: list[Sample] = []
    classes: tuple[str, ...] = ()
    for split, arguments in source.splits.items() or [(None, {})]:
        data = _construct(card, source, download_dir, dict(arguments), tell)
        samples += _samples(source, data, split, download_dir)
        classes = max(classes, _class_names(source, data, samples), key=len)
    _check_counts(card, samples, download_dir)
    return _without_unused(classes, sorted(samples, key=lambda sample: sample.id))


def _construct(
    card: DatasetCard,
    source: TorchvisionSource,
    download_dir: Path,
    arguments: dict[str, Any],
    tell: Tell,
) -> Any:
    """The torchvision data set; file-based ones hand out paths instead of decoded images."""
    from torchvision import datasets

    if not source.in_memory and source.class_name not in _FILES:
        arguments["loader"] = os.fspath
    if not source.by_hand:
        arguments["download"] = True
    failures: Failures = {}
    try:
        download_dir.mkdir(parents=True, exist_ok=True)
        with downloads_by(tell, failures), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision unpickles CIFAR with NumPy's old names
            constructor: Any = getattr(datasets, source.class_name)
            return constructor(str(download_dir), **arguments)
    except (OSError, RuntimeError, ValueError, ImportError, *_DAMAGED) as error:
        tried, by_hand = in_words(failures)
        how = source.by_hand or by_hand or f"put the archive from {card.source} there unchanged"
        raise ResourceError(
            f"data set '{card.name}' is not in {download_dir} and cannot be downloaded "
            f"({tried or error}). By hand: {how}; or give your own copy as class folders with "
            "`path:`"
        ) from error


def _samples(
    source: TorchvisionSource, data: Any, split: Split | None, download_dir: Path
) -> list[Sample]:
    if source.in_memory:
        return [
            Sample(f"{split or 'all'}/{index:07d}", read, label, split)
            for index, (read, label) in enumerate(_held(source, data))
        ]
    lister = _FILES.get(source.class_name)
    listed = lister(data) if lister else (data[index] for index in range(len(data)))
    files = ((Path(path), int(label)) for path, label in listed)
    return [
        Sample(
            path.relative_to(download_dir).as_posix(), path.read_bytes, label, split, _group(path)
        )
        for path, label in files
    ]


def _group(path: Path) -> str | None:
    """GTSRB's training files are frames of one sign each: ``<class>/<sign>_<frame>.ppm``."""
    sign = _SIGN.search(path.as_posix())
    return f"{sign[1]}/{sign[2]}" if sign else None


def _held(source: TorchvisionSource, data: Any) -> Iterator[tuple[Callable[[], Content], int]]:
    """Readers and labels of a data set that holds its pixels as arrays."""
    if source.class_name == "PCAM":
        yield from _pcam(data)
        return
    read = _transposed if source.class_name == "EMNIST" else _pixels
    for index in range(len(data)):
        label = data[index][1]
        if label is None:
            raise ResourceError(
                f"{source.class_name} has no test labels in the files given: {source.by_hand}"
            )
        yield partial(read, data, index), int(label)


def _pixels(data: Any, index: int) -> NDArray[np.uint8]:
    return np.asarray(data[index][0])


def _transposed(data: Any, index: int) -> NDArray[np.uint8]:
    """EMNIST's files hold every character mirrored on its diagonal."""
    return np.ascontiguousarray(_pixels(data, index).T)


def _pcam(data: Any) -> Iterator[tuple[Callable[[], Content], int]]:
    """Rows of the HDF5 files, opened once: torchvision opens two of them for every image."""
    import h5py

    names = data._FILES[data._split]
    images = h5py.File(data._base_folder / names["images"][0], "r")["x"]
    with h5py.File(data._base_folder / names["targets"][0], "r") as file:
        labels = file["y"][:, 0, 0, 0]
    for index, label in enumerate(labels):
        yield partial(images.__getitem__, index), int(label)


def _class_names(source: TorchvisionSource, data: Any, samples: list[Sample]) -> tuple[str, ...]:
    if source.class_name in _CLASSES:
        return _CLASSES[source.class_name]
    for attribute in ("classes", "categories", "all_categories"):
        names = getattr(data, attribute, None)
        if names:
            return _distinct([n if isinstance(n, str) else ", ".join(n) for n in names], data)
    return tuple(str(n) for n in range(1 + max(sample.label for sample in samples)))


def _distinct(names: list[str], data: Any) -> tuple[str, ...]:
    """ImageNet calls two classes 'crane': such names get their WordNet id."""
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} ({data.wnids[index]})"
        for index, name in enumerate(names)
    )


def _check_counts(card: DatasetCard, samples: list[Sample], download_dir: Path) -> None:
    """Refuse a set that is not all there: torchvision takes any folder for a whole one."""
    found = Counter[str](sample.split or "all" for sample in samples)
    wrong = [
        f"{found[split]:,} instead of {count:,} {split} images"
        for split, count in card.images.items()
        if found[split] != count
    ]
    if wrong:
        raise ResourceError(
            f"data set '{card.name}' in {download_dir} has {', '.join(wrong)}: it was not unpacked "
            "to its end, or files went missing. Remove its unpacked folders there (archives may "
            "stay) and run again; a part of it on purpose: give class folders with `path:`"
        )


def _without_unused(classes: tuple[str, ...], samples: list[Sample]) -> Source:
    """Leave out classes without images (EMNIST letters has an 'N/A') and close the gaps."""
    used = sorted({sample.label for sample in samples})
    index = {label: i for i, label in enumerate(used)}
    return Source(
        tuple(classes[label] for label in used),
        tuple(Sample(s.id, s.read, index[s.label], s.split, s.group) for s in samples),
    )
