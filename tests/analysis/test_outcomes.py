"""Scores from stored probabilities against what trials and scikit-learn make of the same images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss

from raybench.analysis.outcomes import BINS, bin_edges, confidence_bins, proper_scores
from raybench.trial.metrics import ECE_BINS, classification_metrics
from tests.predictions import make_predictions, random_predictions


def ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    hits = probabilities.argmax(axis=1) == labels
    return confidence_bins(probabilities.max(axis=1), hits).error


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_scores_are_those_of_the_trial(classes: int) -> None:
    torch.manual_seed(classes)
    logits = 3 * torch.randn(400, classes)
    labels = torch.randint(classes, (400,))
    expected = classification_metrics(logits, labels)
    probabilities = logits.softmax(dim=1).numpy()
    nll, brier = proper_scores(probabilities, labels.numpy())
    assert nll == pytest.approx(expected["nll"], rel=1e-5)
    assert brier == pytest.approx(expected["brier"], rel=1e-5)
    assert ece(probabilities, labels.numpy()) == pytest.approx(expected["ece"], rel=1e-5)


def test_scores_are_those_of_scikit_learn() -> None:
    found = random_predictions(200, 4, seed=1)
    nll, brier = proper_scores(found.probabilities, found.labels)
    exact = found.probabilities.astype(float)
    exact /= exact.sum(axis=1, keepdims=True)
    assert nll == pytest.approx(log_loss(found.labels, exact), rel=1e-6)
    one_against_rest = [
        brier_score_loss(found.labels == c, np.clip(exact[:, c], 0, 1)) for c in range(4)
    ]
    assert brier == pytest.approx(sum(one_against_rest), rel=1e-6)


def test_bins_are_those_of_torch_also_for_votes() -> None:
    """kNN's votes (3 of 5 neighbours: 0.6 = 9 / 15) stand on the edges."""
    assert BINS == ECE_BINS
    edges = torch.linspace(0, 1, BINS + 1).numpy()
    np.testing.assert_array_max_ulp(bin_edges(), edges, 1)  # one CPU fuses, another does not
    votes = torch.tensor([[k / 5, 1 - k / 5] for k in range(6)] + [[1 / 3, 2 / 3]])
    places = torch.bucketize(votes, torch.linspace(0, 1, BINS + 1), right=True) - 1
    for vote, place in zip(votes.numpy().ravel(), places.ravel().tolist(), strict=True):
        bins = confidence_bins(np.array([vote], dtype=np.float32), np.array([True]))
        assert bins.counts.argmax() == place


def test_calibration_error_by_hand() -> None:
    """Two of four right at 0.9, gap 0.4; one of one right at 0.6, gap 0.4 the other way."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]], dtype=np.float32)
    assert ece(probabilities, np.array([0, 0, 1, 1, 1])) == pytest.approx(0.4)


def test_a_probability_of_zero_costs_much_but_not_everything() -> None:
    found = make_predictions([1], np.array([[1.0, 0.0]]))
    nll, brier = proper_scores(found.probabilities, found.labels)
    assert 100 < nll < 110 and brier == 2.0
