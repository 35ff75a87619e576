"""Named sets, from the libraries' own layouts on disk; nothing is downloaded."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from scipy.io import savemat

from raybench.datasets import CARDS, check_dataset
from raybench.datasets.sources import Source, open_source
from raybench.errors import ResourceError
from raybench.spec import DatasetSpec

FLOWERS = 102


def image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value, 0, 0)).save(path)


def make_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, fine: bool) -> None:
    base = "cifar-100-python" if fine else "cifar-10-batches-py"
    cls = torchvision.datasets.CIFAR100 if fine else torchvision.datasets.CIFAR10
    monkeypatch.setattr(cls, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *a, **k: True)
    (root / base).mkdir(parents=True)
    classes = 100 if fine else 10
    batches = ["train", "test"] if fine else [f"data_batch_{i}" for i in range(1, 6)]
    for name in [*batches, *([] if fine else ["test_batch"])]:
        labels = list(range(classes))
        pixels = np.repeat(np.arange(classes, dtype=np.uint8), 3072).reshape(-1, 3072)
        content = {"data": pixels, "fine_labels" if fine else "labels": labels}
        (root / base / name).write_bytes(pickle.dumps(content))
    meta = {"fine_label_names" if fine else "label_names": [f"c{i}" for i in range(classes)]}
    (root / base / ("meta" if fine else "batches.meta")).write_bytes(pickle.dumps(meta))


def make_dtd(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, split in enumerate(("train", "val", "test")):
        lines = []
        for name in ("banded", "dotted"):
            image(root / "dtd" / "dtd" / "images" / name / f"{name}_{number}.jpg")
            lines.append(f"{name}/{name}_{number}.jpg")
        labels = root / "dtd" / "dtd" / "labels"
        labels.mkdir(exist_ok=True)
        (labels / f"{split}1.txt").write_text("\n".join(lines))


def make_food(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        listed = {}
        for name in ("apple_pie", "waffles"):
            image(root / "food-101" / "images" / name / f"{split}.jpg")
            listed[name] = [f"{name}/{split}"]
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(listed))


def make_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_check_integrity", lambda self: True)
    base = root / "flowers-102"
    for number in range(1, 3 * FLOWERS + 1):
        image(base / "jpg" / f"image_{number:05d}.jpg")
    numbers = np.arange(1, 3 * FLOWERS + 1)
    savemat(base / "imagelabels.mat", {"labels": (numbers - 1) % FLOWERS + 1})
    parts = np.split(numbers, 3)
    savemat(base / "setid.mat", dict(zip(("trnid", "valid", "tstid"), parts, strict=True)))


def make_eurosat(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Forest", "River"):
        image(root / "eurosat" / "2750" / name / f"{name}_1.jpg")


def make_cars(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(["a", "b"], object)})
    for split, table in (
        ("train", base / "devkit" / "cars_train_annos.mat"),
        ("test", base / "cars_test_annos_withlabels.mat"),
    ):
        rows = np.array([("1.jpg", 1), ("2.jpg", 2)], dtype=[("fname", object), ("class", object)])
        savemat(table, {"annotations": rows})
        for name in ("1.jpg", "2.jpg"):
            image(base / f"cars_{split}" / name)


MAKERS = {
    "cifar10": lambda root, patch: make_cifar(root, patch, fine=False),
    "cifar100": lambda root, patch: make_cifar(root, patch, fine=True),
    "dtd": make_dtd,
    "food101": make_food,
    "flowers102": make_flowers,
    "eurosat": make_eurosat,
    "stanford_cars": make_cars,
}


def opened(name: str, root: Path) -> Source:
    return open_source(DatasetSpec(name=name), [], root)


def test_every_torchvision_card_is_tried():
    assert set(MAKERS) == {name for name, card in CARDS.items() if card.torchvision}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_torchvision_sets_are_listed_with_official_splits(name, tmp_path, monkeypatch):
    MAKERS[name](tmp_path, monkeypatch)
    source = opened(name, tmp_path)
    official = set(CARDS[name].images) - {"all"} or {None}
    assert {sample.split for sample in source.samples} == official
    assert {sample.label for sample in source.samples} == set(range(len(source.classes)))
    ids = [sample.id for sample in source.samples]
    assert ids == sorted(set(ids)) and str(tmp_path) not in ids[0]
    content = source.samples[0].read()
    assert (
        content[:2] == b"\xff\xd8" if isinstance(content, bytes) else content.shape == (32, 32, 3)
    )


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_what_cannot_be_downloaded_says_where_it_was_looked_for(name, tmp_path, monkeypatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(ResourceError) as error:
        opened(name, tmp_path / "downloads")
    text = str(error.value)
    assert f"'{name}' is not in {tmp_path / 'downloads'}" in text and "By hand: put" in text


def test_digits_are_the_real_thing():
    source = opened("digits", Path())
    assert len(source.samples) == CARDS["digits"].total and len(source.classes) == 10
    pixels = source.samples[0].read()
    assert isinstance(pixels, np.ndarray) and pixels.shape == (8, 8) and pixels.max() >= 239
    assert check_dataset(DatasetSpec(name="digits")) == []
