"""The model card: what a stranger has to know before using the model. In Markdown, for the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from raybench.analysis.results import PairResult, pair_result, task_name
from raybench.export import card_facts, card_results, preprocessing
from raybench.export.choice import Chosen
from raybench.export.licence import Origin, origin_of
from raybench.export.settings import ModelSettings
from raybench.spec import BackboneSpec

_TEMPLATES = Path(__file__).with_name("templates")


def model_card(chosen: Chosen, settings: ModelSettings, timm: bool, onnx: bool) -> str:
    """The card.

    Args:
        chosen: what is handed over.
        settings: of the model.
        timm: whether timm loads the folder.
        onnx: whether there is an ONNX file.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown: other people's names go through ``card_facts.plain``
    )
    result = pair_result(chosen.pair, chosen.snapshot.metric)
    origin = origin_of(BackboneSpec(**chosen.pair.backbone_spec))
    values: dict[str, Any] = {
        "front_matter": yaml.safe_dump(
            _front_matter(chosen, result, origin), sort_keys=False, allow_unicode=True
        ),
        "backbone": card_facts.plain(chosen.pair.backbone),
        "task": card_facts.plain(task_name(chosen.pair)),
        "function": settings.backbone.name.removeprefix("python:"),
        "code": settings.backbone.name.startswith("python:"),
        "beside": settings.kind == "head",
        "cropped": settings.crop != "none",
        "size": settings.image_size,
        "count": len(settings.classes),
        "preprocessing": preprocessing.in_words(settings),
        "timm": timm,
        "onnx": onnx,
    }
    values |= card_results.results(chosen, result)
    values |= card_facts.facts(chosen, result, origin, settings)
    return environment.get_template("README.md.j2").render(values)


def _front_matter(chosen: Chosen, result: PairResult, origin: Origin) -> Mapping[str, Any]:
    """Keys of the hub (hub-docs, "Model Cards")."""
    timms = str(chosen.pair.backbone_spec["name"]).startswith("timm:")
    owner = "timm" if timms else "raybench"
    fields: dict[str, Any] = origin.front_matter() | {
        "library_name": owner,
        "pipeline_tag": "image-classification",
        "tags": list(dict.fromkeys(["image-classification", "raybench", owner])),
    }
    if origin.repository:
        fields["base_model"] = origin.repository
    source = str(chosen.dataset.get("source") or "")
    if source.startswith("hf:"):
        fields["datasets"] = ["/".join(source.removeprefix("hf:").split("@")[0].split("/")[:2])]
    fields["metrics"] = [result.final.metric.partition("/")[2]]
    return fields
