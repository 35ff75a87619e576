"""The manifest: one digest for images, classes and splits, and words for what has changed."""

from __future__ import annotations

import dataclasses

import pytest

from raybench.datasets.manifest import Manifest, ManifestRow, differences, make_manifest

BEFORE = make_manifest(
    ["b.png", "a.png", "c\n.png"],
    ["22", "11", "33"],
    ["cat", "cat", "dög"],
    ["train", "val", "test"],
)


def changed(index: int, **values: str) -> Manifest:
    rows = list(BEFORE.rows)
    rows[index] = dataclasses.replace(rows[index], **values)
    return Manifest(tuple(rows))


def test_rows_are_sorted_so_that_the_order_of_reading_does_not_matter() -> None:
    again = make_manifest(
        ["c\n.png", "a.png", "b.png"],
        ["33", "11", "22"],
        ["dög", "cat", "cat"],
        ["test", "val", "train"],
    )
    assert again == BEFORE and again.digest == BEFORE.digest


def test_bytes_round_trip() -> None:
    assert Manifest.from_bytes(BEFORE.to_bytes()) == BEFORE


def test_nothing_has_changed() -> None:
    assert differences(BEFORE, BEFORE) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sha256": "99"}, "1 image is changed: 'b.png'"),
        ({"label": "cow"}, "1 image is in another class: 'b.png'"),
        ({"part": "fold 0"}, "1 image is in another split: 'b.png'"),
    ],
)
def test_a_change_is_named_and_changes_the_digest(values: dict[str, str], sentence: str) -> None:
    now = changed(1, **values)
    assert differences(BEFORE, now) == [sentence]
    assert now.digest != BEFORE.digest


def test_images_that_came_and_went() -> None:
    now = Manifest((*BEFORE.rows[1:], ManifestRow("d.png", "44", "cat", "train")))
    assert differences(BEFORE, now) == ["1 image is gone: 'a.png'", "1 image is new: 'd.png'"]


def test_many_are_counted() -> None:
    rows = tuple(ManifestRow(f"{i:02}", "1", "cat", "train") for i in range(30))
    now = Manifest(tuple(dataclasses.replace(row, sha256="2") for row in rows))
    (sentence,) = differences(Manifest(rows), now)
    assert sentence.startswith("30 images are changed: '00', '01'") and "20 more" in sentence
