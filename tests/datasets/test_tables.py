"""CSV and Parquet tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raybench.datasets import check_dataset, count_dataset
from raybench.datasets.folders import list_images
from raybench.spec import ColumnsSpec, DatasetSpec


@pytest.fixture
def rows(image_folder, tmp_path) -> list[tuple[str, str]]:
    """``(path, label)`` of twelve images below ``tmp_path``."""
    root = image_folder(tmp_path / "images", per_class=6)
    return [
        (p.relative_to(tmp_path).as_posix(), p.parent.name) for p in sorted(root.rglob("*.png"))
    ]


def write(path: Path, header: str, rows: list[tuple[str, ...]]) -> DatasetSpec:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return DatasetSpec(name="mine", path=str(path))


def test_hugging_face_columns_are_known(tmp_path, rows):
    counts = count_dataset(write(tmp_path / "t.csv", "file_name,label", rows))
    assert counts is not None and (counts.classes, counts.total) == (2, 12)


def test_parquet_equals_csv(tmp_path, rows):
    csv = list_images(write(tmp_path / "t.csv", "file_name,label", rows))
    pd.DataFrame(rows, columns=["file_name", "label"]).to_parquet(tmp_path / "t.parquet")
    parquet = list_images(DatasetSpec(name="mine", path=str(tmp_path / "t.parquet")))
    assert parquet.images == csv.images and not parquet.mistakes


def test_columns_root_group_split_and_missing_suffix(tmp_path, rows):
    split = ["train", "Test"] * 6
    table = [
        (Path(p).stem, label, f"p{i}", split[i])
        for i, (p, label) in enumerate(rows)
        if label == "cat"
    ] + [
        (f"../dog/{Path(p).stem}", label, f"p{i}", split[i])
        for i, (p, label) in enumerate(rows)
        if label == "dog"
    ]
    columns = ColumnsSpec(path="image_id", label="dx", group="patient", split="fold")
    spec = write(tmp_path / "t.csv", "image_id,dx,patient,fold", table)
    inside = spec.model_copy(update={"columns": columns, "root": str(tmp_path / "images" / "cat")})
    assert "lead out of" in check_dataset(inside)[0]
    table = [
        (p.removesuffix(".png"), label, f"p{i}", split[i]) for i, (p, label) in enumerate(rows)
    ]
    spec = write(tmp_path / "t.csv", "image_id,dx,patient,fold", table)
    listing = list_images(spec.model_copy(update={"columns": columns}))
    assert listing.mistakes == []
    assert {i.split for i in listing.images} == {"train", "test"}
    assert listing.images[0].id == "images/cat/000.png" and listing.images[0].group == "p0"


def test_missing_columns_are_named_with_those_there(tmp_path, rows):
    (mistake,) = check_dataset(write(tmp_path / "t.csv", "image,dx", rows))
    assert "no columns 'file_name', 'label'; it has 'dx', 'image'" in mistake


def test_all_mistakes_of_the_rows_at_once(tmp_path, rows):
    bad = [*rows, rows[0], ("gone.png", "cat"), ("images/cat/000.png", "")]
    text = "\n".join(check_dataset(write(tmp_path / "t.csv", "file_name,label", bad)))
    assert "column 'label' is empty in row 16" in text
    assert "1 image is not in" in text and "'gone.png'" in text
    assert "image 'images/cat/000.png' stands in more than one row" in text


def test_rows_that_can_be_used_are_listed_beside_the_mistakes(tmp_path, rows):
    bad = [
        *rows,
        rows[0],
        ("gone.png", "cat"),
        ("../out.png", "cat"),
        ("a\0b.png", "cat"),
        ("", ""),
    ]
    listing = list_images(write(tmp_path / "t.csv", "file_name,label", bad))
    assert [(image.id, image.label) for image in listing.images] == sorted(rows)
    text = "\n".join(listing.mistakes)
    assert "2 images are not in" in text and "path '../out.png' leads out of" in text


def test_long_lists_of_rows_are_cut(tmp_path, rows):
    bad = [*rows, *[("images/cat/000.png", "")] * 12]
    text = "\n".join(check_dataset(write(tmp_path / "t.csv", "file_name,label", bad)))
    assert "is empty in rows 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 and 2 more" in text


def test_an_unknown_split_is_a_mistake_of_its_rows(tmp_path, rows):
    table = [(*row, "train" if i % 2 else "hold-out") for i, row in enumerate(rows)]
    spec = write(tmp_path / "t.csv", "file_name,label,part", table)
    listing = list_images(spec.model_copy(update={"columns": ColumnsSpec(split="part")}))
    assert len(listing.images) == 12 and len(listing.mistakes) == 1
    assert listing.mistakes[0].endswith("split 'hold-out' is not train, val or test")


@pytest.mark.parametrize("mark", ["|", ";"])
def test_multi_label_csv_is_refused(tmp_path, rows, mark):
    bad = [(rows[0][0], f"cat{mark}dog"), *rows[1:]]
    (mistake,) = check_dataset(write(tmp_path / "t.csv", "file_name,label", bad))
    assert "multi-label data is not supported" in mistake


def test_multi_label_parquet_is_refused(tmp_path, rows):
    labels = [[label] for _, label in rows]
    frame = pd.DataFrame({"file_name": [path for path, _ in rows], "label": labels})
    frame.to_parquet(tmp_path / "t.parquet")
    (mistake,) = check_dataset(DatasetSpec(name="mine", path=str(tmp_path / "t.parquet")))
    assert "multi-label" in mistake


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("file_name,label\n", "holds no rows"),
        ("file_name,label,label\n", "names column 'label' twice"),
        ("file_name,label\na.png\n", "row 2 has not the 2 fields"),
    ],
)
def test_broken_tables_are_refused_in_words(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    (mistake,) = check_dataset(DatasetSpec(name="mine", path=str(tmp_path / "t.csv")))
    assert words in mistake


def test_no_table_and_no_parquet(tmp_path):
    spec = DatasetSpec(name="mine", path=str(tmp_path / "t.parquet"))
    assert "no such table" in check_dataset(spec)[0]
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    assert "cannot be read" in check_dataset(spec)[0]


def test_numeric_labels_are_ordered_by_value(tmp_path, rows):
    from raybench.datasets.listing import class_order

    frame = pd.DataFrame({"file_name": [p for p, _ in rows], "label": [10.0, 2.0] * 6})
    frame.to_parquet(tmp_path / "t.parquet")
    images = list_images(DatasetSpec(name="mine", path=str(tmp_path / "t.parquet"))).images
    assert class_order(image.label for image in images) == ("2", "10")
