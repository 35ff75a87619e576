"""Tiny made-up copies of the published sets, in the layouts of the real ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Files = dict[str, bytes]


def picture(value: int, suffix: str = "png") -> bytes:
    """A 4x4 image whose red is ``value``."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(
        file, {"tif": "TIFF", "jpg": "JPEG"}.get(suffix, suffix)
    )
    return file.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path: Path, files: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    (write_zip if path.suffix == ".zip" else write_tar)(path, files)


@dataclass(frozen=True)
class Made:
    """What a copy holds.

    Attributes:
        images: counts, as a card has them.
        rows: id -> label's name, split, group.
    """

    images: dict[str, int]
    rows: dict[str, tuple[str, str | None, str | None]]


def make_tiny_imagenet(www: Path) -> Made:
    base, rows, files = "tiny-imagenet-200", {}, {}
    for wnid in ("n01443537", "n01629819"):
        for number in range(2):
            name = f"train/{wnid}/images/{wnid}_{number}.JPEG"
            files[f"{base}/{name}"] = picture(number, "jpg")
            rows[name] = (wnid, "train", None)
        files[f"{base}/train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
    notes = ""
    for number, wnid in enumerate(("n01629819", "n01443537", "n01443537")):
        files[f"{base}/val/images/val_{number}.JPEG"] = picture(number, "jpg")
        notes += f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n"
        rows[f"val/images/val_{number}.JPEG"] = (wnid, "test", None)
    files[f"{base}/val/val_annotations.txt"] = notes.encode()
    files[f"{base}/test/images/test_0.JPEG"] = picture(9, "jpg")
    write_zip(www / "tiny-imagenet-200.zip", files)
    return Made({"train": 4, "test": 3}, rows)


def make_stanford_dogs(www: Path) -> Made:
    breeds, rows, files, lists = (
        ("n02085620-Chihuahua", "n02116738-African_hunting_dog"),
        {},
        {},
        {},
    )
    for split, count in (("train", 2), ("test", 1)):
        listed = []
        for breed in breeds:
            for number in range(count):
                name = f"{breed}/{breed.partition('-')[0]}_{split}{number}.jpg"
                files[f"Images/{name}"] = picture(number, "jpg")
                rows[name] = (breed, split, None)
                listed.append(name)
        file = io.BytesIO()
        cells = np.array(listed, dtype=object).reshape(-1, 1)
        savemat(file, {"file_list": cells, "labels": np.ones((len(listed), 1))})
        lists[f"{split}_list.mat"] = file.getvalue()
    write_tar(www / "images.tar", files)
    write_tar(www / "lists.tar", {**lists, "file_list.mat": b"unread"})
    return Made({"train": 4, "test": 2}, rows)


def make_cub200(www: Path) -> Made:
    base, rows, files = "CUB_200_2011", {}, {"attributes.txt": b"loose, beside the folder"}
    classes = {"1": "001.Black_footed_Albatross", "2": "002.Laysan_Albatross"}
    tables = {"images": "", "image_class_labels": "", "train_test_split": ""}
    for number, (label, train) in enumerate((("2", 0), ("1", 1), ("2", 1), ("1", 0)), 1):
        name = f"{classes[label]}/bird {number}.jpg"
        files[f"{base}/images/{name}"] = picture(number, "jpg")
        tables["images"] += f"{number} {name}\n"
        tables["image_class_labels"] += f"{number} {label}\n"
        tables["train_test_split"] += f"{number} {train}\n"
        rows[name] = (classes[label], "train" if train else "test", None)
    tables["classes"] = "".join(f"{key} {name}\n" for key, name in classes.items())
    files |= {f"{base}/{name}.txt": text.encode() for name, text in tables.items()}
    write_tar(www / "CUB_200_2011.tgz", files)
    return Made({"train": 2, "test": 2}, rows)


def make_ucmerced(www: Path) -> Made:
    rows, files = {}, {"UCMerced_LandUse/readme.txt": b"", "__MACOSX/UCMerced_LandUse/._a": b""}
    for label in ("agricultural", "airplane"):
        for number in range(3):
            name = f"{label}/{label}{number:02d}.tif"
            files[f"UCMerced_LandUse/Images/{name}"] = picture(number, "tif")
            rows[name] = (label, None, None)
    files["UCMerced_LandUse/Images/airplane/._airplane00.tif"] = b"a Mac was here"
    write_zip(www / "UCMerced_LandUse.zip", files)
    return Made({"all": 6}, rows)


def make_plantvillage(www: Path) -> Made:
    base = "Plant_leave_diseases_dataset_without_augmentation"
    rows, files = {}, {}
    for label in ("Background_without_leaves", "Pepper,_bell___healthy"):
        for name in ("image (1).JPG", "image (2).jpg"):
            files[f"{base}/{label}/{name}"] = picture(1, "jpg")
            rows[f"{label}/{name}"] = (label, None, None)
    write_zip(www / "Plant_leaf_diseases_dataset_without_augmentation.zip", files)
    return Made({"all": 4}, rows)


def make_plantclef(www: Path) -> Made:
    base, rows, files = "PlantCLEF_Subset", {}, {}
    for folder, split, count in (("train", "train", 2), ("val", "test", 1)):
        for label in ("ash", "poison_ivy"):
            for number in range(count):
                files[f"{base}/{folder}/{label}/{number}.jpg"] = picture(number, "jpg")
                rows[f"{folder}/{label}/{number}.jpg"] = (label, split, None)
    files[f"{base}/test/ash.jpg"] = picture(5, "jpg")
    files[f"{base}/labels.txt"] = b"ash\npoison_ivy\n"
    write_tar(www / "PlantCLEF_Subset.tar.gz", files)
    return Made({"train": 4, "test": 2}, rows)


def make_galaxy10_decals(www: Path) -> Made:
    import h5py

    labels = list(range(10))[::-1]
    with h5py.File(www / "Galaxy10_DECals.h5", "w") as file:
        file["images"] = np.stack([np.full((8, 8, 3), 10 * i, np.uint8) for i in range(10)])
        file["ans"] = np.array(labels, np.uint8)
    names = {0: "Disturbed", 3: "In-between Round Smooth", 9: "Edge-on with Bulge"}
    rows = {f"{i:05d}": (names.get(label, ""), None, None) for i, label in enumerate(labels)}
    return Made({"all": 10}, rows)


def make_breakhis(www: Path) -> Made:
    """Two cases each; one has two slides, told apart by letters. 100X has an image more."""
    rows, files = {}, {}
    slides = (
        ("benign", "adenosis", "B_A", "14-22549AB"),
        ("benign", "adenosis", "B_A", "14-22549CD"),
        ("benign", "fibroadenoma", "B_F", "14-9133"),
        ("malignant", "ductal_carcinoma", "M_DC", "14-2523"),
    )
    for label, tumour, code, slide in slides:
        for power in ("40", "100"):
            for number in range(1, 3 if power == "100" else 2):
                name = f"SOB_{code}-{slide}-{power}-{number:03d}.png"
                path = f"{label}/SOB/{tumour}/SOB_{code}_{slide}/{power}X/{name}"
                files[f"BreaKHis_v1/histology_slides/breast/{path}"] = picture(number)
                if power == "40":
                    rows[path] = (label, None, slide.rstrip("ABCD"))
    files["BreaKHis_v1/histology_slides/breast/README.txt"] = b"read me"
    write_tar(www / "BreaKHis_v1.tar.gz", files)
    return Made({"all": 4}, rows)


ARCHIVES: dict[str, Callable[[Path], Made]] = {
    "tiny_imagenet": make_tiny_imagenet,
    "stanford_dogs": make_stanford_dogs,
    "cub200": make_cub200,
    "ucmerced": make_ucmerced,
    "plantvillage": make_plantvillage,
    "plantclef": make_plantclef,
    "galaxy10_decals": make_galaxy10_decals,
    "breakhis_40x": make_breakhis,
}


def put_neu(folder: Path) -> Made:
    """What a person puts there: short names in one folder, long ones in folders."""
    rows = {}
    for name, label in (("Cr_1", "crazing"), ("PS_10", "pitted_surface")):
        rows[f"{name}.bmp"] = (label, None, None)
    rows["rolled-in_scale/rolled-in_scale_7.jpg"] = ("rolled-in_scale", None, None)
    for path in [*rows, "notes_1.png"]:
        file = folder / "NEU-CLS" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(1, file.suffix[1:]))
    return Made({"all": 3}, rows)


def put_rsna(folder: Path) -> Made:
    """Two patients, of whom one has two boxes and so two rows; DICOM as the challenge has it."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    (folder / "stage_2_train_images").mkdir(parents=True)
    (folder / "stage_2_train_labels.csv").write_text(
        "patientId,x,y,width,height,Target\n"
        "bbb,264.0,152.0,213.0,379.0,1\nbbb,562.0,152.0,256.0,453.0,1\naaa,,,,,0\n"
    )
    for name, value in (("aaa", 10), ("bbb", 200)):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
        data.Rows = data.Columns = 8
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        data.PixelData = np.full((8, 8), value, np.uint8).tobytes()
        path = folder / "stage_2_train_images" / f"{name}.dcm"
        data.save_as(path, enforce_file_format=True)
    rows = {"aaa.dcm": ("no lung opacity", None, None), "bbb.dcm": ("lung opacity", None, None)}
    return Made({"all": 2}, rows)


BY_HAND: dict[str, Callable[[Path], Made]] = {"neu_cls": put_neu, "rsna_pneumonia": put_rsna}
