"""Classifiers on features, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from raybench.errors import DataError
from raybench.trial import heads
from raybench.trial.heads import fit_linear, fit_neighbors
from raybench.trial.recipe import class_weights

CPU = torch.device("cpu")
CLASSES = 4


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    """160 images, 12 features; classes overlap and are of different sizes; one feature is dead."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3, 1, 0]).repeat(16)
    features = torch.randn(160, 12, generator=generator) * torch.logspace(-2, 2, 12) + 3
    features[:, :CLASSES] += 0.02 * torch.nn.functional.one_hot(labels, CLASSES)
    features[:, 5] = 7.3
    return features, labels


@pytest.mark.parametrize("balance", ["none", "balanced"])
@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_linear_probe_is_scikit_learns(
    data: tuple[Tensor, Tensor], l2: float, balance: str
) -> None:
    features, labels = data
    weight = class_weights(labels.numpy(), CLASSES, balance)
    head = fit_linear(features, labels, CLASSES, l2, weight, 0.0, CPU)
    inputs = ((features.double() - head.mean) / head.std).numpy()
    theirs = LogisticRegression(
        C=1 / (len(labels) * l2), tol=1e-9, max_iter=5000,
        class_weight=None if balance == "none" else "balanced",
    ).fit(inputs, labels.numpy())  # fmt: skip
    ours = head.logits(features).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(inputs), atol=1e-4)
    assert head.converged and head.iterations > 1


@pytest.mark.parametrize("l2", [1e-2, 1.0])
def test_more_features_than_images_end_at_the_same_minimum(l2: float) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(CLASSES).repeat(10)
    features = torch.randn(40, 90, generator=generator) + 0.3 * labels[:, None]
    features[:, 7] = 1.5
    head = fit_linear(features, labels, CLASSES, l2, None, 0.0, CPU)
    assert head.weight.shape == (CLASSES, 90) and head.converged
    inputs = ((features.double() - head.mean) / head.std).numpy()
    theirs = LogisticRegression(C=1 / (len(labels) * l2), tol=1e-9, max_iter=5000)
    theirs.fit(inputs, labels.numpy())
    np.testing.assert_allclose(head.weight.numpy(), theirs.coef_, atol=1e-5)
    unseen = torch.randn(9, 90, generator=generator)
    expected = theirs.predict_proba(((unseen.double() - head.mean) / head.std).numpy())
    np.testing.assert_allclose(head.logits(unseen).softmax(1).numpy(), expected, atol=1e-4)


def test_features_are_standardised_and_a_constant_one_stays_finite(
    data: tuple[Tensor, Tensor],
) -> None:
    features, labels = data
    head = fit_linear(features, labels, CLASSES, 1e-2, None, 0.0, CPU)
    np.testing.assert_allclose(head.mean.numpy(), features.double().mean(dim=0).numpy())
    np.testing.assert_allclose(head.std[0].item(), features[:, 0].double().std(correction=0))
    assert head.std[5] == 1.0
    assert float(head.weight[:, 5].abs().max()) < 1e-12
    scaled = fit_linear(features * 100, labels, CLASSES, 1e-2, None, 0.0, CPU)
    assert torch.allclose(scaled.logits(features * 100), head.logits(features), atol=1e-4)


def test_a_folded_head_needs_no_standardisation(data: tuple[Tensor, Tensor]) -> None:
    features, labels = data
    head = fit_linear(features, labels, CLASSES, 1e-2, None, 0.0, CPU)
    folded = torch.nn.functional.linear(features, *head.folded())
    assert torch.allclose(folded, head.logits(features), atol=1e-3)


def test_smoothing_and_a_stronger_penalty_make_it_less_sure(data: tuple[Tensor, Tensor]) -> None:
    features, labels = data

    def confidence(l2: float, smoothing: float) -> float:
        head = fit_linear(features, labels, CLASSES, l2, None, smoothing, CPU)
        return float(head.logits(features).softmax(dim=1).max(dim=1).values.mean())

    assert confidence(1e-4, 0.2) < confidence(1e-4, 0.0)
    assert confidence(1.0, 0.0) < confidence(1e-4, 0.0)
    assert confidence(1e6, 0.0) == pytest.approx(0.5, abs=1e-3)


def test_not_converging_is_said(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MAX_ITERATIONS", 3)
    head = fit_linear(*data, CLASSES, 1e-4, None, 0.0, CPU)
    assert not head.converged and head.iterations == 3


def test_the_thread_count_is_left_as_it_was(data: tuple[Tensor, Tensor]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit_linear(*data, CLASSES, 1.0, None, 0.0, CPU)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("neighbors", [1, 5, 100])
def test_knn_is_scikit_learns(data: tuple[Tensor, Tensor], neighbors: int) -> None:
    features, labels = data
    bank, queries = features[:100], features[100:]
    ours = fit_neighbors(bank, labels[:100], CLASSES, neighbors, None, CPU).logits(queries)
    theirs = KNeighborsClassifier(
        neighbors, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(bank.numpy(), labels[:100].numpy())
    expected = theirs.predict_proba(queries.numpy())
    np.testing.assert_allclose(ours.exp().numpy(), expected, atol=1e-4)
    assert bool(ours.isfinite().all())  # a class without a vote too
    assert torch.allclose(ours.exp().sum(dim=1), torch.ones(60))


def test_no_training_image_is_its_own_neighbour(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = data
    head = fit_neighbors(features, labels, CLASSES, 5, None, CPU)
    whole = head.own_logits()
    others = torch.arange(1, 160)
    alone = fit_neighbors(features[others], labels[others], CLASSES, 4, None, CPU)
    own = fit_neighbors(features, labels, CLASSES, 4, None, CPU).own_logits()
    assert torch.allclose(own[:1], alone.logits(features[:1]), atol=1e-4)
    monkeypatch.setattr(heads, "_SIMILARITIES", 1000)  # six images at a time
    assert torch.allclose(head.own_logits(), whole, atol=1e-5)
    everyone = fit_neighbors(features, labels, CLASSES, 160, None, CPU).own_logits()
    assert bool(everyone.isfinite().all())


def test_class_weights_weigh_votes(data: tuple[Tensor, Tensor]) -> None:
    features, labels = data
    weight = torch.tensor([1.0, 1.0, 1.0, 1e6])
    head = fit_neighbors(features, labels, CLASSES, 160, weight, CPU)
    assert head.logits(features).argmax(dim=1).tolist() == [3] * 160


def test_more_neighbours_than_images(data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(DataError, match="recipe.neighbors 161 is larger .* give 160 or less"):
        fit_neighbors(*data, CLASSES, 161, None, CPU)
