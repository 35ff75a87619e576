"""MedMNIST's sets (Yang et al. 2023): one ``.npz`` each, from Zenodo, with a published MD5.

The package ``medmnist`` is asked for its table of facts only.
"""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards.card import Split
from raybench.datasets.sources.names import MedmnistName, medmnist_info
from raybench.datasets.sources.samples import Content, Sample, Source
from raybench.download import download
from raybench.errors import ResourceError

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def medmnist_facts(name: MedmnistName) -> list[str]:
    """What tells that the set is still the same: the package's version and the published MD5.

    Raises:
        ResourceError: the package is not installed.
    """
    facts = _facts(name)
    return [name.name, str(name.size), metadata.version("medmnist"), facts[f"MD5{name.suffix}"]]


def open_medmnist(name: MedmnistName, download_dir: Path, tell: Callable[[str], None]) -> Source:
    """The samples of one set; pixels are mapped from disk, not read.

    Raises:
        ResourceError: the package is missing, or the file cannot be had or is not what it says.
    """
    facts = _facts(name)
    archive = download_dir / f"{name.name}{name.suffix}.npz"
    download(facts[f"url{name.suffix}"], archive, md5=facts[f"MD5{name.suffix}"], tell=tell)
    try:
        samples = [sample for split in _SPLITS for sample in _samples(archive, split)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ResourceError(
            f"{archive} is not the file that MedMNIST describes: {error}"
        ) from error
    classes = tuple(facts["label"][str(index)] for index in range(len(facts["label"])))
    return Source(classes, tuple(sorted(samples, key=lambda sample: sample.id)))


def _facts(name: MedmnistName) -> Mapping[str, Any]:
    table = medmnist_info()
    if name.name not in table:
        raise ResourceError(
            f"medmnist:{name.name} needs the package medmnist: pip install 'raybench[medmnist]'"
        )
    return table[name.name]


def _samples(archive: Path, split: Split) -> list[Sample]:
    """One sample per row of the split's two arrays: (N, S, S[, 3]) pixels and (N, 1) labels."""
    pixels = _mapped(archive, f"{split}_images")
    labels = _mapped(archive, f"{split}_labels").reshape(len(pixels), -1)
    if labels.shape[1] != 1 or pixels.dtype != np.uint8:
        raise ValueError(f"{split} has labels {labels.shape} and pixels of {pixels.dtype}")
    return [
        Sample(f"{split}/{index:06d}", partial(_row, pixels, index), int(label), split)
        for index, label in enumerate(labels[:, 0])
    ]


def _row(pixels: NDArray[np.uint8], index: int) -> Content:
    return np.asarray(pixels[index])


def _mapped(archive: Path, array: str) -> NDArray[Any]:
    """An array of the archive, unpacked beside it once: what is packed cannot be mapped."""
    unpacked = archive.with_name(f"{archive.stem}-{array}.npy")
    with zipfile.ZipFile(archive) as content:
        entry = content.getinfo(f"{array}.npy")
        if not unpacked.exists() or unpacked.stat().st_size != entry.file_size:
            aside = unpacked.with_name(f".{unpacked.name}.{uuid.uuid4().hex[:8]}")
            try:
                with content.open(entry) as packed, aside.open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(unpacked)
            finally:
                aside.unlink(missing_ok=True)
    return np.load(unpacked, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
