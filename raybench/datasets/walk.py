"""What lies below a folder: images, and everything that keeps a folder from being used.

Only the standard library.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from raybench.datasets.listing import is_hidden, is_image, is_text, is_unread_picture, worded

# What is said of one name, and of several.
_REFUSED = (
    "link {} is broken or leads out of the folder; copy the file in",
    "links {} are broken or lead out of the folder; copy the files in",
)
_ODD = (
    "{} is no file but a pipe or device; remove it",
    "{} are no files but pipes or devices; remove them",
)
_LOCKED = (
    "folder {} may not be read; check its permissions",
    "folders {} may not be read; check their permissions",
)
_MISNAMED = (
    "file name {} is not UTF-8; rename it",
    "file names {} are not UTF-8; rename them",
)
_UNREAD = (
    "picture {} is of a kind that is not read; convert it to PNG or JPEG",
    "pictures {} are of a kind that is not read; convert them to PNG or JPEG",
)


@dataclass(slots=True)
class Walk:
    """What lies below one folder, as paths relative to ``root``.

    Attributes:
        others: files that are no images. refused: links that are broken or lead out.
        odd: named as images, but pipes, sockets or devices. locked: folders that may not be read.
        misnamed: images whose names are not UTF-8.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)

    def add(self, other: Walk) -> None:
        """Take in what another folder holds."""
        for kind in fields(self):
            getattr(self, kind.name).extend(getattr(other, kind.name))

    def mistakes(self) -> list[str]:
        """What keeps these files from being used, one sentence per kind."""
        unread = [name for name in self.others if is_unread_picture(name)]
        kinds = (
            (self.refused, *_REFUSED),
            (self.odd, *_ODD),
            (self.locked, *_LOCKED),
            (self.misnamed, *_MISNAMED),
            (unread, *_UNREAD),
        )
        return [worded(names, one, many) for names, one, many in kinds if names]


def walk_images(folder: Path, root: Path) -> Walk:
    """Every image below ``folder``, at any depth.

    The rule for links: one that points inside ``root`` counts as what it points to; one that leads
    back to a folder it stands in (a loop) is passed over; one that leaves ``root``, or is broken,
    is refused, since it would make the data depend on files that nobody listed.
    """
    found = Walk()
    real_root = os.path.realpath(root)
    if not _stays_inside(str(folder), real_root):
        return Walk(refused=[_relative(str(folder), root)])

    def visit(current: Path, inside: frozenset[str]) -> None:
        try:
            with os.scandir(current) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            found.locked.append(_relative(str(current), root))
            return
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if entry.is_symlink() and not _stays_inside(entry.path, real_root):
                found.refused.append(_relative(entry.path, root))
            elif entry.is_dir():
                real = os.path.realpath(entry.path)
                if real not in inside:
                    visit(Path(entry.path), inside | {real})
            else:
                _file_kind(found, entry).append(_relative(entry.path, root))

    visit(folder, frozenset({real_root, os.path.realpath(folder)}))
    return found


def _file_kind(found: Walk, entry: os.DirEntry[str]) -> list[str]:
    """The list that a file (or pipe, or device) belongs to."""
    if not is_image(entry.name):
        return found.others
    if not entry.is_file():  # reading a pipe would wait for ever
        return found.odd
    return found.images if is_text(entry.path) else found.misnamed


def _stays_inside(path: str, real_root: str) -> bool:
    real = os.path.realpath(path)
    # os.path, because pathlib raises where a folder on the way may not be entered
    return os.path.exists(real) and os.path.commonpath([real, real_root]) == real_root  # noqa: PTH110


def _relative(path: str, root: Path) -> str:
    # A string: pathlib takes as long to say so for a picture as SHA-256 to read it.
    return path.removeprefix(os.path.join(root, ""))  # noqa: PTH118
