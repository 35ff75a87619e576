"""What is said of a user's folder before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.datasets import CARDS, check_dataset, count_dataset, dataset_names, nearest_names
from raybench.spec import ColumnsSpec, DatasetSpec, SplitSpec


def spec_of(path: Path, **keys: object) -> DatasetSpec:
    return DatasetSpec(name="mine", path=str(path), **keys)


def only_mistake(spec: DatasetSpec) -> str:
    (mistake,) = check_dataset(spec)
    return mistake


def test_flat_folder_is_accepted_and_counted(image_folder):
    counts = count_dataset(spec_of(image_folder(per_class=20), domain="pets"))
    assert counts is not None
    assert (counts.train, counts.val, counts.test) == (24, 8, 8)
    assert (counts.classes, counts.total, counts.domain) == (2, 40, "pets")


@pytest.mark.parametrize(
    "names",
    [("train", "val", "test"), ("Training", "validation", "TESTING"), ("TRAIN", "Valid", "Test")],
)
def test_split_folders_in_any_case(image_folder, tmp_path, names):
    for name, per_class in zip(names, (6, 2, 3), strict=True):
        image_folder(tmp_path / "d" / name, per_class=per_class)
    counts = count_dataset(spec_of(tmp_path / "d"))
    assert counts is not None and (counts.train, counts.val, counts.test) == (12, 4, 6)


def test_validation_is_cut_from_train_where_only_test_is_given(image_folder, tmp_path):
    image_folder(tmp_path / "d" / "train", per_class=10)
    image_folder(tmp_path / "d" / "test", per_class=4)
    counts = count_dataset(spec_of(tmp_path / "d", split=SplitSpec(val=0.3)))
    assert counts is not None and (counts.train, counts.val, counts.test) == (14, 6, 8)


def test_train_and_val_only_asks_which_is_meant(image_folder, tmp_path):
    image_folder(tmp_path / "d" / "train")
    image_folder(tmp_path / "d" / "val")
    assert "is val meant as the test split?" in only_mistake(spec_of(tmp_path / "d"))


def test_a_class_only_in_test_is_named(image_folder, tmp_path):
    image_folder(tmp_path / "d" / "train")
    image_folder(tmp_path / "d" / "test", classes=("cat", "dog", "emu"))
    assert "class 'emu' stands in test but not in train" in only_mistake(spec_of(tmp_path / "d"))


def test_every_mistake_comes_at_once(image_folder, tmp_path):
    root = image_folder(classes=("cat", "dog"), per_class=4)
    (root / "empty").mkdir()
    (root / "scans").mkdir()
    (root / "scans" / "a.csv").touch()
    (root / "loose.png").touch()
    text = "\n".join(check_dataset(spec_of(root)))
    assert "class folder 'empty' holds no images" in text
    assert "(1 file of another kind: '.csv')" in text
    assert "image 'loose.png' stands outside any class folder; move it into one" in text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: None, "no such folder"),
        (lambda d: d.write_text("x"), "is a file"),
        (lambda d: d.mkdir(), "holds no images; give one folder per class"),
        (lambda d: [d.mkdir(), (d / "a.png").touch()], "holds 1 image but no class folders"),
    ],
)
def test_places_that_are_no_data_set(tmp_path, make, words):
    make(tmp_path / "d")
    assert words in only_mistake(spec_of(tmp_path / "d"))


def test_one_class_and_tiny_classes_are_refused(image_folder, tmp_path):
    assert "only one class, 'cat'" in only_mistake(
        spec_of(image_folder(tmp_path / "one", classes=("cat",)))
    )
    tiny = image_folder(tmp_path / "tiny", per_class=2)
    assert check_dataset(spec_of(tiny))[0].endswith(
        "class 'cat' has 2 images, but 3 are needed so that every split can hold one"
    )


def test_a_split_name_that_holds_images_is_a_class(image_folder, tmp_path):
    root = image_folder(classes=("car", "train"))
    assert check_dataset(spec_of(root)) == []


def test_splits_beside_classes_and_twins_are_refused(image_folder, tmp_path):
    image_folder(tmp_path / "d" / "train")
    image_folder(tmp_path / "d" / "test")
    image_folder(tmp_path / "d" / "valid")
    image_folder(tmp_path / "d" / "val")
    assert "'val', 'valid' both mean val" in check_dataset(spec_of(tmp_path / "d"))[0]
    (tmp_path / "d" / "extra").mkdir()
    assert "'extra' stands beside them" in only_mistake(spec_of(tmp_path / "d"))


def test_split_with_official_splits_is_refused(image_folder, tmp_path):
    for name in ("train", "val", "test"):
        image_folder(tmp_path / "d" / name)
    assert "remove `split:`" in only_mistake(spec_of(tmp_path / "d", split=SplitSpec()))
    name_only = DatasetSpec(name="cifar10", split=SplitSpec(val=0.1, test=0.1))
    assert "a test split is there already" in only_mistake(name_only)
    assert check_dataset(DatasetSpec(name="cifar10", split=SplitSpec(val=0.1))) == []


def test_hidden_files_are_passed_over(image_folder):
    root = image_folder(per_class=3)
    (root / ".cache").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "cat" / "._000.png").touch()
    counts = count_dataset(spec_of(root))
    assert counts is not None and (counts.classes, counts.total) == (2, 6)


def test_links_inside_count_loops_end_and_links_out_are_refused(image_folder, tmp_path):
    root = image_folder(per_class=3)
    (root / "cat" / "again").symlink_to(root / "cat")
    (root / "cat" / "linked.png").symlink_to(root / "dog" / "000.png")
    counts = count_dataset(spec_of(root))
    assert counts is not None and counts.total == 7
    (tmp_path / "secret.png").touch()
    (root / "dog" / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "dog" / "broken.png").symlink_to(root / "gone.png")
    text = only_mistake(spec_of(root))
    assert "'dog/broken.png', 'dog/out.png' are broken or lead out" in text


def test_unknown_name_gives_nearest_and_the_way_out():
    text = only_mistake(DatasetSpec(name="cifar-10"))
    assert "did you mean 'cifar10'" in text and "give `path:`" in text
    assert "known: '" in only_mistake(DatasetSpec(name="zzz"))
    assert nearest_names("Digit")[0] == "digits"


def test_keys_that_belong_to_a_table_are_refused_elsewhere(image_folder):
    folder = spec_of(image_folder(), columns=ColumnsSpec(), root=".")
    assert "are for tables" in only_mistake(folder)
    named = DatasetSpec(name="digits", group_by="(a)")
    assert only_mistake(named) == "'group_by' needs a `path:`"


def test_group_by_must_match_every_path(image_folder):
    root = image_folder(per_class=3)
    assert "matches no part of 6 paths" in only_mistake(spec_of(root, group_by="patient_([0-9]+)"))
    assert check_dataset(spec_of(root, group_by="(.*)png")) == []


def test_groups_that_straddle_official_splits_are_refused(image_folder, tmp_path):
    image_folder(tmp_path / "d" / "train")
    image_folder(tmp_path / "d" / "test")
    spec = spec_of(tmp_path / "d", group_by="/([0-9]+)[.]png")
    mistake = only_mistake(spec)
    assert "groups '000', '001'" in mistake and "stand in more than one split; keep each" in mistake


@pytest.mark.parametrize("name", dataset_names())
def test_cards_are_complete_and_countable(name):
    card = CARDS[name]
    counts = count_dataset(DatasetSpec(name=name))
    assert counts is not None
    assert (counts.classes, counts.total, counts.domain) == (card.classes, card.total, card.domain)
    assert card.source and card.licence and card.citation


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"name": "dtd", "folds": 5}, "there are splits already"),
        ({"name": "digits", "folds": 5, "split": {"val": 0.1}}, "keep one"),
    ],
)
def test_folds_against_splits(spec, sentence):
    (mistake,) = check_dataset(DatasetSpec.model_validate(spec))
    assert sentence in mistake


def test_a_class_must_reach_every_fold(image_folder):
    root = image_folder(per_class=4)
    spec = DatasetSpec(name="x", path=str(root), folds=5)
    mistakes = check_dataset(spec)
    assert len(mistakes) == 2 and "class 'cat' has 4 images, but 5 are needed" in mistakes[0]
    counts = count_dataset(spec.model_copy(update={"folds": 4}))
    assert counts is not None and (counts.train, counts.val, counts.test) == (4, 2, 2)
