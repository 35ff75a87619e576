"""Every metric equals scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from torch import Tensor

from raybench.trial.metrics import classification_metrics


def sample(images: int, classes: int, absent: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(images + classes)
    logits = torch.randn(images, classes, generator=generator)
    occurring = [index for index in range(classes) if index not in absent]
    labels = torch.tensor([occurring[i % len(occurring)] for i in range(images)])
    logits[torch.arange(images), labels] += 0.7
    return logits, labels


def close(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-5, abs_tol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_they_equal_scikit_learns(classes: int) -> None:
    logits, labels = sample(101, classes)
    found = classification_metrics(logits, labels)
    scores, truth = logits.double().softmax(dim=1).numpy(), labels.numpy()
    predicted, one_hot = scores.argmax(axis=1), np.eye(classes)[labels.numpy()]
    binary = classes == 2
    ranked = scores[:, 1] if binary else scores
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, predicted),
        "macro_f1": reference.f1_score(truth, predicted, average="macro"),
        "nll": reference.log_loss(truth, scores),
        "brier": reference.brier_score_loss(truth, scores, scale_by_half=False),
        "auroc": reference.roc_auc_score(truth, ranked, multi_class="ovr"),
        "average_precision": reference.average_precision_score(
            truth if binary else one_hot, ranked, average="macro"
        ),
    }
    if binary:
        expected["sensitivity"] = reference.recall_score(truth, predicted, pos_label=1)
        expected["specificity"] = reference.recall_score(truth, predicted, pos_label=0)
    assert found.keys() == expected.keys() | {"ece"}
    for name, value in expected.items():
        assert close(found[name], value), name


def test_expected_calibration_error() -> None:
    # Half of the images are predicted at 0.8 and all right, the others at 0.6 and all wrong.
    probabilities = torch.tensor([[0.8, 0.2]] * 4 + [[0.6, 0.4]] * 4)
    labels = torch.tensor([0] * 4 + [1] * 4)
    found = classification_metrics(probabilities.log(), labels)
    assert close(found["ece"], 0.5 * 0.2 + 0.5 * 0.6)


@pytest.mark.parametrize("classes", [2, 4])
def test_equal_scores_are_ranked_as_one(classes: int) -> None:
    logits, labels = sample(200, classes)
    found = classification_metrics(logits.round(), labels)
    scores, truth = logits.round().softmax(dim=1).numpy(), labels.numpy()
    assert len(np.unique(scores)) < scores.size / 2, "many are equal"
    columns = [1] if classes == 2 else range(classes)
    for name, score in (
        ("auroc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
    ):
        expected = np.mean([score(truth == c, scores[:, c]) for c in columns])
        assert close(found[name], float(expected)), name


def test_certainty_has_a_bin_of_its_own_edge() -> None:
    logits = torch.tensor([[200.0, 0.0]] * 3 + [[0.0, 200.0]])
    found = classification_metrics(logits, torch.tensor([0, 0, 1, 1]))
    assert close(found["ece"], 0.25)


def test_a_class_without_images_does_not_count() -> None:
    logits, labels = sample(60, 4, absent=(2,))
    found = classification_metrics(logits, labels)
    scores, truth = logits.double().softmax(dim=1).numpy(), labels.numpy()
    predicted = scores.argmax(axis=1)
    assert set(predicted) == {0, 1, 2, 3}
    recalls = [float((predicted[truth == c] == c).mean()) for c in (0, 1, 3)]
    assert close(found["balanced_accuracy"], float(np.mean(recalls)))
    assert close(found["macro_f1"], reference.f1_score(truth, predicted, average="macro"))
    aurocs = [reference.roc_auc_score(truth == c, scores[:, c]) for c in (0, 1, 3)]
    assert close(found["auroc"], float(np.mean(aurocs)))


@pytest.mark.parametrize("classes", [2, 5])
def test_what_one_class_leaves_undefined_is_absent(classes: int) -> None:
    logits = torch.randn(8, classes, generator=torch.Generator().manual_seed(0))
    found = classification_metrics(logits, torch.zeros(8, dtype=torch.int64))
    assert not found.keys() & {"auroc", "average_precision", "sensitivity", "specificity"}
    assert {"accuracy", "balanced_accuracy", "macro_f1", "nll", "brier", "ece"} == found.keys()
    assert all(math.isfinite(value) for value in found.values())
