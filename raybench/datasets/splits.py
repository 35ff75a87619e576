"""Train, validation and test as index arrays. Pure NumPy; every draw from a named seed.

Draws come from ``RandomState``: NumPy promises its stream for ever, but not ``default_rng``'s, and
a split must be the same after an upgrade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.cards import Split
from raybench.datasets.folds import fold_parts
from raybench.errors import DataError
from raybench.fields import SUBSET_PATTERN
from raybench.seeding import derive_seed
from raybench.spec import SplitSpec

Indices = NDArray[np.int64]
_NAMES: tuple[Split, ...] = ("val", "test", "train")


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint, sorted int64 index arrays that together hold every image."""

    train: Indices
    val: Indices
    test: Indices


def make_splits(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    official: Sequence[Split | None],
    groups: Sequence[str | None],
    split: SplitSpec | None,
    split_seed: int,
    folds: int | None = None,
    fold: int = 0,
) -> Splits:
    """Keep official splits, cut what is missing: stratified, with no group in two splits.

    No official split: val and test are cut from all images (60/20/20 unless ``split`` says
    otherwise). Train and test: val is cut from train (``split.val``, a fifth). All three: as is.

    Args:
        labels: (N,) int64 class indices.
        classes: names by index, for messages.
        official: one of train, val, test per image, or None for all.
        groups: what must stay together (a patient), or None for all.
        split: fractions; None: the defaults.
        split_seed: names the draw.
        folds: parts for cross-validation, instead of the fractions. Part ``fold`` is the test
            split, the next one validation, the others train (five parts: 60/20/20).
        fold: which part, from 0.

    Raises:
        DataError: a class too small to stand in every split that is cut.
    """
    if folds is not None:
        return _cross(labels, classes, groups, folds, fold, derive_seed(split_seed, "folds"))
    fractions = split or SplitSpec()
    names = np.array([name or "" for name in official])
    train, val, test = (np.flatnonzero(names == name) for name in ("train", "val", "test"))
    seed = derive_seed(split_seed, "split")
    if not len(train):
        parts = _cut(np.arange(len(labels)), labels, classes, groups, fractions, True, seed)
    elif not len(val):
        parts = _cut(train, labels, classes, groups, fractions, False, seed)
        parts["test"] = test
    else:
        parts = {"train": train, "val": val, "test": test}
    return Splits(**{name: np.sort(indices).astype(np.int64) for name, indices in parts.items()})


def _cross(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    groups: Sequence[str | None],
    folds: int,
    fold: int,
    seed: int,
) -> Splits:
    part = fold_parts(labels, classes, groups, folds, seed)
    test, val = part == fold, part == (fold + 1) % folds
    return Splits(*(np.flatnonzero(where) for where in (~(test | val), val, test)))


def take_subset(train: Indices, labels: NDArray[np.int64], subset: str, split_seed: int) -> Indices:
    """The part of ``train`` that ``subset`` names: ``full``, ``10%`` or ``5-shot``, per class.

    One seeded order per class and prefixes of it, so that 5-shot lies inside 10-shot and 10% inside
    20%. A percentage keeps at least one image of every class.

    Raises:
        DataError: more shots than a class has, or a percentage outside (0, 100].
    """
    match = SUBSET_PATTERN.match(subset)
    if match is None:
        raise DataError(f"subset '{subset}' is not full, a percentage (10%) or shots (5-shot)")
    if match["percent"] is None and match["shots"] is None:
        return train
    if match["percent"] is not None and not 0 < float(match["percent"]) <= 100:
        raise DataError(f"subset '{subset}' must be above 0% and at most 100%")
    taken: list[Indices] = []
    for label in np.unique(labels[train]):
        members = train[labels[train] == label]
        if match["shots"] is not None:
            keep = int(match["shots"])
            if keep > len(members):
                raise DataError(
                    f"subset '{subset}' asks for more images than the smallest class has in the "
                    f"training split ({_smallest(train, labels)}); take fewer shots"
                )
        else:
            keep = max(1, int(len(members) * float(match["percent"]) / 100 + 0.5))
        order = np.random.RandomState(derive_seed(split_seed, "subset", int(label)))
        taken.append(order.permutation(members)[:keep])
    return np.sort(np.concatenate(taken))


def _smallest(train: Indices, labels: NDArray[np.int64]) -> int:
    return int(np.unique(labels[train], return_counts=True)[1].min())


def cut_sizes(count: int, val: float, test: float) -> tuple[int, int]:
    """How many of a class's ``count`` images go to val and test; train keeps at least one.

    Rounded to the nearest, but at least one where the fraction is above zero.
    """
    sizes = [max(1, round(count * part)) if part > 0 else 0 for part in (val, test)]
    while sum(sizes) >= count and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    return sizes[0], sizes[1]


def _cut(
    pool: Indices,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    groups: Sequence[str | None],
    fractions: SplitSpec,
    with_test: bool,
    seed: int,
) -> dict[str, Indices]:
    test_fraction = fractions.test if with_test else 0.0
    grouped = any(groups[i] is not None for i in pool)
    units = np.array([groups[i] or f"\0{i}" for i in pool] if grouped else pool)
    needed = 3 if with_test else 2
    small = [
        f"class '{classes[label]}' has {count} {'groups' if grouped else 'images'}"
        for label in np.unique(labels[pool])
        if (count := len(np.unique(units[labels[pool] == label]))) < needed
    ]
    if small:
        where = "train, val and test" if with_test else "train and val"
        raise DataError(f"{text}; {needed} are needed for {where}" for text in small)
    random = np.random.RandomState(seed)
    if grouped:
        return _cut_groups(pool, labels, classes, units, fractions.val, test_fraction, random)
    parts: dict[str, list[Indices]] = {"val": [], "test": [], "train": []}
    for label in np.unique(labels[pool]):
        order = random.permutation(pool[labels[pool] == label])
        val, test = cut_sizes(len(order), fractions.val, test_fraction)
        parts["val"].append(order[:val])
        parts["test"].append(order[val : val + test])
        parts["train"].append(order[val + test :])
    return {name: np.concatenate(indices) for name, indices in parts.items()}


def _cut_groups(
    pool: Indices,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    units: NDArray[np.str_],
    val: float,
    test: float,
    random: np.random.RandomState,
) -> dict[str, Indices]:
    """Whole groups to splits: first one of each class to each split, then by largest need."""
    names, unit_of = np.unique(units, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (unit_of, labels[pool]), 1)
    fractions = np.array([val, test, 1 - val - test])
    targets = np.outer(fractions, counts.sum(0))
    place = np.full(len(names), -1)
    order = random.permutation(len(names))
    _cover_classes(counts, targets, place, order, classes)
    for unit in sorted(order[place[order] < 0], key=lambda u: -counts[u].sum()):
        have = np.stack([counts[place == s].sum(0) for s in range(3)])
        need = (targets - have) / np.maximum(targets, 1e-9)
        place[unit] = int(np.argmax(np.where(fractions > 0, need @ counts[unit], -np.inf)))
    return {name: pool[place[unit_of] == s] for s, name in enumerate(_NAMES)}


def _cover_classes(
    counts: NDArray[np.float64],
    targets: NDArray[np.float64],
    place: NDArray[np.int64],
    order: NDArray[np.int64],
    classes: Sequence[str],
) -> None:
    """Give every split one group of every class, rarest class first; fills ``place``.

    Among the groups left, the first (in seeded order) that does not overfill val or test is taken,
    else the smallest, so that a large group of a rare class stays for train.
    """
    present = np.flatnonzero(counts.sum(0))
    for label in sorted(present, key=lambda c: np.count_nonzero(counts[:, c])):
        for split in np.flatnonzero(targets[:, label] > 0):
            if counts[place == split, label].any():
                continue
            left = [unit for unit in order if place[unit] < 0 and counts[unit, label]]
            if not left:
                raise DataError(
                    f"class '{classes[int(label)]}' cannot stand in train, val and test without "
                    "tearing a group apart; give it more groups"
                )
            fitting = [u for u in left if counts[u, label] <= max(1, targets[split, label])]
            smallest = min(left, key=lambda u: counts[u, label])
            place[fitting[0] if fitting else smallest] = split
