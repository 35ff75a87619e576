"""The audit of data sets: what is planted is found, what is sound is left alone."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raybench.datasets.audit.audit import Audited, audit_dataset, find_overlaps
from raybench.datasets.audit.classes_and_sizes import balance_findings, name_findings
from raybench.datasets.audit.inspection import inspect, picture_uri
from raybench.datasets.sources.samples import Sample, Source
from raybench.errors import DataError
from raybench.spec import DatasetSpec
from tests.datasets.audit.pictures import cropped, resaved, scene

SEED = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, train/val/test, 12 distinct pictures each."""
    number = 0
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for name in ("cat", "dog"):
            place = tmp_path / "scans" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                number += 1
                scene(number).save(place / f"{index}.png")
    return tmp_path / "scans"


def audited(path: Path, tmp_path: Path, name: str = "scans", **spec: object) -> Audited:
    dataset = DatasetSpec(name=name, path=str(path), **spec)  # type: ignore[arg-type]
    return audit_dataset(name, dataset, tmp_path / "downloads", SEED, 64, lambda text: None)


def kinds(found: Audited) -> dict[str, str]:
    """Kind -> severity of what is more than told."""
    return {f.kind: f.severity for f in found.audit.findings if f.severity != "info"}


def test_a_sound_folder(folder, tmp_path):
    audit = audited(folder, tmp_path).audit
    assert (audit.images, audit.bad) == (24, {})
    assert audit.splits == {"train": 12, "val": 6, "test": 6}
    assert {f.severity for f in audit.findings} == {"info"}
    assert audit.statistics["classes"] == {"cat": 12, "dog": 12}
    assert audit.statistics["width"] == audit.statistics["height"] == [96, 96, 96]
    assert audit.statistics["grey_share"] == 0


def test_every_unreadable_file_is_named_and_the_rest_is_audited(folder, tmp_path):
    whole = resaved(scene(50))
    whole.save(folder / "train" / "cat" / "cut.jpg", quality=90)
    content = (folder / "train" / "cat" / "cut.jpg").read_bytes()
    (folder / "train" / "cat" / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "val" / "dog" / "empty.jpg").write_bytes(b"")
    (folder / "test" / "dog" / "text \n 'q' имя.png").write_text("no picture")
    scene(1).save(folder / "test" / "dog" / "copy.png")  # of train/cat/0.png
    found = audited(folder, tmp_path)
    assert list(found.audit.bad) == [
        "test/dog/text \n 'q' имя.png",
        "train/cat/cut.jpg",
        "val/dog/empty.jpg",
    ]
    assert found.audit.bad["train/cat/cut.jpg"] == "is cut short"
    assert "empty" in found.audit.bad["val/dog/empty.jpg"]
    assert found.audit.images == 28
    assert kinds(found) == {
        "exact_across_splits": "leak",
        "unreadable": "warning",
        "label_conflict": "warning",
    }


def test_planted_copies_across_official_splits(folder, tmp_path):
    scene(1).save(folder / "test" / "cat" / "same.bmp")
    cropped(scene(2)).save(folder / "val" / "cat" / "cropped.png")
    resaved(scene(3)).save(folder / "train" / "cat" / "again.png")
    by_kind = {f.kind: f for f in audited(folder, tmp_path).audit.findings}
    assert by_kind["exact_across_splits"].sets == (("test/cat/same.bmp", "train/cat/0.png"),)
    assert by_kind["near_across_splits"].sets == (("val/cat/cropped.png", "train/cat/1.png"),)
    assert by_kind["near_within_split"].sets == (("train/cat/2.png", "train/cat/again.png"),)


def test_splits_that_run_would_cut(folder, tmp_path):
    """Without official splits the seed decides, so across and within add up to all copies."""
    pool = tmp_path / "pool"
    for number in range(20):
        for name, first in (("cat", 100), ("dog", 200)):
            (pool / name).mkdir(parents=True, exist_ok=True)
            scene(first + number).save(pool / name / f"{number}.png")
            scene(first + number).save(pool / name / f"{number}-copy.bmp")
    found = audited(pool, tmp_path)
    sizes = {f.kind: f.count for f in found.audit.findings if f.kind.startswith("exact")}
    assert found.audit.splits == {"train": 48, "val": 16, "test": 16}
    assert sum(sizes.values()) == 40 and sizes["exact_across_splits"] > 10
    grouped = audited(pool, tmp_path, group_by=r"([a-z]+/\d+)")
    assert kinds(grouped) == {"exact_within_split": "warning"}


def test_folds_are_splits(folder, tmp_path):
    pool = tmp_path / "pool"
    for name, first in (("cat", 100), ("dog", 200)):
        (pool / name).mkdir(parents=True)
        for number in range(9):
            scene(first + number).save(pool / name / f"{number}.png")
        scene(first).save(pool / name / "copy.bmp")
    found = audited(pool, tmp_path, folds=10)
    assert list(found.audit.splits) == [f"fold {n}" for n in range(1, 11)]
    assert kinds(found)["exact_across_splits"] == "leak"


def test_a_class_too_small_to_split_is_a_finding_of_its_own(tmp_path):
    samples = tuple(
        Sample(f"{n}", lambda n=n: np.asarray(scene(n)), label=int(n == 0)) for n in range(9)
    )
    from raybench.datasets.audit.audit import _splits

    splits, findings = _splits(Source(("a", "b"), samples), DatasetSpec(name="x"), SEED)
    assert splits == {} and findings[0].kind == "splits" and "class 'b'" in findings[0].sentence


def test_mistakes_of_the_listing_are_the_users_input(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        audited(tmp_path / "nowhere", tmp_path)


def test_digits_are_sound_though_they_look_alike(tmp_path):
    """8x8 pixels: tens of thousands of pairs have close hashes."""
    found = audit_dataset("digits", DatasetSpec(name="digits"), tmp_path, SEED, None, print)
    assert kinds(found) == {}
    told = {f.kind: f.count for f in found.audit.findings}
    assert told["too_small_to_compare"] == 1797


def test_overlap_with_another_data_set(folder, tmp_path):
    other = tmp_path / "other"
    for name, first in (("fox", 300), ("owl", 400)):
        (other / name).mkdir(parents=True)
        for number in range(5):
            scene(first + number).save(other / name / f"{number}.png")
    assert find_overlaps([audited(folder, tmp_path), audited(other, tmp_path, "other")]) == ()
    scene(1).save(other / "fox" / "equal.bmp")
    resaved(scene(2)).save(other / "owl" / "near.png")
    found = find_overlaps([audited(folder, tmp_path), audited(other, tmp_path, "other")])
    assert [(f.kind, f.severity, f.count) for f in found] == [("overlap", "warning", 2)]
    assert set(found[0].sets) == {
        ("scans: train/cat/0.png", "other: fox/equal.bmp"),
        ("scans: train/cat/1.png", "other: owl/near.png"),
    }


def test_colour_that_gives_the_class_away(folder, tmp_path):
    for file in folder.rglob("dog/*.png"):
        Image.open(file).convert("L").save(file)
    assert kinds(audited(folder, tmp_path)) == {"colour": "warning"}


def test_dark_16_bit_pictures_are_told(folder, tmp_path):
    for number, white in enumerate((255, 1023, 4095, 65535)):
        grey = np.asarray(scene(60 + number).convert("L"), dtype=np.float64) / 255
        scan = (grey / grey.max() * white).astype(np.uint16)
        Image.fromarray(scan).save(folder / "train" / "cat" / f"scan-{white}.png")
    (finding,) = (f for f in audited(folder, tmp_path).audit.findings if "dark" in f.kind)
    assert (finding.severity, finding.count) == ("warning", 3)
    assert finding.images == tuple(f"train/cat/scan-{white}.png" for white in (1023, 255, 4095))
    assert finding.sentence == (
        "3 pictures use less than 1/16 of the 16-bit range (at most 6.2%) and come out nearly "
        "black; stretch all of them by one factor"
    )


@pytest.mark.parametrize("twins", [("Cat", "cat"), ("cafe\u0301", "caf\u00e9")])
def test_class_folders_that_differ_in_case_or_unicode_form_are_a_warning(tmp_path, twins):
    for number, name in enumerate((*twins, "dog")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for index in range(3):
            scene(70 + 3 * number + index).save(tmp_path / "d" / name / f"{index}.png")
    found = audited(tmp_path / "d", tmp_path)
    (finding,) = (f for f in found.audit.findings if f.kind == "label_names")
    assert finding.severity == "warning" and f"'{twins[0]}' and '{twins[1]}'" in finding.sentence


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (("train", "val"), "no test"),
        (("val", "test"), "no train"),
        (("train",), "only a train split"),
    ],
)
def test_mistaken_splits_are_findings_and_the_pictures_are_audited(folder, tmp_path, splits, words):
    for split in {"train", "val", "test"} - set(splits):
        shutil.rmtree(folder / split)
    found = audited(folder, tmp_path)
    assert found.audit.findings[0].severity == "mistake"
    assert words in found.audit.findings[0].sentence and found.inspection.readable.all()


def test_long_and_small_pictures_are_told(folder, tmp_path):
    scene(70).resize((200, 40)).save(folder / "train" / "cat" / "long.png")
    told = {f.kind: f for f in audited(folder, tmp_path).audit.findings}
    assert told["long_shapes"].images == ("train/cat/long.png",)
    assert "short sides of 40 to 96 pixels, median 96; 4% enlarged" in told["image_sizes"].sentence


@pytest.mark.parametrize(
    ("names", "twins"),
    [
        (("cat", "Cat "), 1),
        (("cat", "cats", "dog"), 1),
        (("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")), 1),
        (("red fox", "red_fox", "red-fox"), 1),
        (("cat_1", "cat_2"), 0),
        (("1", "11", "1s"), 0),
        (("cat", "dog", "cow"), 0),
    ],
)
def test_class_names_that_mean_the_same(names, twins):
    findings = name_findings(names)
    assert [f.count for f in findings] == ([twins] if twins else [])
    assert all(repr(name) in f.sentence for f in findings for name in names[:2])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 100, "b": 100}, {"class_balance": "info"}),
        ({"a": 99, "b": 10}, {"class_balance": "info"}),
        ({"a": 100, "b": 10}, {"class_balance": "warning"}),
        ({"a": 12, "b": 9}, {"class_balance": "info", "small_classes": "warning"}),
    ],
)
def test_class_balance(counts, expected):
    assert {f.kind: f.severity for f in balance_findings(counts)} == expected


def test_equal_classes_are_told_in_few_words():
    assert balance_findings({"a": 1200, "b": 1200})[0].sentence == "2 classes: 1,200 images each"


def test_a_file_that_vanishes_is_a_finding():
    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    source = Source(("a",), (Sample("x", gone, 0), Sample("y", lambda: np.asarray(scene(1)), 0)))
    found = inspect(source, lambda text: None)
    assert found.bad == {"x": "No such file or directory"}
    assert found.readable.tolist() == [False, True] and found.sizes.tolist() == [[0, 0], [96, 96]]
    assert picture_uri(source.samples[0]) == ""
    assert picture_uri(source.samples[1]).startswith("data:image/jpeg;base64,/9j/")


def test_equal_pixels_means_equal_shapes_too():
    wide, high = np.full((4, 8), 9, np.uint8), np.full((8, 4), 9, np.uint8)
    samples = (Sample("w", lambda: wide, 0), Sample("h", lambda: high, 0))
    source = Source(("a",), samples)
    found = inspect(source, lambda text: None)
    assert len(set(found.pixels)) == 2


def test_progress_is_told(monkeypatch):
    monkeypatch.setattr("raybench.datasets.audit.inspection._TELL_EVERY_S", -1)
    samples = tuple(Sample(str(n), lambda: np.zeros((8, 8), np.uint8), 0) for n in range(300))
    told: list[str] = []
    inspect(Source(("a",), samples), told.append)
    assert told == ["256 of 300 images decoded", "300 of 300 images decoded"]
