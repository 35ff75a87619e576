"""Cards of torchvision's classification sets beyond the paper's. Nothing heavy is imported.

Counts and splits are those of torchvision's classes and of the sets' own pages. ``licence`` says
``see the source`` where no licence text was read. Left out, because they give an image no one
class, or other classes in test than in train: CelebA, LFW, Omniglot; and everything for video,
detection, segmentation, captions, flow and stereo.
"""

from __future__ import annotations

from collections.abc import Mapping

from raybench.datasets.cards.card import DatasetCard, Split, TorchvisionSource
from raybench.datasets.cards.handwriting import HANDWRITING_CARDS

_Splits = Mapping[Split, Mapping[str, str | bool]]
_UNREAD = "see the source"
_BOOLEAN: _Splits = {"train": {"train": True}, "test": {"train": False}}
_TWO: _Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: _Splits = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
_VAL_IS_TEST: _Splits = {"train": {"split": "train"}, "test": {"split": "val"}}
_VAL_NOTE = "the published validation split is the test split here: the test labels are not public"


def _inaturalist(name: str, version: str, train: int, notes: str) -> DatasetCard:
    return DatasetCard(
        name=name,
        domain="natural",
        classes=10_000,
        images={"train": train, "test": 100_000},
        source="https://github.com/visipedia/inat_comp/tree/master/2021",
        licence=_UNREAD,
        citation="Van Horn et al. 2021, Benchmarking Representation Learning for Natural World ...",
        notes=f"{notes}; {_VAL_NOTE}",
        torchvision=TorchvisionSource(
            "INaturalist", {"train": {"version": version}, "test": {"version": "2021_valid"}}
        ),
    )


_NATURAL = (
    DatasetCard(
        name="fashion_mnist",
        domain="products",
        classes=10,
        images={"train": 60_000, "test": 10_000},
        source="https://github.com/zalandoresearch/fashion-mnist",
        licence=_UNREAD,
        citation="Xiao et al. 2017, Fashion-MNIST",
        notes="28x28 grey",
        torchvision=TorchvisionSource("FashionMNIST", _BOOLEAN, in_memory=True),
    ),
    DatasetCard(
        name="svhn",
        domain="natural",
        classes=10,
        images={"train": 73_257, "test": 26_032},
        source="http://ufldl.stanford.edu/housenumbers/",
        licence=_UNREAD,
        citation="Netzer et al. 2011, Reading Digits in Natural Images",
        notes="32x32 crops; the 531,131 extra images are left out; needs scipy",
        torchvision=TorchvisionSource("SVHN", _TWO, in_memory=True),
    ),
    DatasetCard(
        name="stl10",
        domain="natural",
        classes=10,
        images={"train": 5_000, "test": 8_000},
        source="https://cs.stanford.edu/~acoates/stl10/",
        licence=_UNREAD,
        citation="Coates et al. 2011, An Analysis of Single-Layer Networks",
        notes="96x96, from ImageNet; the unlabelled images are left out",
        torchvision=TorchvisionSource("STL10", _TWO, in_memory=True),
    ),
    DatasetCard(
        name="gtsrb",
        domain="traffic signs",
        classes=43,
        images={"train": 26_640, "test": 12_630},
        source="https://benchmark.ini.rub.de/",
        licence=_UNREAD,
        citation="Stallkamp et al. 2012, Man vs. Computer: Traffic Sign Recognition",
        notes="classes are numbered; train has 30 pictures of each sign: groups for validation",
        torchvision=TorchvisionSource("GTSRB", _TWO),
    ),
    DatasetCard(
        name="caltech101",
        domain="natural",
        classes=101,
        images={"all": 8_677},
        source="https://data.caltech.edu/records/20086",
        licence=_UNREAD,
        citation="Fei-Fei et al. 2004, Learning Generative Visual Models from Few Examples",
        notes="without the background class, as torchvision reads it; no official split",
        torchvision=TorchvisionSource("Caltech101"),
    ),
    DatasetCard(
        name="caltech256",
        domain="natural",
        classes=257,
        images={"all": 30_607},
        source="https://data.caltech.edu/records/20087",
        licence=_UNREAD,
        citation="Griffin et al. 2007, Caltech-256 Object Category Dataset",
        notes="with the clutter class, as torchvision reads it; no official split",
        torchvision=TorchvisionSource("Caltech256"),
    ),
    DatasetCard(
        name="oxford_iiit_pet",
        domain="natural",
        classes=37,
        images={"train": 3_680, "test": 3_669},
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        licence=_UNREAD,
        citation="Parkhi et al. 2012, Cats and Dogs",
        notes="torchvision's trainval is train; breeds",
        torchvision=TorchvisionSource(
            "OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}
        ),
    ),
    DatasetCard(
        name="fgvc_aircraft",
        domain="natural",
        classes=100,
        images={"train": 3_334, "val": 3_333, "test": 3_333},
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        licence=_UNREAD,
        citation="Maji et al. 2013, Fine-Grained Visual Classification of Aircraft",
        notes="variants; torchvision publishes no hash: the archive's is recorded when it comes",
        torchvision=TorchvisionSource("FGVCAircraft", _THREE),
    ),
    DatasetCard(
        name="sun397",
        domain="scenes",
        classes=397,
        images={"all": 108_754},
        source="https://vision.princeton.edu/projects/2010/SUN/",
        licence=_UNREAD,
        citation="Xiao et al. 2010, SUN Database: Large-Scale Scene Recognition from Abbey to Zoo",
        notes="pooled: torchvision does not read the ten published partitions",
        torchvision=TorchvisionSource("SUN397"),
    ),
    DatasetCard(
        name="country211",
        domain="scenes",
        classes=211,
        images={"train": 31_650, "val": 10_550, "test": 21_100},
        source="https://github.com/openai/CLIP/blob/main/data/country211.md",
        licence=_UNREAD,
        citation="Radford et al. 2021, Learning Transferable Visual Models ...",
        notes="the country a photograph was taken in; from YFCC100M",
        torchvision=TorchvisionSource("Country211", {**_THREE, "val": {"split": "valid"}}),
    ),
    DatasetCard(
        name="imagenet",
        domain="natural",
        classes=1_000,
        images={"train": 1_281_167, "test": 50_000},
        source="https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        licence=_UNREAD,
        citation="Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge",
        notes=f"ILSVRC 2012; needs a login and scipy; {_VAL_NOTE}; nearly every backbone has seen "
        "its training images",
        torchvision=TorchvisionSource(
            "ImageNet",
            _VAL_IS_TEST,
            by_hand="log in at the source, put ILSVRC2012_devkit_t12.tar.gz, "
            "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar there, unopened",
        ),
    ),
    DatasetCard(
        name="imagenette",
        domain="natural",
        classes=10,
        images={"train": 9_469, "test": 3_925},
        source="https://github.com/fastai/imagenette",
        licence=_UNREAD,
        citation="Howard 2019, Imagenette",
        notes="ten easy classes of ImageNet, short side 320 pixels; the validation split is test; "
        "most backbones were pre-trained on these images",
        torchvision=TorchvisionSource(
            "Imagenette",
            {
                "train": {"split": "train", "size": "320px"},
                "test": {"split": "val", "size": "320px"},
            },
        ),
    ),
    DatasetCard(
        name="places365",
        domain="scenes",
        classes=365,
        images={"train": 1_803_460, "test": 36_500},
        source="http://places2.csail.mit.edu/index.html",
        licence=_UNREAD,
        citation="Zhou et al. 2017, Places: A 10 Million Image Database for Scene Recognition",
        notes=f"Places365-Standard, the 256x256 files; {_VAL_NOTE}",
        torchvision=TorchvisionSource(
            "Places365",
            {
                "train": {"split": "train-standard", "small": True},
                "test": {"split": "val", "small": True},
            },
        ),
    ),
    _inaturalist("inaturalist2021", "2021_train", 2_686_843, "224 GB"),
    _inaturalist("inaturalist2021_mini", "2021_train_mini", 500_000, "50 training images a class"),
)

_OTHER = (
    DatasetCard(
        name="pcam",
        domain="medical",
        classes=2,
        images={"train": 262_144, "val": 32_768, "test": 32_768},
        source="https://github.com/basveeling/pcam",
        licence="CC0, following Camelyon16",
        citation="Veeling et al. 2018, Rotation Equivariant CNNs for Digital Pathology",
        notes="96x96 lymph node patches, is there tumour in the centre; on Google Drive: needs "
        "gdown and h5py",
        torchvision=TorchvisionSource("PCAM", _THREE, in_memory=True),
    ),
    DatasetCard(
        name="fer2013",
        domain="faces",
        classes=7,
        images={"train": 28_709, "test": 7_178},
        source="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-"
        "recognition-challenge",
        licence="the rules of the Kaggle competition",
        citation="Goodfellow et al. 2013, Challenges in Representation Learning",
        notes="48x48 grey; public and private test are one",
        torchvision=TorchvisionSource(
            "FER2013",
            _TWO,
            in_memory=True,
            by_hand="put fer2013.csv or icml_face_data.csv (train.csv and test.csv have no test "
            "labels) from the source into its folder fer2013/",
        ),
    ),
    DatasetCard(
        name="rendered_sst2",
        domain="text as image",
        classes=2,
        images={"train": 6_920, "val": 872, "test": 1_821},
        source="https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md",
        licence=_UNREAD,
        citation="Radford et al. 2021, Learning Transferable Visual Models ...",
        notes="sentences drawn as pictures: is the review positive",
        torchvision=TorchvisionSource("RenderedSST2", _THREE),
    ),
    DatasetCard(
        name="clevr_count",
        domain="rendered",
        classes=8,
        images={"train": 70_000, "test": 15_000},
        source="https://cs.stanford.edu/people/jcjohns/clevr/",
        licence=_UNREAD,
        citation="Johnson et al. 2017, CLEVR",
        notes=f"how many objects, 3 to 10; {_VAL_NOTE}",
        torchvision=TorchvisionSource("CLEVRClassification", _VAL_IS_TEST),
    ),
)

TORCHVISION_CARDS: dict[str, DatasetCard] = {
    card.name: card for card in (*HANDWRITING_CARDS, *_NATURAL, *_OTHER)
}
