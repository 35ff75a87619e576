"""Which backbones and weights tags exist, from a shipped index: no torch, no timm.

``python -m raybench.backbones.index`` rewrites ``index.json`` from the installed libraries. Tags
stand with the library's default first. Models on the Hugging Face Hub and Python functions are in
no index: of them only the form of the name is checked.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from raybench.backbones.wavemix_table import WAVEMIX
from raybench.redaction import VARIABLE

if TYPE_CHECKING:  # pydantic would be half the time of `raybench backbones`
    from raybench.spec import BackboneSpec

INDEX_PATH = Path(__file__).with_name("index.json")
INDEXED = ("timm", "torchvision")
LIBRARIES = (*INDEXED, "wavemix")
HUB_PREFIX = "hf-hub:"
PATTERN_MARKS = "*?["
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
RESERVED_KWARGS = ("num_classes", "pretrained", "weights")
_PYTHON_NAME = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_HASH = re.compile(r"sha256=([0-9a-fA-F]{64})")
# The Hub's own rule for repositories (huggingface_hub.utils.validate_repo_id), with an owner.
_HUB_NAME = re.compile(
    r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}(?<![.-])(@[\w./-]+)?",
    re.ASCII,
)

Index = Mapping[str, Mapping[str, tuple[str, ...]]]


@cache
def load_index() -> Index:
    """Library -> model name -> weights tags, the default first."""
    data = json.loads(INDEX_PATH.read_text(encoding="utf-8"))
    index = {
        library: {name: tuple(tags) for name, tags in data[library].items()} for library in INDEXED
    }
    return index | {"wavemix": {name: tuple(model.files) for name, model in WAVEMIX.items()}}


def split_name(name: str) -> tuple[str, str, str]:
    """Library, model and tag of ``timm:convnext_tiny.fb_in1k``; the tag is often empty."""
    library, _, model = name.partition(":")
    if library != "timm" or model.startswith(HUB_PREFIX):
        return library, model, ""
    model, _, tag = model.partition(".")
    return library, model, tag


def without_tag(name: str) -> str:
    """The model alone: ``timm:convnext_tiny`` of ``timm:convnext_tiny.fb_in1k``."""
    library, model, _ = split_name(name)
    return f"{library}:{model}"


def network_key(name: str, kwargs: Mapping[str, Any]) -> str:
    """Equal for what costs the same: weights and their tag play no part."""
    return json.dumps([without_tag(name), dict(kwargs)], sort_keys=True)


def is_url(weights: str) -> bool:
    """Whether ``weights`` names a place in a network."""
    return "://" in weights


def split_url(weights: str) -> tuple[str, str]:
    """Address and SHA-256 of ``URL[#sha256=<64 hex digits>]``; none: empty.

    Raises:
        ValueError: no address, or something else behind ``#``, which would check nothing.
    """
    from raybench.transfer import readable_url  # and with it all of HTTP

    url, mark, fragment = weights.partition("#")
    try:
        shown = readable_url(url)
    except ValueError as error:
        raise ValueError(f"weights '{weights}': no address ({error})") from error
    found = _HASH.fullmatch(fragment)
    if mark and found is None:
        raise ValueError(
            f"weights '{shown}': '#{fragment}' behind it is no hash; write #sha256= and the "
            "file's SHA-256, 64 hex digits, or leave it out"
        )
    return url, found[1].lower() if found else ""


def is_weights_file(weights: str) -> bool:
    """Whether ``weights`` names a local file rather than a tag."""
    return not is_url(weights) and (weights.lower().endswith(WEIGHT_SUFFIXES) or "/" in weights)


def is_pattern(text: str) -> bool:
    """Whether ``text`` names several backbones, as in ``timm:convnext*.fb_in1k``."""
    return any(mark in text for mark in PATTERN_MARKS)


def check_backbone(spec: BackboneSpec) -> list[str]:
    """Every mistake in the name, the weights and the keys of ``kwargs``, in words."""
    mistakes = []
    reserved = [key for key in RESERVED_KWARGS if key in spec.kwargs]
    if reserved:
        mistakes.append(f"kwargs may not hold {_quoted(reserved)}: raybench sets them itself")
    library, model, tag = split_name(spec.name)
    if is_pattern(spec.name):
        return [*mistakes, f"'{spec.name}' is a pattern; write it alone, as '- {spec.name}'"]
    if library == "python":
        return mistakes + _python_mistakes(spec, model)
    if library == "timm" and model.startswith(HUB_PREFIX):
        return mistakes + _hub_mistakes(spec, model)
    if ":" not in spec.name or library not in LIBRARIES:
        return mistakes + [_unknown_library(spec.name)]
    known = load_index()[library]
    if model not in known:
        return [*mistakes, f"unknown backbone '{spec.name}'{_near(library, model, known)}"]
    return mistakes + _tag_mistakes(spec, known[model], tag)


def list_backbones(pattern: str = "*") -> list[dict[str, Any]]:
    """Name, library and weights tags of every backbone that matches; default tag first.

    Args:
        pattern: a shell pattern on ``timm:resnet50`` or ``resnet50``; one with a dot is on
            ``timm:resnet50.a1_in1k`` and leaves only the tags that match. Plain text matches
            anywhere.
    """
    wanted = pattern if is_pattern(pattern) else f"*{pattern}*"
    rows = []
    for library, models in load_index().items():
        for model, tags in models.items():
            name = f"{library}:{model}" if ":" in wanted else model
            kept = _matching(name, tags, wanted)
            if kept is not None:
                rows.append({"name": f"{library}:{model}", "library": library, "weights": kept})
    return rows


def _matching(name: str, tags: tuple[str, ...], wanted: str) -> list[str] | None:
    """The tags that a pattern leaves of a model; None where it means another."""
    if "." in wanted:
        return [tag for tag in tags if fnmatch.fnmatchcase(f"{name}.{tag}", wanted)] or None
    return list(tags) if fnmatch.fnmatchcase(name, wanted) else None


def _quoted(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _unknown_library(name: str) -> str:
    if name.startswith((HUB_PREFIX, "hf_hub:")):
        return f"unknown backbone '{name}'; a model on the Hub is timm:hf-hub:ORG/NAME"
    bare = split_name(f"timm:{name}")[1]
    knowing = [f"{library}:{name}" for library in LIBRARIES if bare in load_index()[library]]
    if knowing:
        return f"'{name}' needs its library in front: {' or '.join(knowing)}"
    all_names = [f"{lib}:{model}" for lib in LIBRARIES for model in load_index()[lib]]
    near = difflib.get_close_matches(name, [n.partition(":")[2] for n in all_names], n=3)
    found = [full for full in all_names if full.partition(":")[2] in near][:3]
    hint = f"; did you mean {_quoted(found)}?" if found else ""
    return (
        f"unknown backbone '{name}'; write timm:NAME, timm:hf-hub:ORG/NAME, torchvision:NAME, "
        f"wavemix:NAME or python:module:function{hint}"
    )


def _near(library: str, model: str, known: Mapping[str, Any]) -> str:
    if "/" in model:
        return f"; a model on the Hub is {library}:{HUB_PREFIX}ORG/NAME"
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.6)
    return f"; did you mean {_quoted(f'{library}:{name}' for name in near)}?" if near else ""


def _hub_mistakes(spec: BackboneSpec, model: str) -> list[str]:
    mistakes = []
    if not _HUB_NAME.fullmatch(model.removeprefix(HUB_PREFIX)):
        mistakes.append(
            f"'{spec.name}' is not of the form timm:hf-hub:ORG/NAME, or timm:hf-hub:ORG/NAME@REV"
        )
    if not (spec.weights in ("pretrained", "none") or _is_place(spec.weights)):
        mistakes.append(
            f"weights '{spec.weights}': a repository on the Hub holds one set, so it knows no "
            "tags; give pretrained, none or a file, and a revision as ORG/NAME@REV"
        )
    return mistakes + _place_mistakes(spec.weights)


def _python_mistakes(spec: BackboneSpec, place: str) -> list[str]:
    mistakes = []
    if not _PYTHON_NAME.match(place):
        mistakes.append(f"'{spec.name}' is not of the form python:module:function")
    if not (spec.weights in ("pretrained", "none") or _is_place(spec.weights)):
        mistakes.append(
            f"weights '{spec.weights}': a Python function knows no tags; give none, or a file"
        )
    return mistakes + _place_mistakes(spec.weights)


def _is_place(weights: str) -> bool:
    return is_url(weights) or is_weights_file(weights)


def _place_mistakes(weights: str) -> list[str]:
    if is_url(weights):
        return _url_mistakes(weights)
    if not is_weights_file(weights):
        return []
    if not weights.lower().endswith(WEIGHT_SUFFIXES):
        return [f"weights '{weights}': must end in {', '.join(WEIGHT_SUFFIXES)}"]
    if not Path(weights).is_file():
        return [f"weights '{weights}': no such file"]
    if not os.access(weights, os.R_OK):
        return [f"weights '{weights}': may not be read; check its permissions"]
    return []


def _url_mistakes(weights: str) -> list[str]:
    from raybench.transfer import readable_url

    try:
        url, sha256 = split_url(weights)
    except ValueError as error:
        return [str(error)]
    shown = readable_url(url)
    if VARIABLE.search(shown):
        return [f"weights '{shown}': ${{NAME}} may stand before the @ and behind the ? only"]
    if url.startswith("http://") and not (sha256 or _is_loopback(url)):
        return [f"weights '{shown}': http is not safe on its way; give https, or #sha256="]
    if url.startswith(("http://", "https://", "s3://", "gs://")):
        return []
    return [f"weights '{shown}': only http, https, s3 and gs can be fetched; give a local file"]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _tag_mistakes(spec: BackboneSpec, tags: tuple[str, ...], tag: str) -> list[str]:
    allowed = f"known are {_quoted(tags)}" if tags else "it has none: give weights: none or a file"
    mistakes = []
    if tag and tag not in tags:
        mistakes.append(f"'{spec.name}': unknown weights tag '{tag}'; {allowed}")
    if spec.weights == "none":
        return mistakes
    if spec.weights == "pretrained":
        if not tags:
            mistakes.append(
                f"'{spec.name}' has no pretrained weights: give weights: none or a file"
            )
        return mistakes
    if _is_place(spec.weights):
        return mistakes + _place_mistakes(spec.weights)
    if tag and spec.weights != tag:
        mistakes.append(
            f"'{spec.name}' names the tag '{tag}', but weights says '{spec.weights}'; keep one"
        )
    elif spec.weights not in tags:
        mistakes.append(f"unknown weights '{spec.weights}' for '{spec.name}'; {allowed}")
    return mistakes


def build_index() -> dict[str, Any]:
    """The index of the installed libraries, as it stands in ``index.json``."""
    return {
        "versions": {library: metadata.version(library) for library in INDEXED},
        "timm": _timm_models(),
        "torchvision": _torchvision_models(),
    }


def _timm_models() -> dict[str, list[str]]:
    import timm

    models: dict[str, list[str]] = {name: [] for name in timm.list_models()}
    for full in timm.list_pretrained():
        model, _, tag = full.partition(".")
        models[model].append(tag)
    for model, tags in models.items():
        default = timm.get_pretrained_cfg_value(model, "tag")
        tags.sort(key=lambda tag: (tag != default, tag))
    return models


def _torchvision_models() -> dict[str, list[str]]:
    from torchvision import models

    tags = {}
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name)
        names = sorted(weight.name for weight in weights)
        tags[name] = sorted(names, key=lambda tag: tag != weights.DEFAULT.name)
    return tags


def main() -> None:
    """Rewrite the shipped index."""
    text = json.dumps(build_index(), indent=0, sort_keys=True)
    INDEX_PATH.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
