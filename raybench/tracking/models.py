"""Data sets and models as MLflow entities: weights by reference, a pair's winner by value."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput
from mlflow.utils import requirements_utils

from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.tracking.client import asked_once
from raybench.tracking.entries import RunEntry
from raybench.tracking.held import HeldRun
from raybench.trained import intact_weights, portable_backbone

_logger = logging.getLogger(__name__)

_MAX_DIGEST = 36  # MLflow's column; the whole digest stands in the profile
_REQUIRED = ("raybench", "mlflow", "torch", "torchvision", "timm", "safetensors", "numpy")


def dataset_input(pair: PairRow) -> DatasetInput | None:
    """The pair's data set with its digest; None before the preflight has found one."""
    digest = pair.facts.get("data_digest")
    if not digest:
        return None
    dataset = Dataset(
        name=pair.dataset,
        digest=str(digest)[:_MAX_DIGEST],
        source_type="local",
        source=json.dumps({"uri": pair.dataset}),
        profile=json.dumps(dict(pair.facts), sort_keys=True),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "benchmark")])


def reference_weights(
    client: MlflowClient, experiment_id: str, run: HeldRun, entry: RunEntry
) -> str:
    """Register best weights where they lie and link them to the run; returns the model's id.

    What ``mlflow.create_external_model`` does, without its global state and its placeholder file.
    """
    assert entry.weights is not None
    if entry.key not in run.models:
        with asked_once():
            model = client.create_logged_model(
                experiment_id,
                _model_name(entry.key),
                run.id,
                tags={"mlflow.model.isExternal": "true", "raybench.trial": entry.key},
                params={"uri": entry.weights.uri, "sha256": entry.weights.sha256},
            )
        run.models[entry.key] = str(model.model_id)
    return _publish(client, run, run.models[entry.key])


def export_winner(
    client: MlflowClient,
    experiment_id: str,
    run: HeldRun,
    snapshot: SweepSnapshot,
    pair: PairRow,
    trial: TrialRow,
    checkpoints: Path | str,
) -> str | None:
    """Log the trial's weights as a loadable model of the pair's run; returns its URI.

    ``checkpoints`` is the folder or URL below which they lie. None, with a warning, where they are
    gone or changed, or the file lacks the pair; also where they are no whole network (k nearest
    neighbours).
    """
    assert trial.end is not None
    kind = trial.end.facts.get("weights", "network")
    if kind != "network":
        _logger.info("no model is logged for %s: its weights file holds only the %s", pair.id, kind)
        return None
    config = _serving_config(snapshot.spec, pair)
    with tempfile.TemporaryDirectory(prefix="raybench-model-") as folder:
        weights = None if config is None else intact_weights(trial, checkpoints, Path(folder))
        if config is None or weights is None:
            unknown = "the sweep file no longer has it" if config is None else None
            damaged = f"{trial.end.weights_path} is gone or changed"
            _logger.warning("no model is logged for %s: %s", pair.id, unknown or damaged)
            return None
        if trial.key not in run.models:
            with asked_once():
                begun = client.create_logged_model(
                    experiment_id, _model_name(pair.id), run.id, tags={"raybench.trial": trial.key}
                )
            run.models[trial.key] = str(begun.model_id)
        model_id = run.models[trial.key]
        target = Path(folder) / "model"
        _save_model(target, weights, config, model_id, run.id)
        client.log_model_artifacts(model_id, str(target))
    return f"models:/{_publish(client, run, model_id)}"


def _publish(client: MlflowClient, run: HeldRun, model_id: str) -> str:
    client.finalize_logged_model(model_id, "READY")
    if model_id not in run.linked:  # MLflow keeps a second link as a second line
        client.log_outputs(run.id, [LoggedModelOutput(model_id, step=0)])
        run.linked.add(model_id)
    return model_id


def _model_name(key: str) -> str:
    """MLflow refuses ``/ : . % " '`` in a model's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", key)


def _serving_config(spec: Mapping[str, Any], pair: PairRow) -> dict[str, Any] | None:
    """What rebuilds the network; None for a pair of an older file, whose recipe is not known."""
    if not pair.current or "classes" not in pair.facts:
        return None
    return {
        "backbone": portable_backbone(pair.backbone_spec),
        "classes": int(pair.facts["classes"]),
        "image_size": int(spec["recipe"]["image_size"]),
    }


def _save_model(
    target: Path, weights: Path, config: Mapping[str, Any], model_id: str, run_id: str
) -> None:
    """Models from code: the file ``serving.py``, safetensors and JSON. No pickle."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    size, classes = config["image_size"], config["classes"]
    settings = target.with_name("config.json")
    settings.write_text(json.dumps(config), encoding="utf-8")
    with _no_look_at_all_packages():
        pyfunc.save_model(
            str(target),
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"weights": str(weights), "config": str(settings)},
            signature=ModelSignature(
                inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))]),
                outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, classes))]),
            ),
            input_example=np.full((1, size, size, 3), 127, np.uint8),
            pip_requirements=_requirements(),
            mlflow_model=Model(model_id=model_id, run_id=run_id),
        )


@contextmanager
def _no_look_at_all_packages() -> Iterator[None]:
    """MLflow would read the file lists of all installed packages (0.4 s, at a sweep's end).

    Only to find that what ``_requirements`` pins as installed is installed. A private name: where
    another MLflow does without it, nothing is lost but the time.
    """
    known = getattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    requirements_utils._MODULES_TO_PACKAGES = known or {}
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = known


def _requirements() -> list[str]:
    """Installed versions, without the local part (``2.11.0+cpu``) that no index has."""
    pins = []
    for name in _REQUIRED:
        try:
            pins.append(f"{name}=={version(name).split('+')[0]}")
        except PackageNotFoundError:  # run from a source tree
            pins.append(name)
    return pins
