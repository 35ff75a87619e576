"""Parts for cross-validation, by scikit-learn; the ledger notices if a version cuts otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError


def fold_parts(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    groups: Sequence[str | None],
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """(N,) int64: to which of ``folds`` parts each image belongs; stratified, groups kept whole.

    Raises:
        DataError: a class with fewer images (or groups) than folds, or one that cannot be spread.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    grouped = any(group is not None for group in groups)
    units = np.array([g or f"\0{i}" for i, g in enumerate(groups)])
    small = [
        f"class '{classes[label]}' has {count} {'groups' if grouped else 'images'}, too few for "
        f"{folds} folds; give folds: {count} or less, or split: without folds"
        for label in np.unique(labels)
        if (count := len(np.unique(units[labels == label]))) < folds
    ]
    if small:
        raise DataError(small)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    parts = np.full(len(labels), -1)
    cutter = kind(folds, shuffle=True, random_state=seed)
    cuts = cutter.split(labels, labels, units if grouped else None)
    for number, (_, members) in enumerate(cuts):
        parts[members] = number
    missing = [
        f"class '{classes[label]}' cannot stand in every fold without tearing a group apart"
        for label in np.unique(labels)
        if len(np.unique(parts[labels == label])) < folds
    ]
    if missing:
        raise DataError(missing)
    return parts
