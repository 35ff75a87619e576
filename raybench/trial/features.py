"""Features of all images of a task by a frozen backbone: one forward pass per backbone and data.

    <cache_dir>/features/<key>.safetensors   features (N, D) float32; metadata: what they are of
    <cache_dir>/features/<key>.lock          held while computing

A feature is what enters the backbone's last layer, in eval mode, without augmentation. ``key``
names everything that may change a bit of it, so all trials, seeds and subsets of a pair share one
file. Test images pass the backbone with the others; nothing is learned from them here. A pass that
is interrupted starts again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor

from raybench.backbones.backbone import Backbone
from raybench.backbones.index import split_name
from raybench.backbones.weights import weights_sha256
from raybench.datasets.task import Task
from raybench.errors import DataError
from raybench.spec import BackboneSpec, Recipe
from raybench.trial import files
from raybench.trial.batches import BatchLoader, cut, make_loader
from raybench.trial.config import TrialConfig
from raybench.trial.device import Precision, device_name
from raybench.trial.evaluate import ShouldStop
from raybench.trial.failures import DivergedError, DrainRequested, ModelError
from raybench.trial.session import build_checked
from raybench.trial.tap import FeatureTap

FORMAT = 1
_LOCK_POLL_S = 0.2
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a whole data set.

    Attributes:
        values: (N, D) float32 on the CPU, in the order of the task's images.
        key: names their file.
        parameters: of the backbone with its classifier.
        computed_s: seconds of the forward pass; None where they were read.
    """

    values: Tensor
    key: str
    parameters: int
    computed_s: float | None


def load_features(
    config: TrialConfig,
    recipe: Recipe,
    task: Task,
    device: torch.device,
    precision: Precision,
    should_stop: ShouldStop,
) -> Features:
    """The features, from their file where it is sound, else computed and written.

    Raises:
        DivergedError: a feature is not finite.
        DrainRequested: ``should_stop`` said so; nothing is kept.
        ModelError: the backbone cannot be built, or its last layer is never called.
    """
    spec = BackboneSpec.model_validate_json(json.dumps(dict(config.backbone)))
    classes = len(task.classes)
    named = spec.weights != "none" and not spec.name.startswith("python:")
    backbone = None if named else build_checked(config, recipe, classes, load=True)
    batch_size = math.ceil(recipe.batch_size / config.accumulation)
    identity = _identity(
        config.weights_sha256,
        spec,
        recipe.image_size,
        batch_size,
        task,
        device,
        precision,
        backbone,
    )
    key = hashlib.sha256(files.json_bytes(identity)).hexdigest()[:32]
    path = Path(config.cache_dir) / "features" / f"{key}.safetensors"
    if (found := _read(path, key, len(task.ids))) is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock"), should_stop) as alone:
        if (found := _read(path, key, len(task.ids))) is not None:
            return found
        for left in path.parent.glob(f"{files.ASIDE}*-{path.name}") if alone else ():
            left.unlink(missing_ok=True)
        backbone = backbone or build_checked(config, recipe, classes, load=True)
        loader = make_loader(task.images, task.labels, device, backbone.mean, backbone.std)
        started = time.perf_counter()
        values = extract(backbone, loader, batch_size, precision, should_stop)
        seconds = time.perf_counter() - started
        features = Features(values, key, int(backbone.facts["parameters"]), seconds)
        _write(path, features, identity)
    return features


def _identity(
    known_sha256: str,
    spec: BackboneSpec,
    image_size: int,
    batch_size: int,
    task: Task,
    device: torch.device,
    precision: Precision,
    backbone: Backbone | None,
) -> dict[str, Any]:
    """Everything that may change a bit; ``backbone`` where its spec does not say what it is."""
    try:
        weights = known_sha256 or weights_sha256(spec) or spec.weights
    except DataError as error:
        raise ModelError(str(error)) from error
    return {
        "format": FORMAT,
        "backbone": spec.model_dump(mode="json") | {"weights": weights},
        "content": "" if backbone is None else _content_sha256(spec, backbone),
        "data": task.data_digest,
        "image_size": image_size,
        "batch_size": batch_size,  # kernels are chosen by it, and round differently
        "precision": precision.name,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "timm": timm.__version__,
    }


def _content_sha256(spec: BackboneSpec, backbone: Backbone) -> str:
    """Of a backbone of random weights or the user's code: its tensors, its layers, its source."""
    digest = hashlib.sha256(repr(backbone.model).encode())
    for name, tensor in backbone.model.state_dict().items():
        if name not in backbone.head_parameter_names:
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    library, function, _ = split_name(spec.name)
    if library == "python":
        source = sys.modules[function.partition(":")[0]].__file__
        digest.update(Path(source).read_bytes() if source else b"")
    return digest.hexdigest()


def extract(
    backbone: Backbone,
    loader: BatchLoader,
    batch_size: int,
    precision: Precision,
    should_stop: ShouldStop,
) -> Tensor:
    """(N, D) float32 features of all of the loader's images, on the CPU."""
    model = backbone.model.to(device=loader.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    parts = []
    with FeatureTap(backbone) as tap, torch.no_grad():
        for batch in cut(np.arange(len(loader.images)), batch_size):
            if should_stop():
                raise DrainRequested
            with precision.autocast():
                model(loader.normalise(loader.fetch(batch)[0]))
            parts.append(tap.take().cpu())
    values = torch.cat(parts)
    if not bool(values.isfinite().all()):
        raise DivergedError(
            f"the backbone's features are not finite in {precision.name}; set recipe.precision: "
            "fp32, or give other weights"
        )
    return values


def _read(path: Path, key: str, images: int) -> Features | None:
    """The file's features, if it holds what was written; a damaged one is removed."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            facts, values = file.metadata(), file.get_tensor("features")
        if facts["sha256"] != _sha256(values) or len(values) != images:
            raise ValueError("its content is not what was written")
        return Features(values, key, int(facts["parameters"]), None)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("features %s are damaged (%s) and computed again", path, error)
        path.unlink(missing_ok=True)
        return None


def _write(path: Path, features: Features, identity: Mapping[str, Any]) -> None:
    """Aside under a name of its own, since without locks two processes may write at once."""
    facts = {
        "sha256": _sha256(features.values),
        "parameters": str(features.parameters),
        "identity": json.dumps(identity),
    }
    aside = path.with_name(f"{files.ASIDE}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        tensors = {"features": features.values}
        files.write_synced(aside, files.safetensors_chunks(tensors, facts))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    files.sync_folder(path.parent)


def _sha256(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().data).hexdigest()


@contextlib.contextmanager
def _locked(path: Path, should_stop: ShouldStop) -> Iterator[bool]:
    """Hold the lock, waiting for it; yields False at once where the file system has none."""
    with path.open("a") as file:
        while (alone := _try_lock(file.fileno())) is None:
            if should_stop():
                raise DrainRequested
            time.sleep(_LOCK_POLL_S)
        yield alone


def _try_lock(descriptor: int) -> bool | None:
    """None: another process holds it; False: there are no locks here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True
