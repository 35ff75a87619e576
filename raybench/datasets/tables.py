"""CSV and Parquet tables of images: one row per image, its path and its label in two columns.

``file_name`` and ``label`` (Hugging Face's names) are the default columns. Paths are relative to
``root``, by default the table's folder; a path without a suffix (``ISIC_0027419``) is completed by
the image suffix that exists there.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from raybench.datasets.cards import Split
from raybench.datasets.listing import (
    IMAGE_SUFFIXES,
    MAX_NAMED,
    SPLIT_NAMES,
    ListedImage,
    Listing,
    group_images,
    plural,
    some,
    split_mistakes,
    worded,
)
from raybench.spec import ColumnsSpec

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})
_MULTI_LABEL_MARKS = ("|", ";")

Columns = Mapping[str, Sequence[object]]


def is_table(path: Path) -> bool:
    """Whether ``path`` names a table rather than a folder of class folders."""
    return path.suffix.lower() in TABLE_SUFFIXES


def list_table(
    table: Path, columns: ColumnsSpec, root: Path | None = None, group_by: str | None = None
) -> Listing:
    """Every row of ``table`` as an image, and every mistake in it at once."""
    if not table.is_file():
        return Listing(mistakes=[f"{table}: no such table; paths are relative to the sweep file"])
    data, problem = _read_columns(table)
    if problem:
        return Listing(mistakes=[f"{table}: {problem}"])
    wanted = [columns.path, columns.label, columns.group, columns.split]
    missing = [name for name in wanted if name is not None and name not in data]
    if missing:
        words = worded(missing, "has no column {}", "has no columns {}")
        return Listing(
            mistakes=[
                f"{table}: {words}; it has {some(sorted(data))}. "
                "Say under `columns:` which holds path, label, group and split"
            ]
        )
    listing = _list_rows(data, columns, root or table.parent)
    if group_by is not None and columns.group is None and listing.images:
        grouped = group_images(listing.images, group_by)
        listing = Listing(grouped.images, listing.mistakes + grouped.mistakes)
    if not listing.mistakes:
        listing.mistakes += split_mistakes(listing.images)
    listing.mistakes = [f"{table}: {mistake}" for mistake in listing.mistakes]
    return listing


def _read_columns(table: Path) -> tuple[Columns, str]:
    """Columns by name, or one sentence why the table cannot be read."""
    try:
        if table.suffix.lower() == ".parquet":
            import pandas as pd

            frame = pd.read_parquet(table)
            return {str(name): frame[name].tolist() for name in frame.columns}, ""
        with table.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
            rows = list(csv.reader(file, delimiter=delimiter))
    except (OSError, ValueError, csv.Error) as error:
        return {}, f"cannot be read: {error}"
    return _columns_of_rows([row for row in rows if row])


def _columns_of_rows(rows: list[list[str]]) -> tuple[Columns, str]:
    if not rows:
        return {}, "is empty; its first row must name the columns"
    header = rows[0]
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        return {}, worded(repeated, "names column {} twice", "names columns {} twice")
    ragged = [i for i, row in enumerate(rows[1:], 2) if len(row) != len(header)]
    if ragged:
        verb = "has" if len(ragged) == 1 else "have"
        fields = plural(len(header), "field")
        return {}, f"{_rows(ragged)} {verb} not the {fields} that the header names"
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(header)}, ""


def _rows(numbers: Sequence[int]) -> str:
    """``row 3``; ``rows 3, 4, 7``; long lists cut, as ``some`` does."""
    shown = ", ".join(str(number) for number in numbers[:MAX_NAMED])
    rest = len(numbers) - MAX_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"row{'s' * (len(numbers) > 1)} {shown}{more}"


def _text(value: object) -> str:
    """A cell as text: empty for a missing one, ``3`` for the 3.0 that a gap makes of 3."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _list_rows(data: Columns, columns: ColumnsSpec, root: Path) -> Listing:
    """The rows that can be used, and what is wrong with the others."""
    paths = [_text(value) for value in data[columns.path]]
    if not paths:
        return Listing(mistakes=["holds no rows below its header"])
    labels, mistakes = _labels(data[columns.label], columns.label)
    splits, split_errors = _splits(data[columns.split] if columns.split else None, len(paths))
    groups: list[str | None] = [None] * len(paths)
    if columns.group is not None:
        groups = [_text(value) for value in data[columns.group]]
        mistakes += _empty_rows(groups, columns.group)
    files, path_errors = _files(paths, columns.path, root)
    mistakes += split_errors + path_errors
    images = [
        ListedImage(name, str(root / name), label, split, group)
        for name, label, split, group in zip(files, labels, splits, groups, strict=True)
        if name is not None and label and group != ""
    ]
    return Listing(sorted(images, key=lambda image: image.id), mistakes)


def _empty_rows(values: Sequence[str | None], column: str) -> list[str]:
    rows = [row for row, value in enumerate(values, 2) if not value]
    return [f"column '{column}' is empty in {_rows(rows)}"] if rows else []


def _labels(values: Sequence[object], column: str) -> tuple[list[str], list[str]]:
    """Labels as text, and mistakes; several in one cell are refused: each image has one class."""
    several = [
        row
        for row, value in enumerate(values, 2)
        if (not isinstance(value, str) and hasattr(value, "__len__"))
        or (isinstance(value, str) and any(mark in value for mark in _MULTI_LABEL_MARKS))
    ]
    if several:
        return [""] * len(values), [
            f"column '{column}' holds several labels in {_rows(several)}: multi-label data is "
            "not supported; give each image one class"
        ]
    labels = [_text(value) for value in values]
    return labels, _empty_rows(labels, column)


def _splits(values: Sequence[object] | None, rows: int) -> tuple[list[Split | None], list[str]]:
    if values is None:
        return [None] * rows, []
    texts = [_text(value) for value in values]
    unknown = sorted({text for text in texts if text.lower() not in SPLIT_NAMES})
    words = worded(
        unknown, "split {} is not train, val or test", "splits {} are not train, val or test"
    )
    return [SPLIT_NAMES.get(text.lower()) for text in texts], [words] if unknown else []


def _files(paths: list[str], column: str, root: Path) -> tuple[list[str | None], list[str]]:
    """Per row the path relative to ``root``, completed by a suffix where it lacks one; mistakes.

    None where there is no file to be used, and from an image's second row on.
    """
    real_root = os.path.realpath(root)
    files: list[str | None] = []
    missing, outside, counts = [], [], Counter[str]()
    for name in paths:
        files.append(None)
        if not name:
            continue
        file = "" if "\0" in name else _completed(root, name)
        real = os.path.realpath(root / file)
        if os.path.commonpath([real, real_root]) != real_root:
            outside.append(name)
        elif not _is_file(real):
            missing.append(name)
        else:
            known = Path(os.path.relpath(root / file, root)).as_posix()
            counts[known] += 1
            if counts[known] == 1:
                files[-1] = known
    twice = sorted(name for name, count in counts.items() if count > 1)
    return files, _empty_rows(paths, column) + _file_mistakes(missing, outside, twice, root)


def _file_mistakes(
    missing: list[str], outside: list[str], twice: list[str], root: Path
) -> list[str]:
    mistakes = []
    if missing:
        images = plural(len(missing), "image is", "images are")
        mistakes.append(f"{images} not in {root}: {some(missing)}")
    if outside:
        path = worded(outside, "path {} leads", "paths {} lead")
        them = "it" if len(outside) == 1 else "them"
        mistakes.append(f"{path} out of {root}; give `root:` or copy {them} in")
    if twice:
        mistakes.append(
            worded(twice, "image {} stands", "images {} stand") + " in more than one row"
        )
    return mistakes


def _is_file(path: str | Path) -> bool:
    # os.path, because pathlib raises on names that are too long and folders one may not enter
    return os.path.isfile(path)  # noqa: PTH113


def _completed(root: Path, name: str) -> str:
    if Path(name).suffix.lower() in IMAGE_SUFFIXES or _is_file(root / name):
        return name
    for suffix in sorted(IMAGE_SUFFIXES):
        if _is_file(root / f"{name}{suffix}"):
            return f"{name}{suffix}"
    return name
