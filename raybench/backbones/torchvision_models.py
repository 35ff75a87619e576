"""Backbones from torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from raybench.backbones.backbone import (
    Backbone,
    Request,
    as_triple,
    last_layer,
    make_backbone,
    no_drop_path,
)
from raybench.backbones.index import split_name
from raybench.backbones.weights import load_weights, read_weights

if TYPE_CHECKING:
    from torch import nn


def build_torchvision(request: Request) -> Backbone:
    """A torchvision classifier; its own constructor makes the new classifier."""
    from torchvision import models

    name = split_name(request.spec.name)[1]
    arguments = {**_arguments(name, request.image_size), **request.spec.kwargs}
    model = models.get_model(name, weights=None, num_classes=request.classes, **arguments)
    head = last_layer(model, request.classes)
    enum = models.get_model_weights(name)
    weights = enum[request.tag] if request.tag else enum.DEFAULT
    if request.weights:
        state = read_weights(request.weights.path)
        state = _fitting(name, model, state, request.image_size)
        load_weights(model, state, head, str(request.weights.path))
    _set_drop_path(request, model)
    transforms = weights.transforms()
    mean, std = as_triple(transforms.mean), as_triple(transforms.std)
    return make_backbone(model, "torchvision", mean, std, head)


def _arguments(name: str, image_size: int) -> dict[str, Any]:
    """What some constructors need: the image size, or no auxiliary outputs.

    GoogLeNet and Inception were trained on other means; ``transform_input`` translates, and is set
    for every kind of weights, so that one name always means one normalisation.
    """
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "transform_input": True, "init_weights": True}
    if name.startswith("vit_"):
        return {"image_size": image_size}
    if name.startswith("maxvit_"):
        return {"input_size": (image_size, image_size)}
    return {}


def _fitting(name: str, model: nn.Module, state: dict[str, Any], image_size: int) -> dict[str, Any]:
    """The state with position embeddings for this size, and without auxiliary classifiers."""
    if name.startswith("vit_") and "encoder.pos_embedding" in state:
        from torchvision.models.vision_transformer import interpolate_embeddings

        state = interpolate_embeddings(image_size, cast(Any, model).patch_size, state)
    if name in ("googlenet", "inception_v3"):
        state = {k: v for k, v in state.items() if not k.startswith(("aux1.", "aux2.", "AuxLog"))}
    return state


def _set_drop_path(request: Request, model: nn.Module) -> None:
    """Rates grow linearly with depth (Huang et al. 2016), as torchvision's constructors do it.

    Set here because some constructors (Swin's) fix their own and take no argument.
    """
    from torchvision.ops import StochasticDepth

    if "stochastic_depth_prob" in request.spec.kwargs:
        return
    layers = [module for module in model.modules() if isinstance(module, StochasticDepth)]
    if not layers and request.drop_path > 0:
        raise no_drop_path(request)
    for depth, layer in enumerate(layers):
        layer.p = request.drop_path * depth / max(1, len(layers) - 1)
