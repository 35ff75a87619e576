"""Metrics of one split, from logits and labels of all its images. Undefined ones are absent.

Not torchmetrics: importing it costs every trial's process 2 s (plots, sound, signal processing).
The sums here are in its order, and the tests hold them to scikit-learn's values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ECE_BINS = 15  # Guo et al. 2017


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Every metric of design section 4 that is defined for these labels.

    Means over classes are over those that occur in ``labels`` (macro F1: or in the predictions), as
    scikit-learn takes them. With two classes, index 1 is the positive one. ``brier`` sums over the
    classes (Brier 1950), so it lies in [0, 2].

    Args:
        logits: (N, C) float32, finite, N > 0.
        labels: (N,) int64.
    """
    classes = logits.shape[1]
    probabilities = logits.softmax(dim=1)
    cells = labels * classes + logits.argmax(dim=1)
    confusion = cells.bincount(minlength=classes**2).reshape(classes, classes)
    values = {
        **_counted(confusion.to("cpu", torch.float64)),
        **_ranked(probabilities, labels, present=confusion.sum(dim=1) > 0),
        "nll": F.cross_entropy(logits, labels),
        "brier": (probabilities - F.one_hot(labels, classes)).square().sum(dim=1).mean(),
        "ece": _calibration_error(probabilities, labels),
    }
    return {name: float(value) for name, value in values.items()}


def _counted(confusion: Tensor) -> dict[str, Tensor]:
    """Metrics of the (C, C) confusion matrix, rows being the true classes."""
    hits, support, predicted = confusion.diag(), confusion.sum(dim=1), confusion.sum(dim=0)
    present, seen = support > 0, support + predicted > 0
    recall = hits[present] / support[present]
    values = {
        "accuracy": hits.sum() / support.sum(),
        "balanced_accuracy": recall.mean(),
        "macro_f1": (2 * hits[seen] / (support + predicted)[seen]).mean(),
    }
    if len(confusion) == 2 and bool(present.all()):
        values |= {"sensitivity": recall[1], "specificity": recall[0]}
    return values


def _ranked(probabilities: Tensor, labels: Tensor, present: Tensor) -> dict[str, Tensor]:
    """AUROC and average precision, one class against the rest; they need two classes in ``labels``.

    A class that no image has is left out.
    """
    occurring = present.nonzero().flatten().tolist()
    if len(occurring) < 2:
        return {}
    positives = [1] if len(present) == 2 else occurring
    curves = [_cumulated(probabilities[:, index], labels == index) for index in positives]
    return {
        "auroc": torch.stack([_auroc(*curve) for curve in curves]).mean(),
        "average_precision": torch.stack([_average_precision(*curve) for curve in curves]).mean(),
    }


def _cumulated(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Negatives and positives (T,) int64 that score at least each of T distinct scores, falling."""
    order = scores.argsort(descending=True)
    scores, hits = scores[order], positive[order].long().cumsum(dim=0)
    ends = F.pad(scores.diff().nonzero().flatten(), [0, 1], value=len(scores) - 1)
    hits = hits[ends]
    return 1 + ends - hits, hits


def _auroc(negatives: Tensor, positives: Tensor) -> Tensor:
    """Area under the ROC curve by the trapezoidal rule."""
    negatives, positives = (F.pad(counts, [1, 0]) for counts in (negatives, positives))
    return torch.trapezoid(positives / positives[-1], negatives / negatives[-1])


def _average_precision(negatives: Tensor, positives: Tensor) -> Tensor:
    """Precision at each score, weighted by the recall that it adds."""
    precision, recall = (
        positives / (positives + negatives),
        F.pad(positives / positives[-1], [1, 0]),
    )
    return torch.sum((recall.diff() * precision).flip(0))


def _calibration_error(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Expected calibration error of the predicted class, in equal bins of confidence."""
    confidence, predicted = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, ECE_BINS + 1, device=confidence.device)
    bins = torch.bucketize(confidence, edges, right=True) - 1
    right = predicted.eq(labels).to(confidence)
    counts, sure, correct = (
        torch.zeros_like(edges).scatter_add_(0, bins, values)
        for values in (torch.ones_like(confidence), confidence, right)
    )
    gaps = (correct / counts).nan_to_num() - (sure / counts).nan_to_num()
    return torch.sum(gaps.abs() * (counts / counts.sum()))
