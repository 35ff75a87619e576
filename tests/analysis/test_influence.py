"""Contributions of images: their mean is the metric, their slopes and spreads are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk

from raybench.analysis.influence import influence
from raybench.predictions import Predictions
from raybench.trial.metrics import classification_metrics
from tests.predictions import from_hits, make_predictions, random_predictions

NAMES = (
    "accuracy balanced_accuracy macro_f1 auroc average_precision sensitivity specificity nll brier "
    "ece"
).split()
OF_TWO = {("sensitivity", 5), ("specificity", 5)}  # not defined for more classes


def metrics_of(predictions: Predictions) -> dict[str, float]:
    logits = torch.from_numpy(predictions.probabilities).log()
    return classification_metrics(logits, torch.from_numpy(predictions.labels))


@pytest.mark.parametrize(
    ("name", "classes"),
    [(name, classes) for name in NAMES for classes in (2, 5) if (name, classes) not in OF_TWO],
)
def test_the_mean_is_the_metric_that_trials_report(name: str, classes: int) -> None:
    found = random_predictions(300, classes, seed=classes)
    expected = metrics_of(found)
    values = influence(f"test/{name}", found)
    assert values is not None and values.shape == (300,)
    assert values.mean() == pytest.approx(expected[name], abs=2e-6)


def weighted(name: str, found: Predictions, weights: NDArray[Any]) -> float:
    """scikit-learn's metric with a weight per image."""
    labels, scores = found.labels, found.probabilities.astype(np.float64)
    guesses = scores.argmax(axis=1)
    one_hot = np.eye(scores.shape[1])[labels]
    compute = {
        "accuracy": lambda: sk.accuracy_score(labels, guesses, sample_weight=weights),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(
            labels, guesses, sample_weight=weights
        ),
        "macro_f1": lambda: sk.f1_score(labels, guesses, average="macro", sample_weight=weights),
        "auroc": lambda: sk.roc_auc_score(one_hot, scores, sample_weight=weights),
        "average_precision": lambda: sk.average_precision_score(
            one_hot, scores, sample_weight=weights
        ),
        "nll": lambda: sk.log_loss(labels, scores, sample_weight=weights),
    }
    return float(compute[name]())


@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
@pytest.mark.parametrize("name", NAMES[:5] + ["nll"])
def test_slopes_are_those_of_weighted_scikit_learn(name: str) -> None:
    """d metric / d weight of an image is (contribution - mean) / N."""
    found = random_predictions(120, 4, seed=3)
    values = influence(f"test/{name}", found)
    assert values is not None
    step = 1e-5
    for image in (0, 1, 17, 60, 119):
        weights = np.ones(120)
        weights[image] += step
        slope = (weighted(name, found, weights) - weighted(name, found, np.ones(120))) / step
        assert slope == pytest.approx((values[image] - values.mean()) / 120, abs=2e-6)


@pytest.mark.parametrize("name", ["macro_f1", "auroc", "average_precision", "ece"])
def test_the_spread_is_that_of_the_plain_bootstrap(name: str) -> None:
    found = random_predictions(400, 3, seed=8, skill=0.3)
    values = influence(f"test/{name}", found)
    assert values is not None
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(250):
        rows = rng.integers(0, 400, 400)
        again = make_predictions(found.labels[rows], found.probabilities[rows].astype(np.float64))
        contributions = influence(f"test/{name}", again)
        assert contributions is not None
        draws.append(contributions.mean())
    assert values.std(ddof=1) / 20 == pytest.approx(np.std(draws, ddof=1), rel=0.15)


def test_ties_count_half_in_the_auroc() -> None:
    scores = np.array([0.2, 0.5, 0.5, 0.9])
    found = make_predictions([0, 0, 1, 1], np.stack([1 - scores, scores], axis=1))
    values = influence("test/auroc", found)
    assert values is not None and values.mean() == pytest.approx(3.5 / 4)


def test_accuracy_by_hand() -> None:
    values = influence("test/accuracy", from_hits([1, 0, 1, 1]))
    assert values is not None and values.tolist() == [1, 0, 1, 1]


def test_what_is_undefined_is_none() -> None:
    single = from_hits([1, 0, 1])  # one class only
    assert influence("test/auroc", single) is None
    assert influence("test/sensitivity", single) is None
    assert influence("test/unheard_of", single) is None
    empty = replace(single, labels=single.labels[:0], probabilities=single.probabilities[:0])
    assert influence("test/accuracy", empty) is None


def test_a_probability_of_zero_costs_much_but_not_everything() -> None:
    values = influence("test/nll", make_predictions([0], np.array([[0.0, 1.0]])))
    assert values is not None and 80 < values[0] < 100
