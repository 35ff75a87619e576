"""Predictions for image files, as CSV."""

from __future__ import annotations

import csv
import glob
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cache.groups import cores
from raybench.datasets.walk import walk_images
from raybench.errors import UserInputError
from raybench.trial.classifier import BATCH, Classifier

Tell = Callable[[str], None]


@dataclass
class Predicting:
    """One run over image files, in batches, so that any number fits into memory.

    Args:
        classifier: what predicts.
        tell: hears of every image that is left out.
        top: so many labels with their probabilities; None: every class a column of its own.

    Attributes:
        done, unreadable: images so far.
    """

    classifier: Classifier
    tell: Tell
    top: int | None = None
    done: int = field(default=0, init=False)
    unreadable: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        count = len(self.classifier.classes)
        if self.top is not None and self.top > count:
            raise UserInputError(
                f"--top-k {self.top}: the model knows {count} classes; give at most {count}"
            )

    def header(self) -> list[str]:
        """``path, label, probability``, then the other labels, or ``p(<class>)`` for each class."""
        first = ["path", "label", "probability"]
        if self.top is None:
            return [*first, *(f"p({name})" for name in self.classifier.classes)]
        places = range(2, self.top + 1)
        return first + [f"{word}_{n}" for n in places for word in ("label", "probability")]

    def lines(self, paths: Sequence[Path]) -> Iterator[str]:
        """CSV: a header, then one line per image that can be read, in the order of ``paths``."""
        for number, row in enumerate(self._rows(paths)):
            if number == 0:
                yield _as_csv(self.header())
            yield _as_csv(row)

    def _rows(self, paths: Sequence[Path]) -> Iterator[list[str]]:
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, len(paths), BATCH):
                batch = paths[start : start + BATCH]
                decoded = zip(batch, pool.map(self._read, batch), strict=True)
                found = [(path, pixels) for path, pixels in decoded if pixels is not None]
                if found:
                    values = self.classifier.probabilities([pixels for _, pixels in found])
                    self.done += len(found)
                    yield from map(self._row, (path for path, _ in found), values)

    def _read(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            return self.classifier.read(path)
        except OSError as error:
            self.leave_out(f"'{path}': {error.strerror or error}")
        except ValueError as error:
            self.leave_out(f"'{path}' {error}")
        return None

    def leave_out(self, sentence: str) -> None:
        self.unreadable += 1
        self.tell(sentence)

    def _row(self, path: Path, values: NDArray[np.float32]) -> list[str]:
        classes = self.classifier.classes
        best = np.argsort(-values, kind="stable")[: self.top or 1]
        ranked = [cell for c in best for cell in (classes[c], f"{values[c]:.7g}")]
        every = [] if self.top else [f"{value:.7g}" for value in values]
        return [str(path), *ranked, *every]


def find_images(given: Iterable[str], predicting: Predicting) -> list[Path]:
    """Files as they are named, folders with every image below them, patterns filled in.

    What of a folder cannot be used is told, and counts as unreadable.

    Raises:
        UserInputError: names of nothing, and folders and patterns without an image; all at once.
    """
    found: dict[Path, None] = {}
    mistakes = []
    for name in given:
        paths = _images_of(name, predicting)
        if not paths:
            mistakes.append(_nothing(name))
        found |= dict.fromkeys(paths)
    if mistakes:
        raise UserInputError(mistakes)
    return list(found)


def _images_of(name: str, predicting: Predicting) -> list[Path]:
    place = Path(name).expanduser()
    if place.is_dir():
        walk = walk_images(place, place)
        for sentence in walk.mistakes():
            predicting.leave_out(f"'{name}': {sentence}")
        return [place / image for image in walk.images]
    if place.exists() or not glob.has_magic(name):
        return [place] if place.exists() else []
    matches = sorted(glob.glob(str(place), recursive=True))  # noqa: PTH207 - pathlib takes no absolute one
    return [Path(match) for match in matches if Path(match).is_file()]


def _nothing(name: str) -> str:
    if Path(name).expanduser().is_dir():
        return f"'{name}': no image below this folder"
    if glob.has_magic(name):
        return f"'{name}': no file has such a name"
    return f"'{name}': no such file or folder"


def _as_csv(row: Sequence[str]) -> str:
    """One line, quoted where it has to be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue()
