"""``config.json`` as timm's hub has it, so that ``timm.create_model('local-dir:DIR')`` works.

Format: timm 1.0.31, ``timm/models/_hub.py`` (``_parse_model_cfg``, ``save_config_for_hf``): the
weights beside it are ``model.safetensors``. Written here because timm's own writer describes what a
model was made from, not how raybench resized the images; and its arguments change by version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raybench.backbones.index import HUB_PREFIX, split_name
from raybench.export import preprocessing
from raybench.export.settings import ModelSettings
from raybench.trial.classifier import Classifier

CONFIG_NAME = "config.json"
# Arguments of ``create_model`` itself, which say where weights come from.
_NOT_THE_MODELS = ("pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
# Not tag and licence: they are those of timm's weights, which need not be what training began with.
_KEPT = ("classifier", "first_conv", "pool_size", "fixed_input_size")


def is_timms(settings: ModelSettings) -> bool:
    """Whether timm can build the whole model by itself."""
    return settings.backbone.name.startswith("timm:") and settings.kind == "network"


def timm_config(settings: ModelSettings, classifier: Classifier, folder: Path) -> dict[str, Any]:
    """What timm needs to build the model and to prepare its images.

    Args:
        settings: the model's.
        classifier: of these settings, a timm model in it.
        folder: where a hub model's own ``config.json`` stands, below its repository's name.
    """
    model: Any = classifier.model
    own: Mapping[str, Any] = model.pretrained_cfg
    count = len(settings.classes)
    ours = preprocessing.for_timm(settings) | {"num_classes": count, "custom_load": False}
    return {
        "architecture": own["architecture"],
        "num_classes": count,
        "num_features": model.num_features,
        "label_names": list(settings.classes),
        "model_args": _model_args(settings, folder),
        "pretrained_cfg": {key: own[key] for key in _KEPT if key in own} | ours,
    }


def _model_args(settings: ModelSettings, folder: Path) -> dict[str, Any]:
    given = {k: v for k, v in settings.backbone.kwargs.items() if k not in _NOT_THE_MODELS}
    model = split_name(settings.backbone.name)[1]
    if not model.startswith(HUB_PREFIX):
        return given
    from raybench.backbones.published import hub_config

    published = json.loads((folder / hub_config(model).local_names[0]).read_bytes())
    return {**published.get("model_args", {}), **given}


def timm_disagrees(folder: Path, classifier: Classifier) -> str:
    """Why timm does not make the same model of the folder; empty: it does."""
    import timm
    import torch

    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except Exception as error:  # noqa: BLE001 - a filter for published files may stumble over ours
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    ours, theirs = classifier.model.state_dict(), model.state_dict()
    if ours.keys() != theirs.keys():
        return "it builds a model of other tensors"
    changed = [n for n, t in ours.items() if not torch.equal(t.cpu(), theirs[n])]
    return f"it loads other values into {changed[0]}" if changed else ""
