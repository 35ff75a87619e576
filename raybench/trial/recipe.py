"""A recipe's parts: optimizer, loss, mixing, weight average. timm's and torch's own, not ours."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup, mixup_target
from timm.optim._param_groups import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

from raybench.spec import Recipe, Stage

_log = logging.getLogger(__name__)


def make_optimizer(
    model: nn.Module, recipe: Recipe, stage: Stage, head_names: Iterable[str]
) -> torch.optim.Optimizer:
    """AdamW or SGD of one stage; fused, since a step over many small tensors is launch-bound."""
    groups = parameter_groups(model, recipe, head_names)
    lr = recipe.lr if stage.lr is None else stage.lr
    if stage.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=stage.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def parameter_groups(
    model: nn.Module, recipe: Recipe, head_names: Iterable[str]
) -> list[dict[str, Any]]:
    """Groups by timm: no decay on biases, norms and what the model exempts; layer decay.

    A model that does not tell timm its layers (torchvision's, the user's) is cut into groups of 12
    parameters, with ``head_names`` as the head that keeps the full learning rate.
    """
    exempt: Collection[str] = getattr(model, "no_weight_decay", tuple)()
    if recipe.layer_decay == 1.0:
        return list(
            param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=exempt)
        )
    if not hasattr(model, "group_matcher") and not hasattr(model, "pretrained_cfg"):
        model.pretrained_cfg = {"classifier": tuple(head_names)}  # type: ignore[assignment]
    return list(
        param_groups_layer_decay(
            model,
            weight_decay=recipe.weight_decay,
            no_weight_decay_list=exempt,
            layer_decay=recipe.layer_decay,
        )
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> float:
    """Sets every group's rate, scaled by its layer; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    return float(optimizer.param_groups[0]["lr"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: ``<parameter index>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of ``optimizer_tensors``.

    Each tensor takes its parameter's memory layout: the fused kernels walk raw memory, and files
    hold the standard layout while convolution weights lie channels-last.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        like = parameter.detach() if value.shape == parameter.shape else value
        target = torch.empty_like(like, dtype=value.dtype, device=parameter.device)
        optimizer.state[parameter][name] = target.copy_(value)


def class_weights(labels: npt.NDArray[np.int64], classes: int, kind: str) -> Tensor | None:
    """(C,) float32 for the loss; ``balanced`` is scikit-learn's N / (C x images of the class)."""
    if kind == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


class Mixer:
    """timm's Mixup and CutMix for batches of any size. Draws from NumPy's global generator."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        self.active = recipe.mixup > 0 or recipe.cutmix > 0
        self.smoothing = recipe.smoothing
        self.classes = classes
        self.mixup = Mixup(
            mixup_alpha=recipe.mixup,
            cutmix_alpha=recipe.cutmix,
            label_smoothing=recipe.smoothing,
            num_classes=classes,
        )

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes in place; the targets are (B, C) probabilities, smoothed.

        timm mixes image i with image B-1-i and refuses an odd B: the odd one out stays as it is.
        """
        even = len(images) // 2 * 2
        parts = []
        if even:
            _, mixed = self.mixup(images[:even], labels[:even])
            parts.append(mixed)
        if even < len(images):
            rest = mixup_target(labels[even:], self.classes, smoothing=self.smoothing)
            parts.append(rest)
        return images, torch.cat(parts)


def training_loss(
    logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float
) -> Tensor:
    """Cross-entropy over labels (B,), smoothed here, or (B, C) targets that ``Mixer`` smoothed."""
    if target.ndim == 2:
        return F.cross_entropy(logits, target, weight=weight)
    return F.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
