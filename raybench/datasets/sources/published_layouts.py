"""How the published sets name labels, splits and groups on disk: one small function per layout.

A layout gets the data set's folder and the card's options, and returns its classes by index and its
images. Ids are paths relative to the folder of the images, which are the same on every machine.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from raybench.datasets.cards.card import Split
from raybench.datasets.listing import class_order, is_hidden, is_image
from raybench.datasets.sources.samples import Content, Sample, Source
from raybench.errors import ResourceError

Options = Mapping[str, str]
Layout = Callable[[Path, Options], Source]

_VAL_AS_TEST: Mapping[str, Split] = {"train": "train", "val": "test"}
_BREAKHIS_NAME = re.compile(r"SOB_[BM]_[A-Z]+-(\d+-\d+)[A-Z]*-(\d+)-\d+\.png")
_NEU_CLASSES = {
    "cr": "crazing",
    "in": "inclusion",
    "pa": "patches",
    "ps": "pitted_surface",
    "rs": "rolled-in_scale",
    "sc": "scratches",
}
_GALAXY_CLASSES = (
    "Disturbed",
    "Merging",
    "Round Smooth",
    "In-between Round Smooth",
    "Cigar Shaped Smooth",
    "Barred Spiral",
    "Unbarred Tight Spiral",
    "Unbarred Loose Spiral",
    "Edge-on without Bulge",
    "Edge-on with Bulge",
)


def class_folders(folder: Path, options: Options) -> Source:
    """``<class>/<image>``: UC Merced, PlantVillage."""
    root = folder / options["images"]
    return _source(root, ((path, path.parent.name, None, None) for path in _images(root)))


def train_val_folders(folder: Path, options: Options) -> Source:
    """``train/<class>/<image>`` and ``val/...``, which is tested on: the PlantCLEF subset."""
    root = folder / options["images"]
    return _source(
        root,
        (
            (path, path.parent.name, split, None)
            for name, split in _VAL_AS_TEST.items()
            for path in _images(root / name)
        ),
    )


def tiny_imagenet(folder: Path, options: Options) -> Source:
    """``train/<wnid>/images/``; ``val/images/`` with its labels in ``val/val_annotations.txt``."""
    root = folder / options["images"]
    labels = dict(line.split("\t")[:2] for line in _lines(root / "val" / "val_annotations.txt"))

    def rows() -> Iterator[_Row]:
        for path in _images(root / "train"):
            yield path, path.parent.parent.name, "train", None
        for path in _images(root / "val"):
            yield path, labels[path.name], "test", None

    return _source(root, rows())


def stanford_dogs(folder: Path, options: Options) -> Source:
    """``<breed>/<image>``, listed in ``train_list.mat`` and ``test_list.mat``."""
    from scipy.io import loadmat

    root = folder / options["images"]

    def rows() -> Iterator[_Row]:
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            listed = loadmat(folder / options["lists"] / f"{split}_list.mat", squeeze_me=True)
            for name in listed["file_list"].reshape(-1):
                yield root / str(name), str(name).partition("/")[0], split, None

    return _source(root, rows())


def cub(folder: Path, options: Options) -> Source:
    """``images.txt``, ``classes.txt`` and two tables that join them by number."""
    root = folder / options["images"]
    names, classes, labels, train = (
        dict(line.split(" ", 1) for line in _lines(root / f"{name}.txt"))
        for name in ("images", "classes", "image_class_labels", "train_test_split")
    )
    return _source(
        root / "images",
        (
            (
                root / "images" / name,
                classes[labels[key]],
                "train" if train[key] == "1" else "test",
                None,
            )
            for key, name in names.items()
        ),
    )


def breakhis(folder: Path, options: Options) -> Source:
    """``{benign,malignant}/SOB/<tumour>/<slide>/<magnification>/SOB_B_A-14-22549AB-40-001.png``.

    The group is the case number (``14-22549``): a letter behind it names one of the case's slides,
    and slides of one case must not straddle splits, though the set counts them as patients.
    """
    root = folder / options["images"]

    def rows() -> Iterator[_Row]:
        for path in _images(root):
            named = _BREAKHIS_NAME.fullmatch(path.name)
            if path.parent.name == options["magnification"] and named:
                yield path, path.relative_to(root).parts[0], None, named[1]

    return _source(root, rows())


def neu(folder: Path, options: Options) -> Source:
    """``Cr_1.bmp`` or ``crazing_1.jpg``, wherever below the folder: the name says the class."""
    root = folder / options["images"]
    known = {**_NEU_CLASSES, **{name: name for name in _NEU_CLASSES.values()}}

    def rows() -> Iterator[_Row]:
        for path in _images(root):
            label = known.get(path.stem.rpartition("_")[0].lower())
            if label is not None:
                yield path, label, None, None

    return _source(root, rows())


def galaxy10(folder: Path, options: Options) -> Source:
    """One HDF5 file: ``images`` (N, 256, 256, 3) uint8 and ``ans`` (N,), read image by image."""
    h5py = _library("h5py")
    file = folder / options["images"]
    with h5py.File(file, "r") as data:
        labels = [int(label) for label in data["ans"][:]]
    samples = (
        Sample(f"{index:05d}", partial(_read_galaxy, file, index), label)
        for index, label in enumerate(labels)
    )
    return Source(_GALAXY_CLASSES, tuple(samples))


def _read_galaxy(file: Path, index: int) -> Content:
    # Opened for each image: a handle cannot go to another process, and HDF5 is not parallel.
    with _library("h5py").File(file, "r") as data:
        return cast(Content, data["images"][index])


def rsna(folder: Path, options: Options) -> Source:
    """``stage_2_train_labels.csv`` (one row a box) and DICOM files named by patient."""
    _library("pydicom")
    root = folder / "stage_2_train_images"
    with (folder / "stage_2_train_labels.csv").open(newline="") as table:
        opaque = {row["patientId"]: row["Target"] == "1" for row in csv.DictReader(table)}
    samples = (
        Sample(f"{name}.dcm", partial(_read_dicom, root / f"{name}.dcm"), int(opaque[name]))
        for name in sorted(opaque)
        if (root / f"{name}.dcm").is_file()
    )
    return Source(("no lung opacity", "lung opacity"), tuple(samples))


def _read_dicom(path: Path) -> Content:
    pixels = _library("pydicom").dcmread(path).pixel_array
    if pixels.dtype != "uint8":
        raise ValueError(f"holds {pixels.dtype} pixels; those of the challenge have 8 bits")
    return cast(Content, pixels)


LAYOUTS: Mapping[str, Layout] = {
    layout.__name__: layout
    for layout in (
        class_folders,
        train_val_folders,
        tiny_imagenet,
        stanford_dogs,
        cub,
        breakhis,
        neu,
        galaxy10,
        rsna,
    )
}

_Row = tuple[Path, str, Split | None, str | None]


def _source(root: Path, rows: Iterator[_Row]) -> Source:
    """The files that are there, with their labels, as a source sorted by id."""
    listed = [row for row in rows if row[0].is_file()]
    classes = class_order(label for _, label, _, _ in listed)
    index = {name: number for number, name in enumerate(classes)}
    samples = (
        Sample(path.relative_to(root).as_posix(), path.read_bytes, index[label], split, group)
        for path, label, split, group in listed
    )
    return Source(classes, tuple(sorted(samples, key=lambda sample: sample.id)))


def _images(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if is_image(path.name) and not any(map(is_hidden, path.relative_to(folder).parts)):
            yield path


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ResourceError(
            f"this data set is read with {name}, which is not installed: "
            f"pip install 'raybench[paper]', or pip install {name}"
        ) from error
