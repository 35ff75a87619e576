"""Folders as they come: odd names, links, pipes, and what may not be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raybench.datasets import check_dataset
from raybench.datasets.folders import list_images
from raybench.datasets.listing import is_image, plural, printable, some, worded
from raybench.datasets.sources.open import fingerprint, open_source
from raybench.spec import DatasetSpec

ODD_NAMES = (
    "with space.png",
    "a 'quoted' \"name\".png",
    "new\nline.png",
    "tab\there.png",
    "Übergröße.png",
    "写真.png",
    "снимок.png",
    "🩻.png",
    "dots.png...",
    "Case.png",
    "case.PNG",
    "-rf.png",
    "%s{0}.png",
    "cafe\u0301.png",
    "caf\u00e9.png",
)


def spec_of(path: Path) -> DatasetSpec:
    return DatasetSpec(name="mine", path=str(path))


@pytest.fixture
def folder(image_folder, tmp_path) -> Path:
    root: Path = image_folder(tmp_path / "data", per_class=3)
    return root


def test_odd_names_of_files_and_classes_are_read_like_others(folder):
    picture = (folder / "cat" / "000.png").read_bytes()
    for name in ODD_NAMES:
        (folder / "cat" / name).write_bytes(picture)
    for name in ("line\nbreak", "写真", "Cat", " ends in dot."):
        (folder / name).mkdir()
        for number in range(3):
            (folder / name / f"{number}.png").write_bytes(picture)
    assert check_dataset(spec_of(folder)) == []
    facts, images = fingerprint(spec_of(folder))
    source = open_source(spec_of(folder), images, Path())
    ids = {sample.id for sample in source.samples}
    assert {f"cat/{name}" for name in ODD_NAMES} <= ids and len(ids) == 6 + len(ODD_NAMES) + 12
    assert {"Cat", "cat", "写真", "line\nbreak"} <= set(source.classes) and len(facts) == len(ids)
    assert all(sample.read() for sample in source.samples)


def test_messages_stay_on_one_line_and_can_be_printed():
    text = some(["new\nline", "写真", "\udcff", "\x1b[31m"])
    assert text == r"'new\nline', '写真', '\udcff', '\x1b[31m'"
    assert printable("plain 🩻") == "plain 🩻"


def test_one_is_spoken_of_as_one():
    assert (plural(1, "image"), plural(2000, "image")) == ("1 image", "2,000 images")
    words = ("class {} is grey", "classes {} are grey")
    assert worded(["{a}"], *words) == "class '{a}' is grey"
    assert worded(["a", "b"], *words) == "classes 'a', 'b' are grey"


def test_names_that_are_no_utf8_are_refused_in_words_that_can_be_printed(folder):
    os.close(os.open(os.fsencode(folder / "cat") + b"/\xff\xfe.png", os.O_CREAT))
    (mistake,) = check_dataset(spec_of(folder))
    assert r"file name 'cat/\udcff\udcfe.png' is not UTF-8; rename it" in mistake
    mistake.encode()


def test_a_class_folder_whose_name_is_no_utf8_is_refused(folder):
    os.mkdir(os.fsencode(folder) + b"/\xff")  # noqa: PTH102
    os.close(os.open(os.fsencode(folder) + b"/\xff/a.png", os.O_CREAT))
    (mistake,) = check_dataset(spec_of(folder))
    assert r"'\udcff/a.png' is not UTF-8" in mistake


def test_a_pipe_named_like_an_image_is_refused_and_never_opened(folder):
    os.mkfifo(folder / "cat" / "pipe.jpg")
    (folder / "dog" / "link.jpg").symlink_to(folder / "cat" / "pipe.jpg")
    (mistake,) = check_dataset(spec_of(folder))
    assert "'cat/pipe.jpg', 'dog/link.jpg' are no files but pipes or devices" in mistake


def test_pictures_of_other_kinds_are_not_passed_over_in_silence(folder):
    for name in ("IMG_1.HEIC", "scan.dcm", "drawing.svg"):
        (folder / "cat" / name).touch()
    (folder / "cat" / "notes.txt").touch()
    (mistake,) = check_dataset(spec_of(folder))
    assert "'cat/IMG_1.HEIC', 'cat/drawing.svg', 'cat/scan.dcm' are of a kind" in mistake


def test_links_that_lead_out_are_refused_whatever_they_name(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").touch()
    (folder / "emu").symlink_to(outside)
    (folder / "cat" / "more").symlink_to(outside)
    (folder / "dog" / "a.png").symlink_to(outside / "a.png")
    text = "\n".join(check_dataset(spec_of(folder)))
    assert "'cat/more', 'dog/a.png', 'emu' are broken or lead out of the folder" in text


def test_a_split_folder_that_is_a_link_out_is_refused(image_folder, tmp_path):
    image_folder(tmp_path / "d" / "train")
    image_folder(tmp_path / "elsewhere")
    (tmp_path / "d" / "test").symlink_to(tmp_path / "elsewhere")
    text = "\n".join(check_dataset(spec_of(tmp_path / "d")))
    assert "'test/cat', 'test/dog' are broken or lead out" in text


def test_loops_of_links_end(folder):
    (folder / "cat" / "up").symlink_to(folder)
    (folder / "dog" / "self").symlink_to(folder / "dog" / "self")
    listing = list_images(spec_of(folder))
    assert (
        "link 'dog/self' is broken or leads out of the folder; copy the file in"
        in listing.mistakes[0]
    )
    assert len([i for i in listing.images if i.label == "dog"]) == 3


def test_the_data_folder_may_itself_be_a_link(folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    assert check_dataset(spec_of(tmp_path / "alias")) == []


def test_folders_that_may_not_be_read_are_named(folder, monkeypatch):
    """Rights are taken away by hand: tests may run as root, who may read anything."""
    scan = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "cat":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    (mistake,) = check_dataset(spec_of(folder))
    assert "folder 'cat' may not be read; check its permissions" in mistake


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_files_that_may_not_be_read_fail_when_read(folder):
    (folder / "cat" / "000.png").chmod(0)
    _, images = fingerprint(spec_of(folder))
    source = open_source(spec_of(folder), images, Path())
    with pytest.raises(PermissionError):
        source.samples[0].read()


@pytest.mark.parametrize(
    ("name", "yes"),
    [("a.JPG", True), ("a.png.", True), ("a.png . ", True), ("png", False), ("a.txt", False)],
)
def test_image_names(name, yes):
    assert is_image(name) == yes


def test_tables_refuse_names_that_no_file_can_have(folder, tmp_path):
    table = tmp_path / "t.csv"
    os.mkfifo(folder / "cat" / "pipe.png")
    names = ["data/cat/000.png", "data/dog/000.png", "x" * 5000, "a\0b.png", "data/cat/pipe.png"]
    rows = [f'"{name}",{"cat" if i % 2 else "dog"}' for i, name in enumerate(names)]
    table.write_text("\n".join(["file_name,label", *rows]))
    (mistake,) = check_dataset(spec_of(table))
    assert "3 images are not in" in mistake and "pipe.png" in mistake
