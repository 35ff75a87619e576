"""A trial that leaves the backbone as it is: ``linear_probe`` and ``knn`` on its features.

One epoch, whatever it is: features (from their cache, or one forward pass), fit, validation.
Nothing is drawn, so a killed trial starts again from the cached features and ends with the same
numbers. ``best.safetensors`` is, by ``EndRecord.facts["weights"]``:

    network     a final linear_probe: the whole backbone with the probe as its last layer, to be
                loaded like a fine-tuned one
    head        linear_probe: weight, bias, mean, std; also where the backbone does not end in a
                layer that the probe can replace (SqueezeNet has a ReLU after it)
    neighbors   knn: k, and the training images' places and labels in the data set

The last two name their features' file in ``features`` of the header.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from raybench.datasets.task import Task
from raybench.records import EndRecord, EpochRecord
from raybench.spec import Recipe
from raybench.trial import files
from raybench.trial.batches import Indices, make_loader
from raybench.trial.checkpoint import BEST_NAME
from raybench.trial.config import TrialConfig
from raybench.trial.device import (
    Precision,
    cap_memory,
    peak_memory,
    pick_device,
    pick_precision,
    reset_peak_memory,
)
from raybench.trial.evaluate import ShouldStop, split_metrics
from raybench.trial.failures import DrainRequested
from raybench.trial.features import Features, load_features
from raybench.trial.heads import (
    LinearHead,
    NeighborHead,
    fit_linear,
    fit_neighbors,
)
from raybench.trial.mirror import mirror_of
from raybench.trial.predict import PREDICTIONS_NAME, write_end, write_test_predictions
from raybench.trial.recipe import class_weights
from raybench.trial.session import (
    build_checked,
    load_checked_task,
    recipe_of,
    run_facts,
    training_indices,
)
from raybench.trial.tap import network_with

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """What one trial works on; ``train`` as in ``Session``, ``class_weight`` (C,) for the loss."""

    config: TrialConfig
    recipe: Recipe
    task: Task
    train: Indices
    class_weight: Tensor | None
    device: torch.device
    precision: Precision


def run_probe(
    config: TrialConfig, should_stop: ShouldStop
) -> Generator[EpochRecord, None, EndRecord]:
    """Yields the one epoch, unless the ledger has it, and returns the end.

    ``perf/feature_s`` counts waiting for another process's forward pass too, since the trial holds
    its share of the device meanwhile. ``perf/images_per_s`` is that of the forward pass, and absent
    where the features were read.

    Raises:
        DrainRequested: ``should_stop`` said so, at a batch or an iteration.
    """
    probe = _open(config)
    reset_peak_memory(probe.device)
    started = time.perf_counter()
    features = load_features(
        config, probe.recipe, probe.task, probe.device, probe.precision, should_stop
    )
    feature_s = time.perf_counter() - started
    head = _fit(probe, features.values, should_stop)
    fit_s = time.perf_counter() - started - feature_s
    metrics = _train_metrics(probe, head, features.values)
    metrics |= {"perf/feature_s": feature_s, "perf/fit_s": fit_s}
    if features.computed_s is not None:
        metrics["perf/images_per_s"] = len(features.values) / features.computed_s
    record = _validate(probe, head, features.values, metrics)
    weights = _write_weights(probe, head, features.key)
    if config.known_epochs < 1:
        yield record
    return _finish(probe, head, features, record, weights, should_stop)


def _open(config: TrialConfig) -> Probe:
    recipe = recipe_of(config)
    torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    cap_memory(device, config.memory_fraction)
    task = load_checked_task(config, recipe)
    train = training_indices(config, task)
    weight = class_weights(task.labels[train], len(task.classes), recipe.class_weights)
    precision = pick_precision(recipe.precision, device)
    return Probe(config, recipe, task, train, weight, device, precision)


def _fit(probe: Probe, values: Tensor, should_stop: ShouldStop) -> LinearHead | NeighborHead:
    """The classifier on the training images' features."""
    recipe, weight, device = probe.recipe, probe.class_weight, probe.device
    classes = len(probe.task.classes)
    features = values[torch.from_numpy(probe.train)]
    labels = torch.from_numpy(probe.task.labels[probe.train])
    if recipe.method == "knn":
        return fit_neighbors(features, labels, classes, recipe.neighbors, weight, device)

    def poll() -> None:
        if should_stop():
            raise DrainRequested

    head = fit_linear(features, labels, classes, recipe.l2, weight, recipe.smoothing, device, poll)
    if not head.converged:
        _log.warning(
            "%s: the linear probe has not converged in %d iterations at l2 %g",
            probe.config.key,
            head.iterations,
            recipe.l2,
        )
    return head


def _train_metrics(
    probe: Probe, head: LinearHead | NeighborHead, values: Tensor
) -> dict[str, float]:
    """Those of fine-tuning; for knn of each image by the others (leave one out)."""
    if isinstance(head, NeighborHead):
        logits = head.own_logits()
    else:
        logits = head.logits(values[torch.from_numpy(probe.train)])
    metrics = _metrics(probe, logits, probe.train, "train")
    return {name: metrics[name] for name in ("train/loss", "train/accuracy")}


def _metrics(probe: Probe, logits: Tensor, indices: Indices, split: str) -> dict[str, float]:
    labels = torch.from_numpy(probe.task.labels[indices])
    return split_metrics(logits, labels, split, probe.class_weight, probe.recipe.smoothing)


def _validate(
    probe: Probe, head: LinearHead | NeighborHead, values: Tensor, metrics: dict[str, float]
) -> EpochRecord:
    """The record of the one epoch; a refit has no validation."""
    config, started = probe.config, time.perf_counter()
    train_s = metrics["perf/feature_s"] + metrics["perf/fit_s"]
    metrics = metrics | {"perf/train_s": train_s} | peak_memory(probe.device)
    if config.refit_epochs is None:
        logits = head.logits(values[torch.from_numpy(probe.task.val)])
        metrics |= _metrics(probe, logits, probe.task.val, "val")
        metrics["perf/val_s"] = time.perf_counter() - started
    return EpochRecord(
        epoch=1,
        stage=0,
        lr=0.0,
        finished_at=time.time(),
        duration_s=train_s + metrics.get("perf/val_s", 0.0),
        device_share=config.device_share,
        attempt=config.attempt,
        metrics=metrics,
    )


def _write_weights(
    probe: Probe, head: LinearHead | NeighborHead, key: str
) -> tuple[str | None, str]:
    """Writes ``best.safetensors`` where it is to be kept; its SHA-256 and kind."""
    if isinstance(head, NeighborHead):
        kind, tensors = "neighbors", _neighbor_tensors(probe, head)
    else:
        kind, tensors = "head", head.tensors()
        network = _network(probe, head) if probe.config.read_test else None
        if network is not None:
            kind, tensors = "network", network
    metadata = {} if kind == "network" else {"kind": kind, "features": key}
    if not probe.config.keep_weights:
        return None, kind
    chunks = files.safetensors_chunks(tensors, metadata)
    return files.replace_file(probe.config.own_folder / BEST_NAME, chunks), kind


def _neighbor_tensors(probe: Probe, head: NeighborHead) -> dict[str, Tensor]:
    return {
        "neighbors": torch.tensor([head.neighbors]),
        "train": torch.from_numpy(probe.train),
        "labels": head.labels,
    }


def _network(probe: Probe, head: LinearHead) -> dict[str, Tensor] | None:
    """The backbone with the probe as its last layer, tried on two images; on the CPU."""
    task, cpu = probe.task, torch.device("cpu")
    backbone = build_checked(probe.config, probe.recipe, len(task.classes), load=True)
    loader = make_loader(task.images, task.labels, cpu, backbone.mean, backbone.std)
    return network_with(backbone, head, loader.normalise(loader.fetch(task.train[:2])[0]))


def _finish(
    probe: Probe,
    head: LinearHead | NeighborHead,
    features: Features,
    record: EpochRecord,
    weights: tuple[str | None, str],
    should_stop: ShouldStop,
) -> EndRecord:
    """Reads the test split once if asked; ``weights`` as from ``_write_weights``."""
    config, task = probe.config, probe.task
    weights_sha256, kind = weights
    test: dict[str, float] = {}
    predictions_sha256 = None
    if config.read_test:
        if should_stop():
            raise DrainRequested
        logits = head.logits(features.values[torch.from_numpy(task.test)])
        test = _metrics(probe, logits, task.test, "test")
        labels = torch.from_numpy(task.labels[task.test])
        predictions_sha256 = write_test_predictions(
            config.own_folder, config.key, task, logits, labels
        )
    facts = run_facts(probe.device, probe.precision, features.parameters, len(probe.train))
    facts |= {"method": probe.recipe.method, "features": features.key, "weights": kind}
    if isinstance(head, LinearHead):
        facts |= {"iterations": head.iterations, "converged": float(head.converged)}
    end = EndRecord(
        state="complete",
        finished_at=time.time(),
        best_epoch=1,
        best={name: v for name, v in record.metrics.items() if name.startswith("val/")},
        test=test,
        oracle=test if config.oracle else {},
        weights_path=f"{config.own_dir}/{BEST_NAME}" if weights_sha256 else None,
        weights_sha256=weights_sha256,
        predictions_path=f"{config.own_dir}/{PREDICTIONS_NAME}" if predictions_sha256 else None,
        predictions_sha256=predictions_sha256,
        facts=facts,
    )
    write_end(config, [record], end)
    if (mirror := mirror_of(config)) is not None:
        mirror.send_results()
    return end
