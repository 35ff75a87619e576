"""Cards of torchvision's handwritten characters. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping

from raybench.datasets.cards.card import DatasetCard, Split, TorchvisionSource

_BOOLEAN: Mapping[Split, Mapping[str, str | bool]] = {
    "train": {"train": True},
    "test": {"train": False},
}
_UNREAD = "see the source"  # no licence text was read


def _emnist(split: str, classes: int, train: int, test: int, notes: str = "") -> DatasetCard:
    return DatasetCard(
        name=f"emnist_{split}",
        domain="handwriting",
        classes=classes,
        images={"train": train, "test": test},
        source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        licence=_UNREAD,
        citation="Cohen et al. 2017, EMNIST: Extending MNIST to Handwritten Letters",
        notes="28x28 grey; turned upright here, the files hold them transposed" + notes,
        torchvision=TorchvisionSource(
            "EMNIST",
            {
                "train": {"split": split, "train": True},
                "test": {"split": split, "train": False},
            },
            in_memory=True,
        ),
    )


def _digits(
    name: str, class_name: str, images: Mapping[str, int], source: str, citation: str, notes: str
) -> DatasetCard:
    return DatasetCard(
        name=name,
        domain="handwriting",
        classes=10,
        images=images,
        source=source,
        licence=_UNREAD,
        citation=citation,
        notes=notes,
        torchvision=TorchvisionSource(
            class_name, {} if "all" in images else _BOOLEAN, in_memory=True
        ),
    )


HANDWRITING_CARDS = (
    _digits(
        "mnist",
        "MNIST",
        {"train": 60_000, "test": 10_000},
        "http://yann.lecun.com/exdb/mnist/",
        "LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition",
        "28x28 grey",
    ),
    _digits(
        "kmnist",
        "KMNIST",
        {"train": 60_000, "test": 10_000},
        "https://github.com/rois-codh/kmnist",
        "Clanuwat et al. 2018, Deep Learning for Classical Japanese Literature",
        "28x28 grey; ten cursive Japanese characters",
    ),
    _digits(
        "qmnist",
        "QMNIST",
        {"train": 60_000, "test": 60_000},
        "https://github.com/facebookresearch/qmnist",
        "Yadav and Bottou 2019, Cold Case: The Lost MNIST Digits",
        "28x28 grey; MNIST's training digits, and all 60,000 rebuilt test digits",
    ),
    _digits(
        "usps",
        "USPS",
        {"train": 7_291, "test": 2_007},
        "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
        "Hull 1994, A Database for Handwritten Text Recognition Research",
        "16x16 grey",
    ),
    _digits(
        "semeion",
        "SEMEION",
        {"all": 1_593},
        "http://archive.ics.uci.edu/ml/datasets/semeion+handwritten+digit",
        "Buscema and Terzi 1994, Semeion Handwritten Digit, UCI",
        "16x16, black and white; no official split",
    ),
    _emnist("byclass", 62, 697_932, 116_323, "; classes of unequal size"),
    _emnist("bymerge", 47, 697_932, 116_323, "; classes of unequal size"),
    _emnist("balanced", 47, 112_800, 18_800),
    _emnist("letters", 26, 124_800, 20_800, "; capital and small letters are one class"),
    _emnist("digits", 10, 240_000, 40_000),
    _emnist("mnist", 10, 60_000, 10_000),
)
