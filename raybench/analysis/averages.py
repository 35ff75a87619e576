"""Averages over data sets: of a backbone in general, data sets speak, not tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.intervals import Interval, t_interval
from raybench.analysis.overall import ENOUGH
from raybench.analysis.results import PairResult

Floats = NDArray[np.float64]


def everywhere(by_task: Mapping[str, Sequence[PairResult]]) -> tuple[str, ...]:
    """Backbones that the sweep tries on every task: only their means can be compared."""
    tried = [{result.pair.backbone for result in results} for results in by_task.values()]
    names = dict.fromkeys(r.pair.backbone for results in by_task.values() for r in results)
    return tuple(name for name in names if all(name in found for found in tried))


def by_data_set(by_task: Mapping[str, Floats], data_set: Mapping[str, str]) -> Floats:
    """(D, ...) means within each data set, in order of appearance.

    Subsets of one data set share its images, so together they count once.

    Args:
        by_task: task -> values of one shape.
        data_set: task -> its data set.
    """
    groups: dict[str, list[Floats]] = {}
    for task, values in by_task.items():
        groups.setdefault(data_set[task], []).append(values)
    return np.stack([np.mean(members, axis=0) for members in groups.values()])


def data_set_interval(values: Floats) -> Interval | None:
    """95% t interval of the mean of ``values`` (D,); None below ``ENOUGH``."""
    return t_interval(values.tolist()) if len(values) >= ENOUGH else None


def known(values: Floats) -> tuple[float | None, ...]:
    """As Python numbers; None for NaN and infinities."""
    return tuple(float(value) if np.isfinite(value) else None for value in values)
