"""Classifiers on frozen features: logistic regression and weighted nearest neighbours.

Both are deterministic: no draw is made, and sums run in one order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from raybench.errors import DataError
from raybench.trial.recipe import training_loss

# Measured on real features of 10 classes (192 to 1280 wide) against 1e-10: from l2 1e-4 on at most
# one of 240 predicted classes differs, from 1e-2 on probabilities by less than 2e-4. Below, classes
# that can be separated have their optimum far out, and whatever stops early regularises. The most
# iterations seen are 320; with a history of 20 steps some needed more than 2000.
GRADIENT_TOLERANCE = 1e-7
CHANGE_TOLERANCE = 1e-12
MAX_ITERATIONS = 2000
_HISTORY = 100
_HISTORY_VALUES = 1 << 26  # of two vectors per step in float64: 1 GiB
_SMALL_PRODUCT = 1 << 28  # multiplications: about 10 ms

TEMPERATURE = 0.07  # Wu et al. 2018 (arXiv 1805.01978), and DINO's evaluation
# A class without a vote still needs a probability above 0 for its log: that of float32's rounding.
_FLOOR = torch.finfo(torch.float32).eps
_SIMILARITIES = 1 << 25  # at once: 128 MB


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Multinomial logistic regression on standardised features; float64, on the fitting device.

    Attributes:
        weight: (C, D). bias: (C,).
        mean: (D,), of the training images. std: (D,), 1 where a feature is constant among them.
        iterations: of L-BFGS. converged: whether it ended by its tolerances.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor
    iterations: int
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) float32 on the CPU, of (N, D) features."""
        inputs = (features.to(self.mean) - self.mean) / self.std
        return F.linear(inputs, self.weight, self.bias).float().cpu()

    def tensors(self) -> dict[str, Tensor]:
        named = {"weight": self.weight, "bias": self.bias, "mean": self.mean, "std": self.std}
        return {name: tensor.float().cpu() for name, tensor in named.items()}

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (C, D) and bias (C,) for features as they are: a network's last layer."""
        weight = self.weight / self.std
        return weight.float().cpu(), (self.bias - weight @ self.mean).float().cpu()


def fit_linear(
    features: Tensor,
    labels: Tensor,
    classes: int,
    l2: float,
    class_weight: Tensor | None,
    smoothing: float,
    device: torch.device,
    poll: Callable[[], None] = lambda: None,
) -> LinearHead:
    """Minimises mean cross-entropy + l2 / 2 * ||weight||^2 by full-batch L-BFGS from zero.

    scikit-learn's ``C`` is 1 / (N * l2); like there, the bias is not penalised.

    Args:
        features: (N, D) float32.
        labels: (N,) int64.
        classes: C.
        l2: strength of the penalty.
        class_weight: (C,) or None, for the loss.
        smoothing: of the labels.
        device: where to fit; MPS has no float64, so the CPU stands in for it.
        poll: called at every evaluation of the loss; may raise.
    """
    place = torch.device("cpu") if device.type == "mps" else device
    raw, target = features.to(place, torch.float64), labels.to(place)
    mean, std = _statistics(raw)
    balance = None if class_weight is None else class_weight.to(raw)
    with _threads_for(raw.numel() * classes):
        inputs, basis = _spanned((raw - mean) / std)
        weight = inputs.new_zeros(classes, inputs.shape[1]).requires_grad_()
        bias = inputs.new_zeros(classes).requires_grad_()

        def loss_of() -> Tensor:
            poll()
            loss = training_loss(F.linear(inputs, weight, bias), target, balance, smoothing)
            return loss + 0.5 * l2 * weight.square().sum()

        iterations, converged = _minimise([weight, bias], loss_of)
        found = weight.detach() if basis is None else weight.detach() @ basis
    return LinearHead(found, bias.detach(), mean, std, iterations, converged)


def _spanned(inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """With fewer images than features: (N, N) coordinates in the images' span, its (N, D) basis.

    The penalised optimum lies in that span, lengths stay what they are, and each step is shorter:
    for 600 images of 1280 features a fit took 0.6 of the time, to the same minimum.
    """
    if inputs.shape[0] >= inputs.shape[1]:
        return inputs, None
    basis, coordinates = torch.linalg.qr(inputs.T)
    return coordinates.T.contiguous(), basis.T


def _minimise(parameters: list[Tensor], loss_of: Callable[[], Tensor]) -> tuple[int, bool]:
    """L-BFGS steps taken, and whether it ended by its tolerances."""
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=MAX_ITERATIONS,
        max_eval=2 * MAX_ITERATIONS,
        tolerance_grad=GRADIENT_TOLERANCE,
        tolerance_change=CHANGE_TOLERANCE,
        history_size=max(10, min(_HISTORY, _HISTORY_VALUES // parameters[0].numel())),
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    state = optimizer.state[parameters[0]]
    iterations = int(state["n_iter"])
    return iterations, iterations < MAX_ITERATIONS and state["func_evals"] < 2 * MAX_ITERATIONS


@contextlib.contextmanager
def _threads_for(product: int) -> Iterator[None]:
    """One thread for small products.

    L-BFGS makes thousands of short steps, and threads that wait for each other at every one of them
    were ten times slower than one thread where the cores had other work too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if product < _SMALL_PRODUCT else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (of the population, as scikit-learn's) of each feature.

    A spread within float32's rounding of the mean is none: scaled to 1 it would be pure noise.
    """
    mean, std = features.mean(dim=0), features.std(dim=0, correction=0)
    constant = std <= 1e-6 * mean.abs()
    return mean, torch.where(constant, 1.0, std)


@dataclass(frozen=True, slots=True)
class NeighborHead:
    """k nearest neighbours by cosine, each voting with exp(similarity / 0.07).

    Attributes:
        bank: (N, D) float32, training features of length 1, on the device.
        labels: (N,) int64, theirs, on the CPU.
        votes: (C,) float32, weight of a neighbour of each class.
        neighbors: k.
    """

    bank: Tensor
    labels: Tensor
    votes: Tensor
    neighbors: int

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) float32 log-probabilities on the CPU, of (N, D) features."""
        return self._logits(F.normalize(features.to(self.bank), dim=1), own=False)

    def own_logits(self) -> Tensor:
        """Those of the training images themselves, none of which is its own neighbour."""
        return self._logits(self.bank, own=True)

    def _logits(self, queries: Tensor, own: bool) -> Tensor:
        rows = max(1, _SIMILARITIES // len(self.bank))
        parts = []
        for start in range(0, len(queries), rows):
            similarity = queries[start : start + rows] @ self.bank.T
            if own:
                similarity.diagonal(start).fill_(-torch.inf)
            parts.append(self._vote(*(t.cpu() for t in similarity.topk(self.neighbors, dim=1))))
        return torch.cat(parts)

    def _vote(self, similarity: Tensor, nearest: Tensor) -> Tensor:
        """On the CPU: scattered sums on a GPU come in any order."""
        labels = self.labels[nearest]
        weight = ((similarity - similarity[:, :1]) / TEMPERATURE).exp() * self.votes[labels]
        votes = weight.new_zeros(len(weight), len(self.votes)).scatter_add_(1, labels, weight)
        probabilities = (votes / votes.sum(dim=1, keepdim=True)).clamp_min(_FLOOR)
        return (probabilities / probabilities.sum(dim=1, keepdim=True)).log()


def fit_neighbors(
    features: Tensor,
    labels: Tensor,
    classes: int,
    neighbors: int,
    class_weight: Tensor | None,
    device: torch.device,
) -> NeighborHead:
    """Remembers (N, D) float32 features and their labels (N,); arguments as ``fit_linear``'s.

    Raises:
        DataError: more neighbours than images.
    """
    if neighbors > len(features):
        raise DataError(
            f"recipe.neighbors {neighbors} is larger than the training split of {len(features)} "
            f"images; give {len(features)} or less"
        )
    bank = F.normalize(features.to(device), dim=1)
    votes = torch.ones(classes) if class_weight is None else class_weight.cpu()
    return NeighborHead(bank, labels.cpu(), votes, neighbors)
