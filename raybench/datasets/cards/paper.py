"""Cards of the 19 data sets of Jeevan and Sethi (arXiv 2406.05612), and of NEU surface defects.

The paper's table of data sets (README of pranavphoenix/Backbones) gives names, domains and counts;
where a card differs from it, the note says why. Hashes and sizes stand only where the set's home or
a widely used library publishes them; the comment beside each names which. Every other download has
its SHA-256 recorded on first arrival and held from then on.
"""

from __future__ import annotations

from collections.abc import Mapping

from raybench.datasets.cards.card import (
    DatasetCard,
    PublishedFile,
    PublishedSource,
    Split,
    TorchvisionSource,
)
from raybench.datasets.cards.specialist import SPECIALIST_CARDS

_Splits = Mapping[Split, Mapping[str, str | bool]]
_BOOLEAN: _Splits = {"train": {"train": True}, "test": {"train": False}}
_TWO: _Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: _Splits = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}

_NATURAL = (
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
        name="tiny_imagenet",
        domain="natural",
        classes=200,
        images={"train": 100000, "test": 10000},
        source="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        licence="none stated; ImageNet's terms (research, not commercial) hold for its images",
        citation="Le and Yang 2015, Tiny ImageNet Visual Recognition Challenge",
        notes="64x64; its val folder is the test split here, as the test labels are not public",
        published=PublishedSource(
            "tiny_imagenet",
            # MD5: avalanche (ContinualAI), tiny_imagenet.
            (
                PublishedFile(
                    "tiny-imagenet-200.zip",
                    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                    md5="90528d7ca1a48142e341f4ef8d21d0de",
                ),
            ),
            {"images": "tiny-imagenet-200/tiny-imagenet-200"},
        ),
    ),
    DatasetCard(
        name="stanford_dogs",
        domain="natural",
        classes=120,
        images={"train": 12000, "test": 8580},
        source="http://vision.stanford.edu/aditya86/ImageNetDogs/",
        licence="none stated; ImageNet's terms (research, not commercial) hold for its images",
        citation="Khosla et al. 2011, Novel Dataset for Fine-Grained Image Categorization",
        notes="dog breeds; images are part of ImageNet, so pretrained backbones may have seen the "
        "test split",
        published=PublishedSource(
            "stanford_dogs",
            # Sizes and SHA-256: TensorFlow Datasets, url_checksums/stanford_dogs.txt.
            (
                PublishedFile(
                    "images.tar",
                    "http://vision.stanford.edu/aditya86/ImageNetDogs/images.tar",
                    sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
                    size=793579520,
                ),
                PublishedFile(
                    "lists.tar",
                    "http://vision.stanford.edu/aditya86/ImageNetDogs/lists.tar",
                    sha256="34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
                    size=481280,
                ),
            ),
            {"images": "images/Images", "lists": "lists"},
        ),
    ),
    DatasetCard(
        name="flowers102",
        domain="natural",
        classes=102,
        images={"train": 1020, "val": 1020, "test": 6149},
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        licence="none stated",
        citation="Nilsback and Zisserman 2008, Automated Flower Classification",
        notes="10 training images a class; the paper counts train and val together",
        torchvision=TorchvisionSource("Flowers102", _THREE),
    ),
    DatasetCard(
        name="cub200",
        domain="natural",
        classes=200,
        images={"train": 5994, "test": 5794},
        source="https://data.caltech.edu/records/65de6-vp158",
        licence="see the source",
        citation="Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset, CNS-TR-2011-001",
        notes="bird species; its authors warn that test images are part of ImageNet",
        published=PublishedSource(
            "cub",
            # MD5: avalanche (ContinualAI), cub200; TDeVries/cub2011_dataset.
            (
                PublishedFile(
                    "CUB_200_2011.tgz",
                    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                    md5="97eceeb196236b17998738112f37df78",
                ),
            ),
            {"images": "CUB_200_2011/CUB_200_2011"},
        ),
    ),
    DatasetCard(
        name="stanford_cars",
        domain="natural",
        classes=196,
        images={"train": 8144, "test": 8041},
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (gone)",
        licence="research use",
        citation="Krause et al. 2013, 3D Object Representations for Fine-Grained ...",
        notes="no longer downloadable",
        torchvision=TorchvisionSource(
            "StanfordCars",
            _TWO,
            by_hand="put cars_train/ and cars_test/ (of cars_train.tgz and cars_test.tgz), devkit/ "
            "(of car_devkit.tgz) and cars_test_annos_withlabels.mat into its folder stanford_cars/",
        ),
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
)

_TEXTURE = (
    DatasetCard(
        name="dtd",
        domain="texture",
        classes=47,
        images={"train": 1880, "val": 1880, "test": 1880},
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        licence="research use",
        citation="Cimpoi et al. 2014, Describing Textures in the Wild",
        notes="partition 1 of 10; the paper leaves the official val split out",
        torchvision=TorchvisionSource("DTD", _THREE),
    ),
)

PAPER_CARDS = (*_NATURAL, *_TEXTURE, *SPECIALIST_CARDS)
