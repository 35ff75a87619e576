"""Backbones from timm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.backbones.backbone import (
    Backbone,
    Request,
    as_triple,
    last_layer,
    make_backbone,
    no_drop_path,
)
from raybench.backbones.index import HUB_PREFIX, split_name
from raybench.backbones.published import hub_config
from raybench.backbones.resolve import resolve_file
from raybench.backbones.weights import load_weights, read_weights
from raybench.errors import DataError

if TYPE_CHECKING:
    from torch import nn


def build_timm(request: Request) -> Backbone:
    """A timm model; published weights go through timm's own filters and interpolation.

    ``kwargs: {pretrained_cfg_overlay: {mean: [...], std: [...]}}`` is timm's way to give a weights
    file another normalisation than the model's default tag has.
    """
    name, config = _named(request)
    resize = _img_size(request, config)
    published = request.weights is not None and not request.from_file
    if published:
        model: Any = _create_loaded(request, name, config["num_classes"], resize)
    else:
        size = {} if request.from_file else resize
        model = _create(request, name, {"num_classes": request.classes, **size})
    config = model.pretrained_cfg
    head = _head(model, config.get("classifier") or (), request.classes)
    if request.weights and request.from_file:
        path = request.weights.path
        load_weights(model, read_weights(path), head, str(path))
    if request.from_file and resize:
        model.set_input_size(img_size=(request.image_size, request.image_size))
    mean, std = as_triple(config["mean"]), as_triple(config["std"])
    return make_backbone(model, "timm", mean, std, head)


def _named(request: Request) -> tuple[str, dict[str, Any]]:
    """What ``timm.create_model`` calls the model, and timm's configuration of it.

    A model on the hub is built from its ``config.json``, by timm's own reader of such folders; the
    one that timm exports asks the hub each time, also for what is cached.
    """
    _, model, tag = split_name(request.spec.name)
    if not model.startswith(HUB_PREFIX):
        from timm.models import get_pretrained_cfg

        full = ".".join(filter(None, (model, tag or request.tag)))
        config = get_pretrained_cfg(full)
        return full, {} if config is None else config.to_dict()
    from timm.models._hub import load_model_config_from_path

    folder = _config_folder(model, request)
    config, _, arguments = load_model_config_from_path(folder)
    fixed = config.get("fixed_input_size", False)
    return f"local-dir:{folder}", {**config, "fixed_input_size": fixed or "img_size" in arguments}


def _config_folder(model: str, request: Request) -> Path:
    return resolve_file(hub_config(model), request.weights_dir, lambda text: None).parent


def _create_loaded(
    request: Request, name: str, published_classes: int, resize: dict[str, int]
) -> nn.Module:
    """With the published file in it, and a new classifier in place of the published one.

    The model is made with as many classes as the file has: only then timm insists that every
    weight arrives; otherwise it logs what is missing and leaves it random.

    Raises:
        DataError: the file does not hold this model's weights.
    """
    assert request.weights is not None
    path = request.weights.path
    kwargs: dict[str, Any] = dict(request.spec.kwargs)
    overlay: dict[str, Any] = dict(kwargs.get("pretrained_cfg_overlay") or {})
    # Without a source of its own the configuration takes the state dict.
    overlay |= {"state_dict": read_weights(path), "source": "", "file": ""}
    arguments = {"num_classes": published_classes, **resize, "pretrained": True}
    try:
        model: Any = _create(request, name, arguments, overlay)
    except (KeyError, RuntimeError) as error:  # a filter misses a name, or torch does
        lines = " ".join(str(error).split())
        if isinstance(error, KeyError):
            lines = f"it lacks {lines}"
        elif "loading state_dict" not in lines:
            raise
        raise DataError(f"weights '{path}' do not fit the model: {lines[:500]}") from error
    model.pretrained_cfg.pop("state_dict", None)
    pool = kwargs.get("global_pool")
    model.reset_classifier(request.classes, **({"global_pool": pool} if pool else {}))
    loaded: nn.Module = model
    return loaded


def _create(
    request: Request,
    name: str,
    arguments: dict[str, Any],
    overlay: dict[str, Any] | None = None,
) -> nn.Module:
    import timm

    arguments = {**arguments, **request.spec.kwargs}
    if overlay:
        arguments["pretrained_cfg_overlay"] = overlay
    if request.drop_path > 0:
        arguments["drop_path_rate"] = request.drop_path
    try:
        model: nn.Module = timm.create_model(name, **arguments)
    except TypeError as error:
        if request.drop_path > 0 and "drop_path_rate" in str(error):
            raise no_drop_path(request) from error
        raise
    return model


def _img_size(request: Request, config: dict[str, Any]) -> dict[str, int]:
    """``img_size`` for models of a fixed size that is not the one asked for."""
    if not config.get("fixed_input_size") or "img_size" in request.spec.kwargs:
        return {}
    same = config["input_size"][-1] == request.image_size
    return {} if same else {"img_size": request.image_size}


def _head(
    model: nn.Module, configured: str | tuple[str, ...] | list[str], classes: int
) -> tuple[str, ...]:
    """Parameters of the classifier modules that timm's configuration names (distilled: two)."""
    modules = (configured,) if isinstance(configured, str) else tuple(configured)
    names = [n for n, _ in model.named_parameters() if n.rpartition(".")[0] in modules]
    return tuple(names) or last_layer(model, classes)
