"""torchvision's sets, from its own layouts on disk; nothing leaves the machine."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import inspect
import json
import pickle
import struct
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from scipy.io import savemat

from raybench.datasets import CARDS
from raybench.datasets.cards.torchvision import TORCHVISION_CARDS
from raybench.datasets.decode import decode_image
from raybench.datasets.sources.open import quiet
from raybench.datasets.sources.samples import Source
from raybench.datasets.sources.torchvision import _FILES, open_torchvision
from raybench.download import DownloadError
from raybench.errors import ResourceError
from tests.standin import standin_server

ALL = {name: card for name, card in CARDS.items() if card.torchvision is not None}
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


def write_idx(path: Path, values: np.ndarray) -> None:
    """MNIST's format: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


def make_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "t10k"):
        pixels = np.arange(10, dtype=np.uint8).repeat(784).reshape(10, 28, 28)
        write_idx(root / "MNIST" / "raw" / f"{split}-images-idx3-ubyte", pixels)
        write_idx(root / "MNIST" / "raw" / f"{split}-labels-idx1-ubyte", np.arange(10))


def make_emnist_letters(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((26, 28, 28), np.uint8)
    pixels[:, 0, 5] = 200  # first row: after the transposition, first column
    for split in ("train", "test"):
        stem = root / "EMNIST" / "raw" / f"emnist-letters-{split}"
        write_idx(stem.with_name(f"{stem.name}-images-idx3-ubyte"), pixels)
        write_idx(stem.with_name(f"{stem.name}-labels-idx1-ubyte"), np.arange(1, 27))


def make_usps(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.usps, "download_url", None)
    rows = [
        f"{label} " + " ".join(f"{i}:{1.0 if i == label else -1.0}" for i in range(1, 257))
        for label in range(1, 11)
    ]
    for name in ("usps.bz2", "usps.t.bz2"):
        (root / name).write_bytes(bz2.compress("\n".join(rows).encode()))


def make_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *a: True)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", lambda *a: None)
    pixels = np.arange(10, dtype=np.uint8) * np.ones((32, 32, 3, 1), np.uint8)
    for split in ("train", "test"):
        savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": np.arange(1, 11)[:, None]})


def make_pcam(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    (root / "pcam").mkdir()
    for split in ("train", "valid", "test"):
        stem = root / "pcam" / f"camelyonpatch_level_2_split_{split}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file["x"] = np.full((4, 96, 96, 3), 7, np.uint8)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file["y"] = np.array([0, 1, 1, 0], np.uint8).reshape(4, 1, 1, 1)


def make_gtsrb(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "gtsrb" / "GTSRB"
    for label in ("00000", "00001"):
        for frame in ("00003_00000", "00003_00001", "00004_00000"):
            image(base / "Training" / label / f"{frame}.ppm")
    for name in ("00000.ppm", "00001.ppm"):
        image(base / "Final_Test" / "Images" / name)
    rows = "Filename;ClassId\n00000.ppm;1\n00001.ppm;0\n"
    (root / "gtsrb" / "GT-final_test.csv").write_text(rows)


def make_caltech101(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "caltech101" / "101_ObjectCategories"
    for name in ("BACKGROUND_Google", "ant", "bass"):
        image(base / name / "image_0001.jpg")
        image(base / name / "image_0002.jpg")


def make_caltech256(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "caltech256" / "256_ObjectCategories"
    for number, name in ((1, "001.ak47"), (2, "002.flag")):
        image(base / name / f"{number:03d}_0001.jpg")


def make_pets(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for split, number in (("trainval", 1), ("test", 2)):
        rows = [f"Abyssinian_{number} 1 1 1", f"beagle_{number} 2 2 1"]
        (base / "annotations" / f"{split}.txt").write_text("\n".join(rows))
        for name in ("Abyssinian", "beagle"):
            image(base / "images" / f"{name}_{number}.jpg")


def make_imagenette(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        for wnid in ("n01440764", "n02102040"):
            image(root / "imagenette2-320" / split / wnid / "a.jpeg")


def make_clevr(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "clevr" / "CLEVR_v1.0"
    (base / "scenes").mkdir(parents=True)
    for split in ("train", "val"):
        scenes = []
        for objects in (3, 4):
            name = f"CLEVR_{split}_{objects}.png"
            image(base / "images" / split / name)
            scenes.append({"image_filename": name, "objects": [{}] * objects})
        (base / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps({"scenes": scenes}))


MAKERS = {
    "caltech101": make_caltech101,
    "caltech256": make_caltech256,
    "cifar10": lambda root, patch: make_cifar(root, patch, fine=False),
    "cifar100": lambda root, patch: make_cifar(root, patch, fine=True),
    "clevr_count": make_clevr,
    "dtd": make_dtd,
    "emnist_letters": make_emnist_letters,
    "eurosat": make_eurosat,
    "flowers102": make_flowers,
    "food101": make_food,
    "gtsrb": make_gtsrb,
    "imagenette": make_imagenette,
    "mnist": make_mnist,
    "oxford_iiit_pet": make_pets,
    "pcam": make_pcam,
    "stanford_cars": make_cars,
    "svhn": make_svhn,
    "usps": make_usps,
}


def opened(name: str, root: Path) -> Source:
    """The set, however few images the stand-in has."""
    return open_torchvision(dataclasses.replace(CARDS[name], images={}), root, quiet)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_sets_are_listed_with_official_splits(name, tmp_path, monkeypatch):
    MAKERS[name](tmp_path, monkeypatch)
    source = opened(name, tmp_path)
    official = set(CARDS[name].images) - {"all"} or {None}
    assert {sample.split for sample in source.samples} == official
    assert {sample.label for sample in source.samples} == set(range(len(source.classes)))
    assert len(set(source.classes)) == len(source.classes)
    ids = [sample.id for sample in source.samples]
    assert ids == sorted(set(ids)) and str(tmp_path) not in ids[0]
    content = source.samples[-1].read()
    assert isinstance(content, bytes) == (not CARDS[name].torchvision.in_memory)
    assert decode_image(content, 8).shape == (8, 8, 3)


def test_classes_that_take_no_loader_are_those_that_are_listed_here():
    for card in ALL.values():
        source = card.torchvision
        constructor = getattr(torchvision.datasets, source.class_name)
        names = set(inspect.signature(constructor.__init__).parameters)
        takes_loader = "loader" in names or source.class_name == "ImageNet"  # **kwargs
        assert takes_loader == (not source.in_memory and source.class_name not in _FILES), card.name


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_argument_of_a_card_exists(name):
    source = ALL[name].torchvision
    constructor = getattr(torchvision.datasets, source.class_name)
    parameters = inspect.signature(constructor.__init__).parameters
    if "kwargs" in parameters:  # handed on to the class above
        above = inspect.signature(constructor.__mro__[1].__init__).parameters
        parameters = {**above, **parameters}
    for arguments in source.splits.values():
        assert set(arguments) <= set(parameters)
    assert source.by_hand or "download" in parameters
    assert set(source.splits) == set(ALL[name].images) - {"all"}


def test_names_do_not_clash_and_each_class_is_used():
    unused = {"CelebA", "LFWPeople", "Omniglot", "ImageFolder", "FakeData"}
    used = {card.torchvision.class_name for card in ALL.values()}
    assert not used & unused
    assert {"MNIST", "EMNIST", "PCAM", "ImageNet", "Places365", "INaturalist"} <= used
    assert all(name == card.name for name, card in TORCHVISION_CARDS.items())


def test_emnist_is_turned_upright_and_its_empty_class_left_out(tmp_path, monkeypatch):
    make_emnist_letters(tmp_path, monkeypatch)
    source = opened("emnist_letters", tmp_path)
    assert source.classes[0] == "a" and len(source.classes) == 26
    pixels = source.samples[0].read()
    assert pixels[5, 0] == 200 and pixels[0, 5] == 0


def test_svhn_zero_is_class_zero_and_pixels_are_right(tmp_path, monkeypatch):
    make_svhn(tmp_path, monkeypatch)
    source = opened("svhn", tmp_path)
    zero = next(sample for sample in source.samples if sample.label == 0)
    assert (
        source.classes[0] == "0" and zero.read().shape == (32, 32, 3) and zero.read()[0, 0, 0] == 9
    )


def test_frames_of_one_traffic_sign_are_a_group(tmp_path, monkeypatch):
    make_gtsrb(tmp_path, monkeypatch)
    source = opened("gtsrb", tmp_path)
    train = Counter(sample.group for sample in source.samples if sample.split == "train")
    assert train == {"00000/00003": 2, "00000/00004": 1, "00001/00003": 2, "00001/00004": 1}
    assert {sample.group for sample in source.samples if sample.split == "test"} == {None}


def test_a_set_that_is_not_all_there_is_refused(tmp_path, monkeypatch):
    make_dtd(tmp_path, monkeypatch)
    with pytest.raises(ResourceError, match="2 instead of 1,880 train images.*run again"):
        open_torchvision(CARDS["dtd"], tmp_path, quiet)


@pytest.mark.parametrize("name", sorted(ALL))
def test_what_cannot_be_downloaded_says_where_it_was_looked_for(name, tmp_path, monkeypatch):
    def offline(url: str, *args: object, **kwargs: object) -> None:
        raise ResourceError("no network")

    monkeypatch.setattr("raybench.datasets.sources.torchvision_downloads.download", offline)
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ResourceError) as error:
        open_torchvision(ALL[name], tmp_path / "downloads", quiet)
    text = str(error.value)
    assert f"'{name}' is not in {tmp_path / 'downloads'}" in text and text.count("By hand: ") == 1
    assert "urlopen error" not in text


def test_a_server_that_is_not_there_is_tried_and_told_once(tmp_path, monkeypatch):
    """torchvision would ask again without encryption."""
    asked: list[str] = []

    def refuse(url: str, target: Path, **_: object) -> None:
        asked.append(url)
        raise DownloadError(target, f"asked {url}; the server was not reached")

    monkeypatch.setattr("raybench.datasets.sources.torchvision_downloads.download", refuse)
    with pytest.raises(ResourceError) as error:
        open_torchvision(CARDS["cifar10"], tmp_path / "here", quiet)
    (url,) = asked
    text = str(error.value)
    assert url.startswith("https:") and text.count("was not reached") == 1
    target = tmp_path / "here" / "cifar-10-python.tar.gz"
    assert f"(asked {url}; the server was not reached). By hand: get that file" in text
    assert f"save it as {target}; or give" in text and text.count("By hand") == 1
    asked.clear()
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["https://a.org/", "https://b.org/"])
    with pytest.raises(ResourceError, match=r"\(asked https://a.*; asked https://b.*\)\. By hand"):
        open_torchvision(CARDS["mnist"], tmp_path / "here", quiet)
    assert [url[:14] for url in asked] == ["https://a.org/", "https://b.org/"]


@pytest.mark.parametrize("name", ["cifar10", "caltech101", "pcam"])
def test_offline_by_wish_nothing_is_asked(name, tmp_path, monkeypatch):
    def connect(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=connect))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    damaged = tmp_path / "cifar-10-python.tar.gz"
    damaged.write_bytes(b"half of it")
    with pytest.raises(ResourceError) as error:
        open_torchvision(ALL[name], tmp_path, quiet)
    text = str(error.value)
    assert "(HF_HUB_OFFLINE is set, so https://" in text and text.count("By hand") == 1
    assert f"save it as {tmp_path}" in text and damaged.exists()


def test_downloads_are_resumed_checked_and_told(tmp_path, monkeypatch):
    """A broken connection, a damaged file from before, and torchvision's own MD5."""
    served = tmp_path / "served"
    make_mnist(served, monkeypatch)
    resources = []
    for file in sorted((served / "MNIST" / "raw").iterdir()):
        packed = gzip.compress(file.read_bytes(), mtime=0)
        (served / f"{file.name}.gz").write_bytes(packed)
        resources.append((f"{file.name}.gz", hashlib.md5(packed).hexdigest()))
    cls = torchvision.datasets.MNIST
    monkeypatch.setattr(cls, "resources", resources)
    told: list[str] = []
    here = tmp_path / "here"
    with standin_server(served) as server:
        monkeypatch.setattr(cls, "mirrors", [server.url("nowhere/"), server.url("")])
        server.fault("train-images-idx3-ubyte.gz", truncate=50)
        damaged = here / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
        damaged.parent.mkdir(parents=True)
        damaged.write_bytes(b"half of it")
        card = dataclasses.replace(CARDS["mnist"], images={"train": 10, "test": 10})
        source = open_torchvision(card, here, told.append)
        asked = dict(server.requests)
        open_torchvision(card, here, told.append)
        assert dict(server.requests) == asked
    assert len(source.samples) == 20 and asked["train-images-idx3-ubyte.gz"] == 2
    assert any("train-images" in text for text in told)
    assert not list(here.rglob("*.part"))


def test_a_wrong_hash_is_refused(tmp_path, monkeypatch):
    cls = torchvision.datasets.MNIST
    monkeypatch.setattr(cls, "resources", [("a.gz", "0" * 32)])
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x"))
    with standin_server(tmp_path) as server:
        monkeypatch.setattr(cls, "mirrors", [server.url("nowhere/"), server.url("")])
        with pytest.raises(ResourceError, match="'mnist' is not in .*corrupted.*By hand") as error:
            open_torchvision(CARDS["mnist"], tmp_path / "here", quiet)
    assert "nowhere" not in str(error.value)  # it came, from the next mirror
