"""A user's images as a list of values, before anything is decoded. Only the standard library."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from raybench.datasets.cards import Split

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .tif .tiff .webp .ppm .pgm .pbm .pnm "
    ".jp2 .j2k .tga .avif".split()
)
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Pictures that Pillow does not read, or not as a person would see them.
UNREAD_SUFFIXES = frozenset(
    ".heic .heif .jxl .svg .psd .eps .pdf .dcm .nii .dng .cr2 .cr3 .nef .arw .raf .orf .rw2".split()
)
MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image file: ``id`` is its path relative to the root, with forward slashes."""

    id: str
    path: str
    label: str
    split: Split | None = None
    group: str | None = None


@dataclass(slots=True)
class Listing:
    """All images of a data set, sorted by id, and every mistake found on the way."""

    images: list[ListedImage] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


def some(names: Iterable[str]) -> str:
    """``'a', 'b' and 3 more``: enough to act on, short enough to read."""
    listed = list(names)
    shown = ", ".join(f"'{printable(name)}'" for name in listed[:MAX_NAMED])
    rest = len(listed) - MAX_NAMED
    return f"{shown} and {rest} more" if rest > 0 else shown


def plural(count: int, one: str, many: str = "") -> str:
    """``1 image``, ``2,000 images``; ``many`` where an s is not enough."""
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"


def worded(names: Sequence[str], one: str, many: str) -> str:
    """``one`` about a single name, else ``many``, with the names in place of ``{}``."""
    return (one if len(names) == 1 else many).format(some(names))


def printable(name: str) -> str:
    """``name`` on one line, fit for any terminal: newlines and bytes outside UTF-8 as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: others can neither be stored nor printed faithfully."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Classes in the order of their indices: numbers by value (2 before 10), else by name."""
    unique = set(names)
    if all(re.fullmatch(r"-?\d{1,18}", name) for name in unique):
        return tuple(sorted(unique, key=lambda name: (int(name), name)))
    return tuple(sorted(unique))


def is_hidden(name: str) -> bool:
    """Dot files and the folder that macOS puts into archives are nobody's class."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    """Whether the file name ends as an image that Pillow reads; dots at its end do not count."""
    return _suffix(name) in IMAGE_SUFFIXES


def is_unread_picture(name: str) -> bool:
    """Whether the file name ends as a picture of a kind that is not read."""
    return _suffix(name) in UNREAD_SUFFIXES


def _suffix(name: str) -> str:
    _, dot, end = name.rstrip(". ").rpartition(".")
    return dot + end.lower()


def group_images(images: Sequence[ListedImage], pattern: str) -> Listing:
    """The same images with ``group`` taken from their ids by ``pattern``'s only group."""
    compiled = re.compile(pattern)
    matches = [compiled.search(image.id) for image in images]
    missed = [image.id for image, match in zip(images, matches, strict=True) if match is None]
    if missed:
        return Listing(
            list(images),
            [
                f"group_by '{pattern}' matches no part of {plural(len(missed), 'path')}: "
                f"{some(missed)}"
            ],
        )
    return Listing(
        [
            ListedImage(image.id, image.path, image.label, image.split, match[1])
            for image, match in zip(images, matches, strict=True)
            if match is not None
        ]
    )


def split_mistakes(images: Sequence[ListedImage]) -> list[str]:
    """What is wrong with the classes and official splits of ``images``, one sentence each."""
    classes = Counter(image.label for image in images)
    mistakes = []
    if len(classes) == 1:
        mistakes.append(f"holds only one class, '{next(iter(classes))}'; give at least two")
    splits = {image.split for image in images}
    if splits == {None}:
        return mistakes
    mistakes += _missing_split(splits)
    if "train" in splits:
        trained = {image.label for image in images if image.split == "train"}
        for split in ("val", "test"):
            extra = {image.label for image in images if image.split == split} - trained
            if extra:
                mistakes.append(_untrained(sorted(extra), split))
    return mistakes + _straddling(images)


def _untrained(classes: Sequence[str], split: str) -> str:
    stands = worded(classes, "class {} stands", "classes {} stand")
    move = worded(
        classes,
        "move some of its images to train, or remove it",
        "move some of their images to train, or remove them",
    )
    return f"{stands} in {split} but not in train; {move}"


def _missing_split(splits: set[Split | None]) -> list[str]:
    if None in splits:
        return ["some images have a split and others none; give each one, or none at all"]
    if "train" not in splits:
        return ["has no train split; add one, or pool all images without splits"]
    if splits == {"train", "val"}:
        return [
            "has train and val but no test: is val meant as the test split? Then name it 'test' "
            "(validation is cut from train); else pool both into one, or add a test split"
        ]
    if splits == {"train"}:
        return ["has only a train split; give its content without a split, or add a test split"]
    return []


def _straddling(images: Sequence[ListedImage]) -> list[str]:
    places: dict[str, set[str]] = {}
    for image in images:
        if image.group is not None and image.split is not None:
            places.setdefault(image.group, set()).add(image.split)
    torn = sorted(group for group, splits in places.items() if len(splits) > 1)
    if not torn:
        return []
    return [
        worded(
            torn,
            "group {} stands in more than one split; keep it in one",
            "groups {} stand in more than one split; keep each of them in one",
        )
    ]
