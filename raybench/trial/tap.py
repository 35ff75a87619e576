"""A backbone's last layer: what enters it, and another one in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raybench.backbones.backbone import Backbone
from raybench.trial.failures import ModelError
from raybench.trial.heads import LinearHead

HEAD_TENSORS = ("weight", "bias", "mean", "std")
"""Of ``LinearHead.tensors``."""


class FeatureTap(contextlib.AbstractContextManager["FeatureTap"]):
    """Listens to what enters a backbone's last layers (a distilled model has two)."""

    def __init__(self, backbone: Backbone) -> None:
        self.layers = classifier_layers(backbone)
        self._inputs: list[Tensor] = []
        self._hooks = [layer.register_forward_pre_hook(self._listen) for layer in self.layers]

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def take(self) -> Tensor:
        """(B, D) float32 of the latest forward pass; the mean of two layers' inputs."""
        inputs, self._inputs = self._inputs, []
        if len(inputs) != len(self.layers):
            raise ModelError(
                "the model does not call its last layer once per image batch, so it has no "
                "features for linear_probe and knn; use recipe.method finetune"
            )
        return torch.stack(inputs).mean(dim=0)

    def _listen(self, layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        entered = arguments[0].detach().float()
        if isinstance(layer, nn.Conv2d):
            entered = entered.mean(dim=(2, 3))  # a convolution comes before the pooling
        self._inputs.append(entered.flatten(1, -2).mean(dim=1) if entered.ndim > 2 else entered)


def classifier_layers(backbone: Backbone) -> list[nn.Module]:
    """The modules that hold the classifier's parameters."""
    names = dict.fromkeys(name.rpartition(".")[0] for name in backbone.head_parameter_names)
    return [backbone.model.get_submodule(name) for name in names]


@torch.no_grad()
def network_with(backbone: Backbone, head: LinearHead, images: Tensor) -> dict[str, Tensor] | None:
    """The backbone's tensors with ``head`` as its last layer; None where that is not its end.

    What comes after the layer, if anything does, shows on any ``images`` (B, 3, H, W), normalised.
    """
    with FeatureTap(backbone) as tap:
        if not _replace_classifier(tap.layers, head):
            return None
        given = backbone.model.eval()(images)
        expected = head.logits(tap.take())
    close = torch.allclose(given, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    return dict(backbone.model.state_dict()) if close else None


def _replace_classifier(layers: list[nn.Module], head: LinearHead) -> bool:
    weight, bias = head.folded()
    for layer in layers:
        own_weight, own_bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if own_weight is None or own_bias is None or own_weight.numel() != weight.numel():
            return False
        own_weight.copy_(weight.view_as(own_weight))
        own_bias.copy_(bias)
    return True


class ProbedNetwork(nn.Module):
    """A backbone and a linear classifier on what enters its last layer, which counts no more.

    For backbones that do not end in a layer that the classifier could replace.

    Args:
        backbone: with its trained weights.
        head: ``LinearHead.tensors``; in float64, as they were fitted, wherever the device has it.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, head: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = backbone.model
        for name in HEAD_TENSORS:
            self.register_buffer(name, head[name])
        self._tap = FeatureTap(backbone)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C) logits of (B, 3, H, W) images, normalised."""
        self.network(images)
        inputs = (self._tap.take().to(self.mean) - self.mean) / self.std
        return F.linear(inputs, self.weight, self.bias).float()
