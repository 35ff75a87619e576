"""Which file is meant by a name and a weights tag, from the libraries' own tables."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from raybench.backbones.index import HUB_PREFIX, is_url, split_name, split_url
from raybench.backbones.wavemix_table import WAVEMIX, WAVEMIX_REPOSITORY
from raybench.errors import DataError
from raybench.spec import BackboneSpec

CONFIG_NAME = "config.json"
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
# What timm looks for when its table names no file (timm.models._hub).
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")
_HASHED_NAME = re.compile(
    r"-([0-9a-f]{8,64})\.\w+$"
)  # resnet50-11ad3fa6.pth, as torch.hub reads it


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository of a Hugging Face hub.

    Attributes:
        names: paths in the repository; the first that exists is meant.
        local_names: what it may be called in a weights folder, best first.
    """

    repository: str
    revision: str
    names: tuple[str, ...]
    local_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A file behind an address.

    Attributes:
        name: its name in torch's hub folder, and in a weights folder one of ``local_names``.
        sha256: its published SHA-256, or the leading digits of it; empty: none is published.
    """

    url: str
    name: str
    local_names: tuple[str, ...]
    sha256: str = ""


def published_file(spec: BackboneSpec) -> HubFile | UrlFile | None:
    """The file behind a tag or a URL; None where nothing is to be loaded or the file is local.

    Raises:
        DataError: the library publishes no weights for this model.
    """
    library, model, tag = split_name(spec.name)
    if spec.weights == "none":
        return None
    if is_url(spec.weights):
        return _users_url(spec.weights)
    if library == "python":
        return None
    wanted = "" if spec.weights == "pretrained" else spec.weights
    return _LIBRARIES[library](model, tag or wanted)


def hub_name(model: str) -> tuple[str, str]:
    """Repository and revision of ``hf-hub:ORG/NAME[@REVISION]``."""
    repository, _, revision = model.removeprefix(HUB_PREFIX).partition("@")
    return repository, revision or "main"


def hub_config(model: str) -> HubFile:
    """The ``config.json`` that says what a model on the hub is."""
    repository, revision = hub_name(model)
    folder = repository.replace("/", "__")
    return HubFile(repository, revision, (CONFIG_NAME,), (f"{folder}/{CONFIG_NAME}",))


def _timm(model: str, tag: str) -> HubFile | UrlFile:
    if model.startswith(HUB_PREFIX):
        repository, revision = hub_name(model)
        return _in_repository(repository, revision, _HUB_NAMES)
    from timm.models import get_pretrained_cfg

    full = f"{model}.{tag}" if tag else model
    config = get_pretrained_cfg(full)
    if config is not None and config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_NAMES
        stem = f"{model}.{config.tag}" if config.tag else model
        return _in_repository(repository, revision or "main", names, stem)
    if config is not None and config.url:
        return _hashed_url(config.url)
    raise DataError(f"timm publishes no weights for '{full}'; give weights: none or a file")


def _in_repository(
    repository: str, revision: str, names: tuple[str, ...], stem: str | None = None
) -> HubFile:
    flat = repository.replace("/", "__")
    stems = (stem, flat) if stem else (flat,)
    local = [f"{stem}{suffix}" for stem in stems for suffix in _SUFFIXES]
    return HubFile(repository, revision, names, (*local, *(f"{flat}/{name}" for name in names)))


def _torchvision(model: str, tag: str) -> UrlFile:
    from torchvision import models

    weights = models.get_model_weights(model)
    return _hashed_url((weights[tag] if tag else weights.DEFAULT).url)


def _wavemix(model: str, tag: str) -> HubFile:
    files = WAVEMIX[model].files
    name = files[tag or next(iter(files))]
    return HubFile(WAVEMIX_REPOSITORY, "main", (name,), (PurePosixPath(name).name,))


def _hashed_url(url: str) -> UrlFile:
    name = PurePosixPath(urlsplit(url).path).name
    found = _HASHED_NAME.search(name)
    return UrlFile(url, name, (name,), found[1] if found else "")


def _users_url(weights: str) -> UrlFile:
    """In the cache the address is part of the name, so that two files called alike differ."""
    try:
        url, sha256 = split_url(weights)
    except ValueError as error:
        raise DataError(str(error)) from error
    name = PurePosixPath(urlsplit(url).path).name
    key = hashlib.sha256(weights.encode()).hexdigest()[:12]
    return UrlFile(url, f"{key}-{name}", (name,), sha256)


_LIBRARIES = {"timm": _timm, "torchvision": _torchvision, "wavemix": _wavemix}
