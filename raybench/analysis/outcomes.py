"""What is kept of predictions once a file has been read: scores of the run, guess per image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.averages import Floats
from raybench.analysis.results import PairResult
from raybench.predictions import Predictions
from raybench.records import TrialRow

BINS = 15  # of confidence; Guo et al. 2017
_LEAST = float(np.finfo(np.float32).smallest_subnormal)  # a float32 softmax can be 0


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Predictions by confidence, in ``BINS`` equal bins and one for those that are quite sure.

    ``counts``, ``confidence`` and ``hits`` are (BINS + 1,): predictions, their summed confidence,
    and how many are right.
    """

    counts: Floats
    confidence: Floats
    hits: Floats

    def __add__(self, other: Bins) -> Bins:
        return Bins(
            self.counts + other.counts,
            self.confidence + other.confidence,
            self.hits + other.hits,
        )

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap of confidence and accuracy, by predictions."""
        return float(np.abs(self.hits - self.confidence).sum() / self.counts.sum())


def bin_edges() -> NDArray[np.float32]:
    """(BINS + 1,) as ``torch.linspace`` rounds them: votes of neighbours fall onto edges."""
    index = np.arange(BINS + 1)
    step = float(np.float32(1 / BINS))
    edges = np.where(index < (BINS + 1) / 2, step * index, 1 - step * (BINS - index))
    return edges.astype(np.float32)


def confidence_bins(confidences: NDArray[np.float32], hits: NDArray[np.bool_]) -> Bins:
    """Of N predictions; as ``trial.metrics`` does it."""
    places = np.searchsorted(bin_edges(), confidences, side="right") - 1
    counts, confidence, right = (
        np.bincount(places, weights, minlength=BINS + 1).astype(float)
        for weights in (None, confidences.astype(float), hits.astype(float))
    )
    return Bins(counts, confidence, right)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One final: its scores over all test images."""

    seed: int
    fold: int
    nll: float
    brier: float
    bins: Bins


@dataclass(slots=True, eq=False)
class Part:
    """Runs on the same N images (one fold, or all of them): ``guesses`` and ``confidences``."""

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    guesses: list[NDArray[np.int32]] = field(default_factory=list)
    confidences: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(R, N) whether a run is right about an image."""
        return np.asarray(np.stack(self.guesses) == self.labels)


@dataclass(slots=True, eq=False)
class Outcomes:
    """One pair: all runs that have predictions."""

    result: PairResult
    classes: tuple[str, ...]
    runs: list[Run] = field(default_factory=list)
    parts: dict[tuple[str, ...], Part] = field(default_factory=dict)

    def add(self, trial: TrialRow, predictions: Predictions) -> None:
        """Keeps 8 bytes per image."""
        assert trial.seed is not None
        guesses = predictions.probabilities.argmax(axis=1).astype(np.int32)
        confidences = predictions.probabilities.max(axis=1)
        bins = confidence_bins(confidences, guesses == predictions.labels)
        nll, brier = proper_scores(predictions.probabilities, predictions.labels)
        self.runs.append(Run(trial.seed, trial.fold, nll, brier, bins))
        part = self.parts.setdefault(predictions.ids, Part(predictions.ids, predictions.labels))
        part.guesses.append(guesses)
        part.confidences.append(confidences)

    def cells(self) -> Iterator[NDArray[np.int64]]:
        """Per part (R * N,) ``label * classes + guess``."""
        for part in self.parts.values():
            yield (part.labels * len(self.classes) + np.stack(part.guesses)).ravel()


def proper_scores(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Mean negative log likelihood, and Brier score summed over classes, of (N, C) and (N,)."""
    given = probabilities[np.arange(len(labels)), labels].astype(float)
    # (p - y)^2 summed is the sum of p^2, less what the true class's 1 takes off.
    brier = np.square(probabilities).sum(axis=1, dtype=float) - 2 * given + 1
    return float(-np.log(np.maximum(given, _LEAST)).mean()), float(brier.mean())
