"""Folders of class folders, flat or under train/val/test. Only the standard library.

A split folder holds class folders; a class folder holds images (at any depth). Names of split
folders count in any case: train/training, val/valid/validation, test/testing. Hidden files and
folders are passed over; for links see ``walk.walk_images``.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path, PurePosixPath

from raybench.datasets.cards import Split
from raybench.datasets.listing import (
    SPLIT_NAMES,
    ListedImage,
    Listing,
    group_images,
    is_hidden,
    is_image,
    plural,
    some,
    split_mistakes,
    worded,
)
from raybench.datasets.walk import Walk, walk_images

_LOOSE = (
    "image {} stands outside any class folder; move it into one, or remove it",
    "images {} stand outside any class folder; move them into one, or remove them",
)


def list_folder(root: Path, group_by: str | None = None) -> Listing:
    """Every image below ``root`` with class and split, and every mistake of its layout.

    Returns no images where the layout itself cannot be understood.
    """
    mistakes = _place_mistakes(root)
    if mistakes:
        return Listing(mistakes=mistakes)
    listing = Listing()
    try:
        for split, folder in _split_folders(root, listing.mistakes):
            _add_classes(listing, root, folder, split)
    except OSError as error:
        return Listing(mistakes=[f"{root}: cannot be read: {error}"])
    if listing.mistakes and not listing.images:
        return listing
    listing.images.sort(key=lambda image: image.id)
    if group_by is not None:
        grouped = group_images(listing.images, group_by)
        listing = Listing(grouped.images, listing.mistakes + grouped.mistakes)
    if not listing.mistakes:
        listing.mistakes += [f"{root}: {mistake}" for mistake in split_mistakes(listing.images)]
    return listing


def _place_mistakes(root: Path) -> list[str]:
    if not root.exists():
        return [f"{root}: no such folder; paths are relative to the sweep file"]
    if not root.is_dir():
        return [f"{root}: is a file, neither a folder of class folders nor a .csv/.parquet table"]
    if not os.access(root, os.R_OK | os.X_OK):
        return [f"{root}: may not be read; check its permissions"]
    return []


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _split_folders(root: Path, mistakes: list[str]) -> list[tuple[Split | None, Path]]:
    """The folders that hold class folders: the split folders, or ``root`` itself.

    A folder named like a split that holds no folders is a class (a ``train`` among vehicles).
    """
    folders = _subfolders(root)
    named = [f for f in folders if f.name.lower() in SPLIT_NAMES and _subfolders(f)]
    if not named:
        return [(None, root)]
    others = [f.name for f in folders if f not in named]
    if others:
        looks = worded([f.name for f in named], "{} looks like a split", "{} look like splits")
        stands = worded(others, "{} stands", "{} stand")
        them = "it" if len(named) == 1 else "them"
        mistakes.append(
            f"{root}: {looks}, but {stands} beside {them}; give either split folders or class "
            "folders"
        )
        return []
    splits = [(SPLIT_NAMES[f.name.lower()], f) for f in named]
    for split, count in Counter(split for split, _ in splits).items():
        if count > 1:
            twins = [f.name for other, f in splits if other == split]
            all_of_them = "both" if count == 2 else "all"
            mistakes.append(f"{root}: {some(twins)} {all_of_them} mean {split}; keep one")
    return list(splits)


def _add_classes(listing: Listing, root: Path, folder: Path, split: Split | None) -> None:
    """Append the images of every class folder of ``folder``, and what is wrong with them."""
    classes = _subfolders(folder)
    if not classes:
        loose = sum(is_image(path.name) for path in folder.iterdir())
        seen = f"{plural(loose, 'image')} but no class folders" if loose else "no images"
        listing.mistakes.append(f"{folder}: holds {seen}; give one folder per class")
    loose_names = sorted(p.name for p in folder.iterdir() if p.is_file() and is_image(p.name))
    if classes and loose_names:
        words = worded(loose_names, *_LOOSE)
        listing.mistakes.append(f"{folder}: {words}")
    found = Walk()
    for class_folder in classes:
        walk = walk_images(class_folder, root)
        found.add(walk)
        if not walk.images and not walk.mistakes():
            listing.mistakes.append(_empty_class(class_folder, walk.others))
        listing.images += [
            ListedImage(image, os.path.join(root, image), class_folder.name, split)  # noqa: PTH118
            for image in walk.images
        ]
    listing.mistakes += [f"{root}: {mistake}" for mistake in found.mistakes()]


def _empty_class(folder: Path, others: list[str]) -> str:
    suffixes = sorted({PurePosixPath(name).suffix or "none" for name in others})
    kinds = plural(len(others), "file of another kind", "files of other kinds")
    hint = f" ({kinds}: {some(suffixes)})" if others else ""
    return f"{folder}: class folder '{folder.name}' holds no images{hint}; fill or remove it"
