"""The files that make the model: its weights and ``raybench.json``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from raybench.backbones.backbone import Backbone
from raybench.backbones.index import HUB_PREFIX, split_name
from raybench.errors import HomeError
from raybench.export.choice import Chosen
from raybench.export.settings import SETTINGS_NAME, WEIGHTS_NAME, ModelSettings
from raybench.spec import BackboneSpec
from raybench.trained import intact_weights, portable_backbone
from raybench.trial import files
from raybench.version import __version__

_LIBRARIES = ("torch", "torchvision", "timm", "safetensors", "numpy", "pillow")


def write_model(chosen: Chosen, classes: tuple[str, ...], folder: Path) -> ModelSettings:
    """What ``opening.load`` needs.

    Raises:
        DataError, ResourceError: weights of a frozen backbone that have changed or are not to be
            had. HomeError: the trial's own are gone or changed.
    """
    beside = chosen.facts.get("weights") == "head"
    backbone = _backbone(chosen, len(classes), frozen=beside)
    sha256 = _write_weights(chosen, folder, backbone if beside else None)
    settings = ModelSettings(
        backbone=_portable(chosen.pair.backbone_spec),
        kind="head" if beside else "network",
        weights_sha256=sha256,
        classes=classes,
        image_size=chosen.recipe["image_size"],
        crop=chosen.recipe["crop"],
        mean=backbone.mean,
        std=backbone.std,
        device=_device_kind(str(chosen.facts["device"])),
        precision=chosen.facts["precision"],
        trained=_provenance(chosen),
    )
    _copy_hub_config(chosen, folder)
    write_text(folder / SETTINGS_NAME, settings.to_json())
    return settings


def _portable(spec: Mapping[str, Any]) -> BackboneSpec:
    """Without this machine's places, except where the user's own function is given one."""
    portable = portable_backbone(spec)
    if not str(spec["name"]).startswith("python:"):
        portable["kwargs"] = _names(portable.get("kwargs", {}))
    return BackboneSpec(**portable)


def _names(value: Any) -> Any:
    """JSON types, absolute places by their last part: timm's say where it would load weights."""
    if isinstance(value, Mapping):
        return {key: _names(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_names(below) for below in value]
    is_place = isinstance(value, str) and value.startswith(("/", "~"))
    return PurePosixPath(value).name if is_place else value


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    files.write_synced(path, [text.encode("utf-8")])


def _backbone(chosen: Chosen, classes: int, frozen: bool) -> Backbone:
    """The backbone; ``frozen``: as the trial had it, with the weights of then."""
    from raybench.backbones.build import build_backbone
    from raybench.seeding import derive_seed
    from raybench.trial.randomness import seed_all

    # What is random of a frozen backbone came from the trial's seed, see ``sweep.configure``.
    seed_all(derive_seed(chosen.snapshot.spec["seed"], "final", chosen.trial.seed or 0), "init")
    return build_backbone(
        BackboneSpec(**chosen.pair.backbone_spec),
        classes,
        chosen.recipe["image_size"],
        load=frozen,
        weights_dir=chosen.home.weights_dir,
        expected_sha256=str(chosen.pair.facts.get("weights_sha256", "")),
        cache_dir=chosen.home.cache_dir,
    )


def _write_weights(chosen: Chosen, folder: Path, frozen: Backbone | None) -> str:
    """``model.safetensors``; returns its SHA-256. ``frozen``: what the trial's head stands on."""
    end, target = chosen.trial.end, folder / WEIGHTS_NAME
    assert end is not None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source = intact_weights(chosen.trial, chosen.home.checkpoints, Path(scratch))
        if source is None:
            raise HomeError(
                f"the weights of {chosen.trial.key} are gone or changed: {end.weights_path} below "
                f"{chosen.home.checkpoints} is not the file that the ledger names; restore it"
            )
        if frozen is None:
            chunks = files.read_chunks(source)
            return str(files.write_synced(target, chunks)["sha256"])
        return _write_probed(target, source, frozen)


def _write_probed(target: Path, head: Path, frozen: Backbone) -> str:
    from safetensors.torch import load_file

    from raybench.trial.tap import ProbedNetwork

    tensors = ProbedNetwork(frozen, load_file(head)).state_dict()
    return str(files.write_synced(target, files.safetensors_chunks(tensors))["sha256"])


def _device_kind(name: str) -> Any:
    """``facts`` name a GPU by its product."""
    return name if name in ("cpu", "mps") else "cuda"


def _provenance(chosen: Chosen) -> dict[str, Any]:
    pair, trial = chosen.pair, chosen.trial
    known = ("data_digest", "split_digest", "weights_sha256", "weights_file")
    return {
        "sweep": chosen.snapshot.sweep,
        "ledger": chosen.snapshot.ledger_id,
        "pair": pair.id,
        "trial": trial.key,
        "backbone": pair.backbone,
        "dataset": pair.dataset,
        "subset": pair.subset,
        "seed": trial.seed,
        "fold": trial.fold,
        "params": dict(trial.params),
        **{key: pair.facts[key] for key in known if key in pair.facts},
        "trained_with": {k: v for k, v in chosen.facts.items() if k in (*_LIBRARIES, "device")},
        "exported_with": {"raybench": __version__} | {n: metadata.version(n) for n in _LIBRARIES},
    }


def _copy_hub_config(chosen: Chosen, folder: Path) -> None:
    """What a model on the hub is, so that ``load`` asks no network."""
    model = split_name(str(chosen.pair.backbone_spec["name"]))[1]
    if not model.startswith(HUB_PREFIX):
        return
    from raybench.backbones.published import hub_config
    from raybench.backbones.resolve import resolve_file
    from raybench.backbones.share import pulled_folder

    file = hub_config(model)
    places = chosen.home.weights_dir or pulled_folder(chosen.home.cache_dir)
    found = resolve_file(file, places, lambda sentence: None)
    write_text(folder / file.local_names[0], found.read_text(encoding="utf-8"))
