"""What the test images say for each backbone of a task: compact, paired, by cluster.

One predictions file is held at a time; what is kept of it is one number per cluster: of the images
of one group, which may be views of one thing, or else of each image.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.influence import Values, influence
from raybench.analysis.results import PairResult
from raybench.predictions import Predictions
from raybench.records import TrialRow

Key = tuple[str, str]
"""Pair id and configuration (``tuned``, ``default``)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One metric of one task: G clusters of test images x K configurations of pairs.

    Attributes:
        metric: ``test/...``.
        keys: of the K columns: pairs whose finals were read, all on the same images.
        images: test images.
        grouped: whether a cluster is a group of images; else each image is its own.
        values: (G, K) float32, averaged over final seeds; a column's mean is the metric.
        residual: (K,) part of the variance of that mean which seeds and images both hold: what
            single images do in single seeds.
    """

    metric: str
    keys: tuple[Key, ...]
    images: int
    grouped: bool
    values: NDArray[np.float32]
    residual: Values

    @property
    def clusters(self) -> int:
        return len(self.values)

    def column(self, key: Key) -> int | None:
        return self.keys.index(key) if key in self.keys else None


class EvidenceCollector:
    """Makes ``Evidence`` per task from predictions, one file after the other."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def add(self, result: PairResult, trial: TrialRow, predictions: Predictions) -> None:
        """One complete final that counts."""
        values = influence(result.final.metric, predictions)
        if values is None:
            return
        task = self._tasks.setdefault(result.task, _Task(result.final.metric))
        codes, clustered = task.clustered(predictions, values)
        for config in trial.configs:
            column = task.columns.setdefault((result.pair.id, config), _Column())
            column.add(codes, clustered, trial.seed or 0)

    def finish(self) -> dict[str, Evidence]:
        """By task; a task without any column is not in it."""
        return {name: task.finish() for name, task in self._tasks.items()}


class _Task:
    """The clusters of one task in order of appearance, and the columns so far."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.columns: dict[Key, _Column] = {}
        self._clusters: dict[str, int] = {}
        self._images: set[str] = set()
        self._grouped = False

    def clustered(
        self, predictions: Predictions, values: Values
    ) -> tuple[NDArray[np.int64], Values]:
        """Clusters of this file's images (g,), and values (g,) with the mean of ``values``.

        A cluster that holds more images weighs more: its value is mean + (g / N) x the sum of its
        images' deviations, so that the spread over clusters is that of a ratio (Cochran 1977, 6.4).
        """
        units = _units(predictions)
        self._grouped |= predictions.groups is not None
        self._images.update(predictions.ids)
        known = self._clusters
        codes = np.array([known.setdefault(unit, len(known)) for unit in units])
        own, inverse = np.unique(codes, return_inverse=True)
        deviations = np.bincount(inverse, values - values.mean())
        return own, values.mean() + len(own) / len(values) * deviations

    def finish(self) -> Evidence:
        size = len(self._clusters)
        same = Counter(column.covered(size) for column in self.columns.values())
        clusters, _ = same.most_common(1)[0]
        keys = [key for key, column in self.columns.items() if column.covered(size) == clusters]
        if len(keys) < len(self.columns):
            _log.warning("some finals were tested on other images: compared by their seeds alone")
        rows = np.frombuffer(clusters, dtype=bool)
        columns = [self.columns[key] for key in keys]
        return Evidence(
            metric=self.metric,
            keys=tuple(keys),
            images=len(self._images),
            grouped=self._grouped,
            values=np.stack([c.mean(size)[rows] for c in columns], axis=1).astype(np.float32),
            residual=np.array([column.residual() for column in columns]),
        )


class _Column:
    """Sums over the finals of one configuration, enough for its mean and two-way residual."""

    def __init__(self) -> None:
        self._sum: Values = np.zeros(0)
        self._count: Values = np.zeros(0)
        self._squares = 0.0
        self._means: dict[int, list[float]] = {}

    def add(self, codes: NDArray[np.int64], values: Values, seed: int) -> None:
        size = int(codes.max()) + 1
        self._sum, self._count = _grown(self._sum, size), _grown(self._count, size)
        self._sum[codes] += values
        self._count[codes] += 1
        self._squares += float(values @ values)
        self._means.setdefault(seed, []).append(float(values.mean()))

    def covered(self, size: int) -> bytes:
        """Which of the task's clusters it has, as a hashable value."""
        return (_grown(self._count, size) > 0).tobytes()

    def mean(self, size: int) -> Values:
        """(size,) over seeds; 0 for a cluster that it has not."""
        return _grown(self._sum, size) / np.maximum(_grown(self._count, size), 1)

    def residual(self) -> float:
        """Residual mean square of the layout seeds x clusters, over its cells; 0 for one seed.

        Also 0 for folds, whose seeds differ by their images as well.
        """
        seeds, clusters = len(self._means), int((self._count > 0).sum())
        if seeds < 2 or clusters < 2 or any(len(folds) > 1 for folds in self._means.values()):
            return 0.0
        by_seed = np.array([folds[0] for folds in self._means.values()])
        by_cluster = self._sum[self._count > 0] / self._count[self._count > 0]
        left = (
            self._squares
            - clusters * float(by_seed @ by_seed)
            - seeds * float(by_cluster @ by_cluster)
            + seeds * clusters * float(by_seed.mean()) ** 2
        )
        return max(0.0, left) / ((seeds - 1) * (clusters - 1) * seeds * clusters)


def _units(predictions: Predictions) -> Sequence[str]:
    """Each image's cluster: its group, or itself."""
    if predictions.groups is None:
        return predictions.ids
    return [
        image if group is None else f"\0{group}"
        for image, group in zip(predictions.ids, predictions.groups, strict=True)
    ]


def _grown(values: Values, size: int) -> Values:
    return values if len(values) >= size else np.pad(values, (0, size - len(values)))
