"""What each test image contributes to a metric: (N,) values whose mean is the metric.

Accuracy averages hits and NLL losses, so theirs are the images' own values. The other metrics are
functions of the weighted images; theirs are influence functions, the first-order effect of an
image's weight (Hampel 1974; for the AUROC these are the structural components of DeLong et al.
1988), so that one algebra of means serves all metrics. Tests hold means and spreads to
scikit-learn's weighted metrics and to the plain bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from raybench.predictions import Predictions

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
ECE_BINS = 15  # as raybench.trial.metrics


def influence(metric: str, predictions: Predictions) -> Values | None:
    """(N,) contributions to ``metric`` (``test/...``); None where it is undefined or unknown."""
    compute = _METRICS.get(metric.split("/", 1)[-1])
    if compute is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        values = compute(predictions)
    return values if len(values) and np.isfinite(values).all() else None


def hits(predictions: Predictions) -> Values:
    """(N,) 1 where the likeliest class is the label, else 0."""
    guesses = predictions.probabilities.argmax(axis=1)
    return np.asarray(guesses == predictions.labels, dtype=np.float64)


def _nll(predictions: Predictions) -> Values:
    """A probability that float32 rounds to zero counts as the smallest one."""
    rows = np.arange(len(predictions.labels))
    own = predictions.probabilities[rows, predictions.labels].astype(np.float64)
    return -np.log(np.maximum(own, float(np.finfo(np.float32).tiny)))


def _brier(predictions: Predictions) -> Values:
    errors = predictions.probabilities.astype(np.float64)
    errors[np.arange(len(errors)), predictions.labels] -= 1
    return np.asarray((errors * errors).sum(axis=1))


def _balanced_accuracy(predictions: Predictions) -> Values:
    return _recall(predictions, np.unique(predictions.labels))


def _sensitivity(predictions: Predictions) -> Values:
    return _recall(predictions, np.array([1]))


def _specificity(predictions: Predictions) -> Values:
    return _recall(predictions, np.array([0]))


def _recall(predictions: Predictions, classes: NDArray[np.int64]) -> Values:
    """Mean recall of ``classes``: an image moves its own class's by its share of the class."""
    labels, right = predictions.labels, hits(predictions)
    size = predictions.probabilities.shape[1]
    support = np.bincount(labels, minlength=size)
    recall = np.bincount(labels, right, size) / support
    weights = np.isin(np.arange(size), classes) * len(labels) / support / len(classes)
    own = np.where(np.isin(labels, classes), weights[labels] * (right - recall[labels]), 0.0)
    return np.asarray(recall[classes].mean() + own)


def _macro_f1(predictions: Predictions) -> Values:
    """F1 of a class is 2 hits / (images + guesses), so images matter to two classes at most."""
    labels, right = predictions.labels, hits(predictions)
    guesses = predictions.probabilities.argmax(axis=1)
    size = predictions.probabilities.shape[1]
    sums = np.bincount(labels, minlength=size) + np.bincount(guesses, minlength=size)
    seen = sums > 0
    sums = np.maximum(sums, 1)
    f1 = 2 * np.bincount(labels, right, size) / sums
    scale = len(labels) / seen.sum()
    change = 2 * right / sums[labels] - (f1 / sums)[labels] - (f1 / sums)[guesses]
    return np.asarray(f1[seen].mean() + scale * change)


def _auroc(predictions: Predictions) -> Values:
    return _one_against_rest(predictions, _auroc_of)


def _average_precision(predictions: Predictions) -> Values:
    return _one_against_rest(predictions, _average_precision_of)


def _one_against_rest(
    predictions: Predictions, compute: Callable[[Values, Flags], Values]
) -> Values:
    """Mean over the classes that occur; with two classes, of the second alone."""
    labels, probabilities = predictions.labels, predictions.probabilities
    occurring = np.unique(labels)
    if len(occurring) < 2:
        return np.full(len(labels), np.nan)
    positives = [1] if probabilities.shape[1] == 2 else occurring.tolist()
    total = np.zeros(len(labels))
    for index in positives:
        total += compute(probabilities[:, index].astype(np.float64), labels == index)
    return total / len(positives)


def _auroc_of(scores: Values, positive: Flags) -> Values:
    """An image's is the share of the other kind that it stands on the right side of."""
    ahead, behind = np.sort(scores[positive]), np.sort(scores[~positive])
    values = np.empty(len(scores))
    values[positive] = _below(behind, scores[positive])
    values[~positive] = 1 - _below(ahead, scores[~positive])
    area = values[positive].mean()
    share = np.where(positive, positive.mean(), 1 - positive.mean())
    return np.asarray(area + (values - area) / share)


def _below(ordered: Values, scores: Values) -> Values:
    """Share of ``ordered`` below each score, ties counting half."""
    left, right = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return np.asarray((left + right) / (2 * len(ordered)))


def _average_precision_of(scores: Values, positive: Flags) -> Values:
    """The mean over positives of hits / images at or above their score, differentiated."""
    _, codes = np.unique(-scores, return_inverse=True)  # 0: the highest score
    every = np.bincount(codes)
    own = np.bincount(codes, positive)
    above, found = every.cumsum(), own.cumsum()
    precision = found / above
    gain = np.cumsum((own / above)[::-1])[::-1]
    loss = np.cumsum((own * found / above**2)[::-1])[::-1]
    count = own.sum()
    average = float((own * precision).sum() / count)
    change = np.where(positive, (precision + gain)[codes] - average, 0.0) - loss[codes]
    return np.asarray(average + len(scores) / count * change)


def _ece(predictions: Predictions) -> Values:
    """Confidence over accuracy, signed as in the image's bin."""
    confidence = predictions.probabilities.max(axis=1)
    edges = np.linspace(0, 1, ECE_BINS + 1, dtype=np.float32)
    bins = np.searchsorted(edges, confidence, side="right") - 1
    gap = hits(predictions) - confidence
    return np.asarray(np.sign(np.bincount(bins, gap))[bins] * gap)


_METRICS: Mapping[str, Callable[[Predictions], Values]] = {
    "accuracy": hits,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auroc": _auroc,
    "average_precision": _average_precision,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "nll": _nll,
    "brier": _brier,
    "ece": _ece,
}
