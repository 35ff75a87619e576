"""Metrics of one split, from logits and labels of all its images. Undefined ones are absent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

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
    confusion = multiclass_confusion_matrix(logits.argmax(dim=1), labels, classes)
    values = {
        **_counted(confusion.to("cpu", torch.float64)),
        **_ranked(probabilities, labels, present=confusion.sum(dim=1) > 0),
        "nll": F.cross_entropy(logits, labels),
        "brier": (probabilities - F.one_hot(labels, classes)).square().sum(dim=1).mean(),
        "ece": multiclass_calibration_error(
            probabilities, labels, classes, n_bins=ECE_BINS, validate_args=False
        ),
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

    torchmetrics' multiclass forms warn about, and count as 0, a class that no image has.
    """
    occurring = present.nonzero().flatten().tolist()
    if len(occurring) < 2:
        return {}
    positives = [1] if len(present) == 2 else occurring
    pairs = [(probabilities[:, index], (labels == index).long()) for index in positives]
    return {
        "auroc": torch.stack([binary_auroc(p, y, validate_args=False) for p, y in pairs]).mean(),
        "average_precision": torch.stack(
            [binary_average_precision(p, y, validate_args=False) for p, y in pairs]
        ).mean(),
    }
