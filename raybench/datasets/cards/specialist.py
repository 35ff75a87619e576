"""Cards of the paper's sets outside everyday pictures: from above, plants, galaxies, tissue, steel.

As in ``paper_cards``: a hash or size stands only where someone publishes it; a comment says who.
"""

from __future__ import annotations

from raybench.datasets.cards.card import (
    DatasetCard,
    PublishedFile,
    PublishedSource,
    TorchvisionSource,
)

_NO_SPLIT = "no official split: 60/20/20 here"

_REMOTE_SENSING = (
    DatasetCard(
        name="ucmerced",
        domain="remote sensing",
        classes=21,
        images={"all": 2100},
        source="http://weegee.vision.ucmerced.edu/datasets/landuse.html",
        licence="public domain (USGS imagery)",
        citation="Yang and Newsam 2010, Bag-of-Visual-Words for Land-Use Classification",
        notes=f"256x256, 100 a class; {_NO_SPLIT}, 80/20 in the paper; mirror kept by torchgeo",
        published=PublishedSource(
            "class_folders",
            # Revision, SHA-256: torchgeo, datasets/ucmerced.py. The same SHA-256, and the size:
            # TensorFlow Datasets, url_checksums/uc_merced.txt, for the home's own file.
            (
                PublishedFile(
                    "UCMerced_LandUse.zip",
                    "https://huggingface.co/datasets/torchgeo/ucmerced/resolve/"
                    "7c5ef3454d9b1cccfa7ccde0c01fc8f00a45909a/UCMerced_LandUse.zip",
                    sha256="06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb",
                    size=332468434,
                ),
            ),
            {"images": "UCMerced_LandUse/UCMerced_LandUse/Images"},
        ),
    ),
    DatasetCard(
        name="eurosat",
        domain="remote sensing",
        classes=10,
        images={"all": 27000},
        source="https://github.com/phelber/EuroSAT",
        licence="MIT",
        citation="Helber et al. 2019, EuroSAT",
        notes=f"64x64 RGB; {_NO_SPLIT}, 70/30 in the paper",
        torchvision=TorchvisionSource("EuroSAT"),
    ),
)

_PLANT_AND_ASTRONOMY = (
    DatasetCard(
        name="plantvillage",
        domain="plant",
        classes=39,
        images={"all": 55448},
        source="https://data.mendeley.com/datasets/tywbtsjrjv/1",
        licence="see the source",
        citation="Hughes and Salathe 2015, arXiv 1511.08060; Geetharamani and Pandian 2019",
        notes=f"38 leaf classes and background, without augmentation; {_NO_SPLIT}, 80/20 in the "
        "paper",
        published=PublishedSource(
            "class_folders",
            # Size and SHA-256: TensorFlow Datasets, url_checksums/plant_village.txt.
            (
                PublishedFile(
                    "Plant_leaf_diseases_dataset_without_augmentation.zip",
                    "https://data.mendeley.com/public-files/datasets/tywbtsjrjv/files/"
                    "d5652a28-c1d8-4b76-97f3-72fb80f94efc/file_downloaded",
                    sha256="ac3432453984d02a86197987e775a5429d0d59e7cc7c35bcf5a8f50349b90ff0",
                    size=868032562,
                ),
            ),
            {
                "images": "Plant_leaf_diseases_dataset_without_augmentation/"
                "Plant_leave_diseases_dataset_without_augmentation"
            },
        ),
    ),
    DatasetCard(
        name="plantclef",
        domain="plant",
        classes=20,
        images={"train": 10455, "test": 1135},
        source="https://github.com/dusty-nv/jetson-inference (docs/pytorch-plants.md)",
        licence="none stated; images from the PlantCLEF 2017 challenge",
        citation="Goeau et al. 2017, Plant Identification Based on Noisy Web Data (LifeCLEF 2017)",
        notes="subset of 20 classes; its val folder is the test split, as in the paper; its page "
        "says 10,475 and 1,155; its 30 loose test images are left out",
        published=PublishedSource(
            "train_val_folders",
            (
                PublishedFile(
                    "PlantCLEF_Subset.tar.gz",
                    "https://nvidia.box.com/shared/static/vbsywpw5iqy7r38j78xs0ctalg7jrg79.gz",
                ),
            ),
            {"images": "PlantCLEF_Subset/PlantCLEF_Subset"},
        ),
    ),
    DatasetCard(
        name="galaxy10_decals",
        domain="astronomy",
        classes=10,
        images={"all": 17736},
        source="https://zenodo.org/records/10845026",
        licence="see the source",
        citation="Leung and Bovy, Galaxy10 DECaLS (astroNN); Walmsley et al. 2022; Dey et al. 2019",
        notes=f"256x256; {_NO_SPLIT}, 90/10 in the paper, drawn anew in every run; needs h5py",
        published=PublishedSource(
            "galaxy10",
            # SHA-256: astroNN, src/astroNN/datasets/galaxy10.py.
            (
                PublishedFile(
                    "Galaxy10_DECals.h5",
                    "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
                    sha256="19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
                    unpack=False,
                ),
            ),
            {"images": "Galaxy10_DECals.h5"},
        ),
    ),
)


def _breakhis(magnification: str, images: int) -> DatasetCard:
    """One magnification; counts of Spanhol et al., table 1: 7,909 images of 82 patients."""
    return DatasetCard(
        name=f"breakhis_{magnification}x",
        domain="medical",
        classes=2,
        images={"all": images},
        source="https://web.inf.ufpr.br/vri/databases/"
        "breast-cancer-histopathological-database-breakhis/",
        licence="CC BY 4.0",
        citation="Spanhol et al. 2016, A Dataset for Breast Cancer Histopathological Images",
        notes=f"benign or malignant, by patient; {_NO_SPLIT}; nothing in the paper's code keeps "
        "patients apart, and its table has 9 images more than are published",
        published=PublishedSource(
            "breakhis",
            (
                PublishedFile(
                    "BreaKHis_v1.tar.gz",
                    "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
                ),
            ),
            {
                "images": "BreaKHis_v1/BreaKHis_v1/histology_slides/breast",
                "magnification": f"{magnification}X",
            },
            shared="breakhis",
        ),
    )


_MEDICAL = (
    _breakhis("40", 1995),
    _breakhis("100", 2081),
    _breakhis("200", 2013),
    _breakhis("400", 1820),
    DatasetCard(
        name="rsna_pneumonia",
        domain="medical",
        classes=2,
        images={"all": 26684},
        source="https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
        licence="the challenge's rules, accepted on Kaggle",
        citation="Shih et al. 2019, Augmenting the NIH Chest Radiograph Dataset",
        notes=f"chest X-rays, lung opacity or not; {_NO_SPLIT}; the paper's 30,227 are the rows of "
        "the label table, one a box, so images of several boxes count several times; needs pydicom",
        published=PublishedSource(
            "rsna",
            (
                PublishedFile("stage_2_train_labels.csv", unpack=False),
                PublishedFile("stage_2_train_images", unpack=False),
            ),
            by_hand="log in to Kaggle, accept the rules of rsna-pneumonia-detection-challenge, "
            "download its archive, unpack it, and put the table stage_2_train_labels.csv and the "
            "folder stage_2_train_images (26,684 .dcm files) into {folder}",
        ),
    ),
)

_SURFACE = (
    DatasetCard(
        name="neu_cls",
        domain="surface defects",
        classes=6,
        images={"all": 1800},
        source="http://faculty.neu.edu.cn/yunhyan/NEU_surface_defect_database.html",
        licence="see the source",
        citation="Song and Yan 2013, A noise robust method based on completed local binary ...",
        notes=f"hot-rolled steel, 200x200 grey, 300 a class; {_NO_SPLIT}; in reviews of the paper "
        "(surface defects), not in its table",
        published=PublishedSource(
            "neu",
            (PublishedFile("NEU-CLS", unpack=False),),
            {"images": "NEU-CLS"},
            by_hand="download NEU-CLS from the page of the NEU surface defect database, which may "
            "have moved to http://faculty.neu.edu.cn/songkechen/, unpack it, and put its 1,800 "
            "images (Cr_1 to Sc_300, or crazing_1 to scratches_300, in one folder or one a class) "
            "into {folder}/NEU-CLS",
        ),
    ),
)

SPECIALIST_CARDS = (*_REMOTE_SENSING, *_PLANT_AND_ASTRONOMY, *_MEDICAL, *_SURFACE)
