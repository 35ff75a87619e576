"""Leaks from what the cache keeps: across splits, within one, groups, published or not."""

from __future__ import annotations

import numpy as np
import pytest

from raybench.datasets.audit.findings import Finding
from raybench.datasets.audit.leaks import leaks_of
from raybench.datasets.audit.perceptual import perceptual_hash
from tests.datasets.audit.pictures import cropped, resaved, scene

SIDE = 64


def found(images, splits, groups=None, labels=None, published=False, sha256=None, sizes=None):
    """``leaks_of`` on pictures, as the cache would keep them; ids are their numbers."""
    count = len(images)
    findings = leaks_of(
        sha256=sha256 or [f"file {number}" for number in range(count)],
        phash=np.array([perceptual_hash(image) for image in images], dtype=np.uint64),
        images=np.stack([np.asarray(image.resize((SIDE, SIDE))) for image in images]),
        splits={name: np.array(indices) for name, indices in splits.items()},
        groups=groups or [None] * count,
        ids=[str(number) for number in range(count)],
        labels=np.array(labels or [0] * count),
        sizes=np.array(sizes or [image.size for image in images], dtype=np.int32),
        published=published,
    )
    return {finding.kind: finding for finding in findings}


def test_distinct_pictures_give_nothing():
    images = [scene(seed) for seed in range(12)]
    assert found(images, {"train": range(6), "val": range(6, 9), "test": range(9, 12)}) == {}


def test_equal_files_across_splits_are_a_leak():
    images = [scene(0), scene(1), scene(0)]
    result = found(images, {"train": [0, 1], "test": [2]}, sha256=["a", "b", "a"])
    leak = result.pop("exact_across_splits")
    assert (leak.severity, leak.count, leak.sets) == ("leak", 1, (("2", "0"),))
    assert "1 picture with the same pixels stands" in leak.sentence
    assert "train and test: 1" in leak.sentence and "--accept-leaks" in leak.sentence
    assert result == {}


def test_equal_pixels_in_other_files_are_the_same_picture():
    result = found([scene(0), scene(1), scene(0)], {"train": [0, 1], "val": [2]})
    assert list(result) == ["exact_across_splits"]


@pytest.mark.parametrize("change", [resaved, cropped])
def test_look_alikes_across_splits_are_a_leak(change):
    images = [scene(0), scene(1), change(scene(0))]
    result = found(images, {"train": [0, 1], "val": [2]})
    leak = result.pop("near_across_splits")
    assert (leak.severity, leak.count, leak.sets) == ("leak", 1, (("2", "0"),))
    assert "look" in leak.sentence and "train and val: 1" in leak.sentence and result == {}


def test_within_a_split_it_is_no_leak():
    images = [scene(0), scene(0), scene(1), resaved(scene(1)), scene(2)]
    result = found(images, {"train": range(4), "test": [4]})
    severities = {kind: finding.severity for kind, finding in result.items()}
    assert severities == {"exact_within_split": "warning", "near_within_split": "info"}


def test_what_stands_in_no_split_leaks_nothing():
    assert "near_across_splits" not in found([scene(0), resaved(scene(0))], {"train": [0]})


def test_a_published_set_is_marked_and_not_refused():
    images = [scene(0), scene(0), scene(1), resaved(scene(1))]
    result = found(images, {"train": [0, 2], "test": [1, 3]}, published=True)
    assert {f.severity for f in result.values()} == {"warning"}
    assert set(result) == {"exact_across_splits", "near_across_splits"}
    assert all("not refused" in f.sentence for f in result.values())


def test_a_copy_of_a_copy_across_splits_is_found():
    """0 and 1 are equal files in train; 2, in test, only looks like them."""
    images = [scene(0), scene(0), resaved(scene(0))]
    result = found(images, {"train": [0, 1], "test": [2]})
    assert result["near_across_splits"].sets == (("2", "0", "1"),)


def test_a_third_copy_in_a_third_split_is_told_as_well():
    images = [scene(0), scene(0), resaved(scene(0))]
    result = found(images, {"train": [0], "test": [1], "val": [2]})
    assert result["exact_across_splits"].sets == (("1", "0"),)
    assert result["near_across_splits"].sets == (("1", "2", "0"),)


def test_leaks_into_test_come_first():
    images = [scene(0), scene(1), scene(2), resaved(scene(0)), resaved(scene(1)), resaved(scene(2))]
    leak = found(images, {"train": [0, 1, 2], "val": [3, 5], "test": [4]})["near_across_splits"]
    assert leak.sets == (("4", "1"), ("3", "0"), ("5", "2"))
    assert "train and val: 2, train and test: 1" in leak.sentence


def test_different_classes_of_one_picture():
    images = [scene(0), scene(0), scene(1), resaved(scene(1))]
    result = found(images, {"train": range(4)}, labels=[0, 1, 0, 1])
    assert result["label_conflict"].sets == (("0", "1"),)
    assert result["near_label_conflict"].sets == (("2", "3"),)
    assert {result[kind].severity for kind in ("label_conflict", "near_label_conflict")} == {
        "warning"
    }


def test_groups_across_splits():
    images = [scene(seed) for seed in range(5)]
    groups = ["ann", "ann", "bob", "bob", None]
    splits = {"train": [0, 2, 3], "test": [1, 4]}
    leak = found(images, splits, groups)["group_across_splits"]
    assert (leak.severity, leak.sets) == ("leak", (("1", "0"),)) and "'ann'" in leak.sentence
    marked = found(images, splits, groups, published=True)["group_across_splits"]
    assert marked.severity == "warning"
    assert found(images, {"train": [0, 1], "test": [2, 3, 4]}, groups) == {}


def test_small_pictures_are_compared_exactly_only():
    images = [scene(0), resaved(scene(0)), scene(1), scene(1)]
    small = [(28, 28)] * 4
    result = found(images, {"train": [0, 2], "test": [1, 3]}, sizes=small)
    assert list(result) == ["exact_across_splits"]


def test_folds_count_as_splits():
    leak = found([scene(0), resaved(scene(0))], {"fold 1": [0], "fold 2": [1]})
    assert "fold 1 and fold 2: 1" in leak["near_across_splits"].sentence


def test_flat_pictures_are_alike_only_when_equal():
    from PIL import Image

    levels = [Image.new("RGB", (SIDE, SIDE), (level,) * 3) for level in (0, 10, 200, 200)]
    result = found(levels, {"train": [0, 2], "test": [1, 3]})
    assert list(result) == ["exact_across_splits"]
    assert result["exact_across_splits"].sets == (("3", "2"),)


def test_flat_pictures_do_not_use_up_the_search(monkeypatch):
    from PIL import Image

    monkeypatch.setattr("raybench.datasets.audit.likeness._MAX_CANDIDATES", 5)
    flat = [Image.new("RGB", (SIDE, SIDE), (10 * level,) * 3) for level in range(10)]
    images = [*flat, scene(0), resaved(scene(0))]
    leak = found(images, {"train": range(11), "test": [11]})["near_across_splits"]
    assert leak.count == 1 and "at least" not in leak.sentence


def test_only_candidates_are_read_from_the_map():
    class Watched:
        shape = (6, SIDE, SIDE, 3)

        def __init__(self, images):
            self.images, self.read = images, set()

        def __getitem__(self, index):
            self.read.add(int(index))
            return self.images[index]

        def __len__(self):
            return len(self.images)

    pictures = [*(scene(seed) for seed in range(5)), resaved(scene(2))]
    watched = Watched(np.stack([np.asarray(p.resize((SIDE, SIDE))) for p in pictures]))
    findings = leaks_of(
        [str(n) for n in range(6)],
        np.array([perceptual_hash(p) for p in pictures], dtype=np.uint64),
        watched,  # type: ignore[arg-type]
        {"train": np.arange(5), "test": np.array([5])},
        [None] * 6,
        [str(n) for n in range(6)],
        np.zeros(6, np.int64),
        np.full((6, 2), SIDE, np.int32),
        False,
    )
    assert [f.kind for f in findings] == ["near_across_splits"] and watched.read == {2, 5}


def test_findings_as_json():
    finding = Finding("kind", "leak", "words", 3, (("a", "b"), ("b", "c")))
    assert finding.images == ("a", "b", "c")
    assert finding.as_json() == {
        "kind": "kind",
        "severity": "leak",
        "sentence": "words",
        "count": 3,
        "sets": [["a", "b"], ["b", "c"]],
    }
