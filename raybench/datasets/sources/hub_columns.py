"""Which columns and splits of a hub data set are the images, their classes and their roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from raybench.datasets.cards.card import Split
from raybench.datasets.decode import read_picture
from raybench.datasets.listing import SPLIT_NAMES, class_order, some
from raybench.datasets.sources.samples import Content, Sample, Source
from raybench.errors import DataError
from raybench.spec import ColumnsSpec, DatasetSpec

Tables = Mapping[str, Any]  # split name -> datasets.Dataset
_Labels = Mapping[str, Sequence[str | None]]
_Roles = dict[str, Split | None]


def hub_samples(tables: Tables, spec: DatasetSpec, tell: Callable[[str], None]) -> Source:
    """The samples of all splits, read lazily from the library's files.

    Only train: one pool. Only train and validation (or a test split whose labels are kept back):
    the validation split is the test split, and validation is cut from train.

    Raises:
        DataError: every mistake of columns, labels and splits.
    """
    features = next(iter(tables.values())).features
    image, label, group = _columns(features, spec.columns)
    labels = {split: _texts(table, label) for split, table in tables.items()}
    roles = _roles(labels, spec, tell)
    mistakes = [
        f"{spec.source}: {texts.count(None)} images of split '{split}' have no label in '{label}'"
        for split, texts in labels.items()
        if split in roles and None in texts
    ]
    if mistakes:
        raise DataError(mistakes)
    classes = _classes(features[label], [labels[split] for split in roles])
    index = {name: i for i, name in enumerate(classes)}
    samples: list[Sample] = []
    for split, role in roles.items():
        table = _encoded(tables[split], image)
        groups = [None] * len(table) if group is None else [str(g) for g in table[group]]
        samples += [
            Sample(
                f"{split}/{row:07d}", partial(_read, table, image, row), index[text], role, owner
            )
            for row, (text, owner) in enumerate(zip(labels[split], groups, strict=True))
            if text is not None
        ]
    return Source(classes, tuple(sorted(samples, key=lambda sample: sample.id)))


def _columns(features: Any, columns: ColumnsSpec | None) -> tuple[str, str, str | None]:
    """Names of the image, label and group columns: given, or the only ones of their kind."""
    given = columns.model_dump(include=columns.model_fields_set) if columns else {}
    mistakes: list[str] = []
    missing = [name for name in given.values() if name is not None and name not in features]
    if missing:
        mistakes.append(f"has no column {some(missing)}; it has {some(sorted(features))}")
    found = []
    for key, kind in (("path", "Image"), ("label", "ClassLabel")):
        named = [name for name, feature in features.items() if type(feature).__name__ == kind]
        if key in given:
            found.append(given[key])
        elif len(named) == 1:
            found.append(named[0])
        else:
            what = "image" if key == "path" else "label"
            seen = f"{len(named)} {what} columns ({some(named)})" if named else f"no {what} column"
            mistakes.append(
                f"has {seen} of type {kind} among {some(sorted(features))}; say which with "
                f"`columns: {{{key}: NAME}}`"
            )
    if mistakes:
        raise DataError(mistakes)
    for name, kinds in ((found[0], ("Image",)), (found[1], ("ClassLabel", "Value"))):
        if type(features[name]).__name__ not in kinds:
            raise DataError(
                f"column '{name}' is a {type(features[name]).__name__}, not one {kinds[0]} per "
                "image; data with several labels per image are not supported"
            )
    return found[0], found[1], given.get("group")


def _texts(table: Any, label: str) -> list[str | None]:
    """Class names; None for a label that is kept back (-1) or missing."""
    feature, values = table.features[label], list(table[label])
    if type(feature).__name__ == "ClassLabel":
        return [None if v is None or v < 0 else str(feature.names[v]) for v in values]
    return [None if v is None or str(v) == "" else str(v) for v in values]


def _roles(
    labels: _Labels, spec: DatasetSpec, tell: Callable[[str], None]
) -> dict[str, Split | None]:
    """What each split of the hub is used as.

    Raises:
        DataError: names that say no role, two for one role, or no train split.
    """
    unknown = [name for name in labels if name.lower() not in SPLIT_NAMES]
    if unknown:
        raise DataError(
            f"{spec.source}: has the splits {some(labels)}; only train, validation and test are "
            "understood; try another configuration, or save it as folders and give `path:`"
        )
    roles: _Roles = {name: SPLIT_NAMES[name.lower()] for name in labels}
    for name in [n for n, role in roles.items() if role == "test" and not any(labels[n])]:
        tell(f"{spec.name}: the labels of split '{name}' are kept back; it is left out")
        del roles[name]
    if len(set(roles.values())) < len(roles) or "train" not in roles.values():
        raise DataError(f"{spec.source}: has the splits {some(roles)}; one of each is needed")
    if set(roles.values()) == {"train"}:
        return dict.fromkeys(roles, None)
    if set(roles.values()) == {"train", "val"}:
        tell(f"{spec.name}: has no test split with labels; its validation split is the test split")
        roles = {name: "test" if role == "val" else role for name, role in roles.items()}
    return roles


def _classes(feature: Any, used: Sequence[Sequence[str | None]]) -> tuple[str, ...]:
    """In the order that the data set gives them; those without any image are left out."""
    present = {text for texts in used for text in texts if text is not None}
    if type(feature).__name__ == "ClassLabel":
        return tuple(name for name in feature.names if name in present)
    return class_order(present)


def _encoded(table: Any, image: str) -> Any:
    """The same table, handing out an image's bytes (or path) instead of decoding it."""
    import datasets

    return table.cast_column(image, datasets.Image(decode=False))


def _read(table: Any, image: str, row: int) -> Content:
    cell = table[row][image]
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise OSError("is missing in its row")
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    if not _is_cached(cell["path"]):
        raise OSError("points to a file that did not come from the hub")
    return read_picture(cell["path"])


def _is_cached(path: str) -> bool:
    """Whether the file lies where the two libraries put what they fetch: a table may name any."""
    from datasets import config
    from huggingface_hub import constants

    folders = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    real = Path(path).resolve()
    return any(real.is_relative_to(Path(folder).resolve()) for folder in folders)
