"""What ``validate`` and ``plan`` ask of a data set: can it be used, and how large is it?

Only the standard library (pandas for a Parquet table). Nothing is decoded, nothing downloaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from raybench.datasets.cards import CARDS, DatasetCard, dataset_names, nearest_names
from raybench.datasets.layout import list_folder
from raybench.datasets.listing import Listing, class_order, plural, some, worded
from raybench.datasets.sources.names import (
    MEDMNIST,
    MedmnistName,
    medmnist_info,
    parse_source,
    source_mistakes,
)
from raybench.datasets.tables import is_table, list_table
from raybench.spec import ColumnsSpec, DatasetSpec, SplitSpec


@dataclass(frozen=True, slots=True)
class DatasetCounts:
    """Images per split as ``load_task`` will make them with ``subset: full``.

    Exact for a folder or table without groups; with groups the sizes that are aimed at, and for a
    named set without official split what equally large classes would give.
    """

    classes: int
    train: int
    val: int
    test: int
    domain: str | None = None

    @property
    def total(self) -> int:
        """Images over all splits."""
        return self.train + self.val + self.test


def list_images(spec: DatasetSpec) -> Listing:
    """The user's own images under ``spec.path``, and every mistake found."""
    if spec.path is None:
        raise ValueError("only a data set with a path can be listed")
    path = Path(spec.path)
    if is_table(path):
        root = None if spec.root is None else Path(spec.root)
        return list_table(path, spec.columns or ColumnsSpec(), root, spec.group_by)
    return list_folder(path, spec.group_by)


def check_dataset(spec: DatasetSpec) -> list[str]:
    """Every mistake in words; empty when ``load_task`` can start reading images."""
    return list_and_check(spec)[1]


def count_dataset(spec: DatasetSpec) -> DatasetCounts | None:
    """Images per split without decoding.

    None where ``check_dataset`` finds mistakes, and where only a hub, or a package that is not
    installed, could tell.
    """
    listing, mistakes = list_and_check(spec)
    if mistakes:
        return None
    if spec.source is not None:
        return _counts_of_source(spec.source, spec)
    if spec.path is None:
        return _counts_of_card(CARDS[spec.name], spec)
    labels: dict[str | None, Counter[str]] = {}
    for image in listing.images:
        labels.setdefault(image.split, Counter())[image.label] += 1
    return _counts({key: list(c.values()) for key, c in labels.items()}, spec, spec.domain)


def list_and_check(spec: DatasetSpec) -> tuple[Listing, list[str]]:
    """The user's own images as far as they can be used, and every mistake in words."""
    if spec.source is not None:
        mistakes = source_mistakes(spec)
        if spec.source.startswith(MEDMNIST):
            mistakes += _split_conflict(spec, {"train", "val", "test"})
        return Listing(), mistakes
    if spec.path is None:
        return Listing(), _name_mistakes(spec)
    mistakes = []
    if not is_table(Path(spec.path)) and (spec.columns is not None or spec.root is not None):
        mistakes.append("columns and root are for tables; path must end in .csv, .tsv or .parquet")
    if spec.columns is not None and spec.columns.group is not None and spec.group_by is not None:
        mistakes.append("columns.group and group_by both say what the groups are; keep one")
    listing = list_images(spec)
    mistakes += listing.mistakes
    if not mistakes:
        mistakes += _split_conflict(spec, {image.split for image in listing.images})
        mistakes += _small_classes(spec, listing)
    return listing, mistakes


def _name_mistakes(spec: DatasetSpec) -> list[str]:
    if spec.name not in CARDS:
        near = nearest_names(spec.name)
        meant = f"; did you mean {some(near)}?" if near else f"; known: {some(dataset_names())}."
        return [
            f"unknown data set '{spec.name}'{meant} For images of your own give `path:` as well"
        ]
    given = [key for key in ("columns", "root", "group_by") if getattr(spec, key) is not None]
    mistakes = [worded(given, "{} needs a `path:`", "{} need a `path:`")] if given else []
    return mistakes + _split_conflict(spec, set(CARDS[spec.name].images) - {"all"})


def _split_conflict(spec: DatasetSpec, official: Set[str | None]) -> list[str]:
    """Official splits are kept; ``val`` may still say how much of train becomes validation."""
    split = spec.split
    if spec.folds is not None and not official <= {None}:
        return ["folds are given, but there are splits already; remove `folds:`"]
    if spec.folds is not None and split is not None:
        return ["folds and split both say what is tested; keep one"]
    if split is None or official <= {None}:
        return []
    if "val" in official:
        return ["split is given, but train, val and test are there already; remove `split:`"]
    if split.test != SplitSpec().test:
        return [
            "split.test is given, but a test split is there already; remove it "
            "(split.val says how much of train becomes validation)"
        ]
    return []


def _small_classes(spec: DatasetSpec, listing: Listing) -> list[str]:
    """Classes with fewer images (or groups) than the splits that must still be cut."""
    splits = {image.split for image in listing.images}
    need = spec.folds or (1 if "val" in splits else 2 if "test" in splits else 3)
    units: dict[str, set[str]] = {}
    for image in listing.images:
        if image.split in (None, "train"):
            units.setdefault(image.label, set()).add(image.group or image.id)
    kind = "group" if any(image.group for image in listing.images) else "image"
    return [
        f"{spec.path}: class '{name}' has {plural(len(units[name]), kind)}, but {need} are needed "
        "so that every split can hold one"
        for name in class_order(units)
        if len(units[name]) < need
    ]


def _counts_of_card(card: DatasetCard, spec: DatasetSpec) -> DatasetCounts:
    """As if the classes were equally large, which they are, or nearly, in every card's set."""
    per_class: dict[str | None, list[int]] = {}
    for split, total in card.images.items():
        share, rest = divmod(total, card.classes)
        sizes = [share + (index < rest) for index in range(card.classes)]
        per_class[None if split == "all" else split] = sizes
    return _counts(per_class, spec, spec.domain or card.domain)


def _counts_of_source(text: str, spec: DatasetSpec) -> DatasetCounts | None:
    name = parse_source(text)
    facts = medmnist_info().get(name.name) if isinstance(name, MedmnistName) else None
    if facts is None:
        return None
    images = facts["n_samples"]
    domain = spec.domain or "medical"
    return DatasetCounts(
        len(facts["label"]), images["train"], images["val"], images["test"], domain
    )


def _counts(
    per_class: Mapping[str | None, list[int]], spec: DatasetSpec, domain: str | None
) -> DatasetCounts:
    from raybench.datasets.splits import cut_sizes

    split = spec.split or SplitSpec()
    if None in per_class:
        part = 1 / spec.folds if spec.folds else 0.0
        sizes = [cut_sizes(n, part or split.val, part or split.test) for n in per_class[None]]
        val, test = sum(v for v, _ in sizes), sum(t for _, t in sizes)
        return DatasetCounts(len(sizes), sum(per_class[None]) - val - test, val, test, domain)
    train, test = sum(per_class["train"]), sum(per_class["test"])
    if "val" in per_class:
        val = sum(per_class["val"])
        return DatasetCounts(len(per_class["train"]), train, val, test, domain)
    val = sum(cut_sizes(n, split.val, 0.0)[0] for n in per_class["train"])
    return DatasetCounts(len(per_class["train"]), train - val, val, test, domain)
