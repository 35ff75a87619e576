"""Backbones from timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from raybench.backbones.backbone import (
    Backbone,
    Request,
    as_triple,
    last_layer,
    make_backbone,
    no_drop_path,
    unreachable,
)
from raybench.backbones.index import split_name
from raybench.backbones.weights import load_weights, read_weights

if TYPE_CHECKING:
    from torch import nn


def build_timm(request: Request) -> Backbone:
    """A timm model; weights behind a tag go through timm's own loader and filters.

    ``kwargs: {pretrained_cfg_overlay: {mean: [...], std: [...]}}`` is timm's way to give a weights
    file another normalisation than the model's default tag has.
    """
    spec, classes = request.spec, request.classes
    _, name, tag = split_name(spec.name)
    full = ".".join(filter(None, (name, tag or request.tag)))
    model: Any = _create(request, full)
    config = model.pretrained_cfg
    if request.loads_published and classes == config["num_classes"]:
        model.reset_classifier(classes)  # timm keeps a classifier of the same size
    head = _head(model, config.get("classifier") or (), classes)
    if request.from_file and request.load:
        load_weights(model, read_weights(spec.weights), head, spec.weights)
    if request.from_file and _img_size(request, full):
        model.set_input_size(img_size=(request.image_size, request.image_size))
    mean, std = as_triple(config["mean"]), as_triple(config["std"])
    return make_backbone(model, "timm", mean, std, head)


def _create(request: Request, full: str) -> nn.Module:
    """The model in the size of its weights file where there is one, else in the size asked for."""
    import timm

    arguments: dict[str, Any] = {"num_classes": request.classes, **request.spec.kwargs}
    if request.drop_path > 0:
        arguments["drop_path_rate"] = request.drop_path
    if not request.from_file:
        arguments |= _img_size(request, full)
    if request.loads_published:
        overlay = arguments.get("pretrained_cfg_overlay") or {}
        arguments["pretrained_cfg_overlay"] = _from_hub(request, full) | overlay
    try:
        model: nn.Module = timm.create_model(full, pretrained=request.loads_published, **arguments)
    except TypeError as error:
        if request.drop_path > 0 and "drop_path_rate" in str(error):
            raise no_drop_path(request) from error
        raise
    except OSError as error:
        if not request.loads_published:
            raise
        raise unreachable(request, error, "the Hugging Face cache (HF_HOME)") from error
    cast(Any, model).pretrained_cfg.pop("state_dict", None)
    return model


def _from_hub(request: Request, full: str) -> dict[str, Any]:
    """The weights from the Hub's cache, where they are there; empty: timm is to fetch them.

    Read here because the Hub's client asks the network even for cached files, and, without one,
    tries for three quarters of a minute before it says so.

    Raises:
        ResourceError: not in the cache, and the Hub does not answer.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(full)
    if config is None or not config.hf_hub_id or config.custom_load == "hf":
        return {}
    repository, _, revision = config.hf_hub_id.partition("@")
    name = config.hf_hub_filename
    for file in (name,) if name else ("model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(path, str):
            return {"state_dict": read_weights(path)}
    try:
        with urlopen(HttpRequest(constants.ENDPOINT, method="HEAD"), timeout=5):
            return {}
    except HTTPError:
        return {}  # it answers; what it thinks of this address is not the question
    except OSError as error:
        raise unreachable(request, error, f"{constants.HF_HUB_CACHE} ({repository})") from error


def _img_size(request: Request, full: str) -> dict[str, int]:
    """``img_size`` for models of a fixed size that is not the one asked for."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(full)
    if config is None or not config.fixed_input_size or "img_size" in request.spec.kwargs:
        return {}
    return {} if config.input_size[-1] == request.image_size else {"img_size": request.image_size}


def _head(
    model: nn.Module, configured: str | tuple[str, ...] | list[str], classes: int
) -> tuple[str, ...]:
    """Parameters of the classifier modules that timm's configuration names (distilled: two)."""
    modules = (configured,) if isinstance(configured, str) else tuple(configured)
    names = [n for n, _ in model.named_parameters() if n.rpartition(".")[0] in modules]
    return tuple(names) or last_layer(model, classes)
