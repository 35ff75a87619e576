"""Predictions as finals would have left them, and a source that holds them in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.predictions import Predictions
from raybench.records import TrialRow


class Memory:
    """A ``PredictionSource`` of given predictions, by trial key; counts what it reads."""

    def __init__(self, predictions: Mapping[str, Predictions]) -> None:
        self.predictions, self.reads = predictions, 0

    def read(self, trial: TrialRow) -> Predictions | None:
        self.reads += 1
        return self.predictions.get(trial.key)


def make_predictions(
    labels: Sequence[int] | NDArray[np.int64],
    probabilities: NDArray[np.float64],
    ids: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    key: str = "pair/final/0",
) -> Predictions:
    """``probabilities`` (N, C); ids are made up where none are given."""
    count, classes = probabilities.shape
    return Predictions(
        key=key,
        ids=tuple(ids or (f"image{i}.png" for i in range(count))),
        labels=np.asarray(labels, dtype=np.int64),
        probabilities=probabilities.astype(np.float32),
        classes=tuple(f"class{c}" for c in range(classes)),
        groups=None if groups is None else tuple(groups),
        split="sha256:split",
    )


def from_hits(
    hits: Sequence[int] | NDArray[np.int64],
    ids: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    key: str = "pair/final/0",
) -> Predictions:
    """Two classes, every label 0; right (1) or wrong (0) with 90% confidence."""
    sure = np.where(np.asarray(hits) > 0, 0.9, 0.1)
    return make_predictions([0] * len(sure), np.stack([sure, 1 - sure], axis=1), ids, groups, key)


def random_predictions(images: int, classes: int, seed: int, skill: float = 1.0) -> Predictions:
    """Labels and probabilities at random; ``skill`` raises the true class's logit."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += skill
    powers = np.exp(logits)
    return make_predictions(labels, powers / powers.sum(axis=1, keepdims=True))
