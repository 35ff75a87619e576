"""One backbone with a fresh classifier, ready to be trained, and what must be known of it."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from raybench.backbones.backbone import (
    DEFAULT_MEAN,
    DEFAULT_STD,
    Backbone,
    Request,
    last_layer,
    make_backbone,
    no_drop_path,
)
from raybench.backbones.index import check_backbone, split_name
from raybench.backbones.resolve import ResolvedWeights, resolve_weights
from raybench.backbones.share import pulled_folder, pulled_weights
from raybench.backbones.timm_models import build_timm
from raybench.backbones.torchvision_models import build_torchvision
from raybench.backbones.wavemix_models import build_wavemix
from raybench.backbones.weights import load_weights, read_weights
from raybench.errors import DataError, RaybenchError
from raybench.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Backbone", "build_backbone"]

# What has been built and tried with one image in this process.
_tried: set[tuple[str, int, int]] = set()


def build_backbone(
    spec: BackboneSpec,
    classes: int,
    image_size: int,
    drop_path: float = 0.0,
    load: bool = True,
    weights_dir: Path | None = None,
    expected_sha256: str = "",
    cache_dir: Path | None = None,
) -> Backbone:
    """Build, load weights, and try one image, on the CPU; the classifier is always new.

    Initialisation draws from torch's global generator: seed it first.

    Args:
        spec: name, weights and constructor arguments.
        classes: outputs of the new classifier.
        image_size: side of the square images in pixels.
        drop_path: highest rate of stochastic depth, growing linearly with depth; 0 turns it off,
            also where the library's default is another.
        load: False: leave the weights random, since a checkpoint follows. Needs neither network nor
            weights file (a model on the hub: its ``config.json`` alone), and keeps the
            normalisation that belongs to the weights.
        weights_dir: folder of weights files for machines without a network.
        expected_sha256: what the weights file must have; empty: any.
        cache_dir: where a cluster's node keeps the weights that it has from the driver, which are
            taken before any other; see ``share``.

    Raises:
        DataError: unknown names, weights that do not fit or have changed, a size or argument it
            cannot take. What a ``python:`` function throws comes as it is.
        ResourceError: pretrained weights or a library are out of reach.
    """
    pulled = pulled_weights(cache_dir, expected_sha256) if load else None
    finds = load and pulled is None
    mistakes = check_backbone(spec if finds else spec.model_copy(update={"weights": "none"}))
    if mistakes:
        raise DataError(mistakes)
    library = split_name(spec.name)[0]
    weights = _unchanged(spec, weights_dir, expected_sha256) if finds else pulled
    configs = weights_dir or pulled_folder(cache_dir)
    request = Request(spec, classes, image_size, drop_path, weights, configs)
    try:
        backbone = _BUILDERS[library](request)
        _try_one_image(backbone.model, request)
    except RaybenchError:
        raise
    except Exception as error:  # a library's model code raises anything
        if library == "python":
            raise  # the user's own code: its author needs the exception itself
        raise DataError(
            f"backbone '{spec.name}' cannot be built for {classes} classes and images of "
            f"{image_size}x{image_size} with kwargs {dict(spec.kwargs)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return backbone


def _unchanged(
    spec: BackboneSpec, weights_dir: Path | None, expected_sha256: str
) -> ResolvedWeights | None:
    """The weights file, which must be the one that the sweep's first run saw."""
    weights = resolve_weights(spec, weights_dir)
    if weights and expected_sha256 and weights.sha256 != expected_sha256:
        raise DataError(
            f"weights '{spec.weights}' of '{spec.name}' have changed since the sweep's first run: "
            f"{weights.path} has SHA-256 {weights.sha256}, expected {expected_sha256}; put the "
            "file of then back, or use another --home"
        )
    return weights


def _try_one_image(model: nn.Module, request: Request) -> None:
    """Once per process: it costs tens of milliseconds, and a sweep builds a model per trial."""
    import torch

    classes, image_size = request.classes, request.image_size
    tried = (request.spec.model_dump_json(), classes, image_size)
    if tried in _tried:
        return
    training = model.training
    with torch.inference_mode():
        output = model.eval()(torch.zeros(1, 3, image_size, image_size))
    model.train(training)
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (1, classes):
        raise DataError(f"the model must return a tensor of shape (N, {classes}), got {shape}")
    _tried.add(tried)


def _build_python(request: Request) -> Backbone:
    """The user's function, called as ``f(classes=..., image_size=..., **kwargs)``.

    ``drop_path`` is passed as well where the recipe sets it.
    """
    from torch import nn

    spec = request.spec
    function = _import_function(spec.name)
    arguments = dict(spec.kwargs)
    if request.drop_path > 0:
        if "drop_path" not in inspect.signature(function).parameters:
            raise no_drop_path(request)
        arguments["drop_path"] = request.drop_path
    model = function(classes=request.classes, image_size=request.image_size, **arguments)
    if not isinstance(model, nn.Module):
        raise DataError(f"'{spec.name}' must return a torch.nn.Module, got {type(model).__name__}")
    head = last_layer(model, request.classes)
    if request.weights:
        load_weights(model, read_weights(request.weights.path), head, str(request.weights.path))
    return make_backbone(model, "python", DEFAULT_MEAN, DEFAULT_STD, head)


def _import_function(name: str) -> Callable[..., Any]:
    """The function of ``python:module:function``; the working folder may hold the module.

    Raises:
        DataError: no such module or function.
    """
    _, module_name, function_name = name.split(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"'{name}' cannot be imported: {error}") from error
    if not callable(function):
        raise DataError(f"'{name}' is no function")
    return cast(Callable[..., Any], function)


_BUILDERS: Mapping[str, Callable[[Request], Backbone]] = {
    "timm": build_timm,
    "torchvision": build_torchvision,
    "wavemix": build_wavemix,
    "python": _build_python,
}
