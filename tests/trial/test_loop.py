"""``run_trial``: its records, and how it ends."""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from raybench.backbones.backbone import DEFAULT_MEAN, DEFAULT_STD
from raybench.backbones.build import build_backbone
from raybench.datasets.task import Task
from raybench.spec import Stage
from raybench.trial import evaluate, files
from raybench.trial.batches import make_loader
from raybench.trial.learner import Learner
from raybench.trial.loop import run_trial
from tests.trial import models
from tests.trial.conftest import RICH, MakeConfig, run, timeless


def test_records_of_a_search_trial(make_config: MakeConfig, tmp_path: Path) -> None:
    epochs, end = run(make_config())
    assert [record.epoch for record in epochs] == [1, 2, 3]
    assert end.state == "complete"
    assert end.test == {} and end.predictions_path is None
    best = max(epochs, key=lambda record: record.metrics["val/accuracy"])
    assert end.best_epoch == best.epoch
    assert end.best == {k: v for k, v in best.metrics.items() if k.startswith("val/")}
    assert end.facts["train_images"] == 27 and end.facts["precision"] == "fp32"
    assert {"parameters", "device", "threads", "torch", "timm"} <= end.facts.keys()
    weights = tmp_path / "checkpoints" / str(end.weights_path)
    assert files.sha256_of(weights) == end.weights_sha256
    assert [path.name for path in weights.parent.glob("a*")] == []


def test_two_runs_are_bit_identical(make_config: MakeConfig) -> None:
    first, first_end = run(make_config(folder="first", **RICH))
    torch.rand(3), np.random.rand(3)  # whatever the process did before must not matter
    second, second_end = run(make_config(folder="second", **RICH))
    assert timeless(first) == timeless(second)
    assert first_end.weights_sha256 == second_end.weights_sha256


def test_another_training_seed_gives_other_numbers(make_config: MakeConfig) -> None:
    first, _ = run(make_config(folder="first"))
    second, _ = run(make_config(folder="second", config={"training_seed": 1}))
    assert timeless(first) != timeless(second)


def test_predictions_file(make_config: MakeConfig, tmp_path: Path, digits: Task) -> None:
    _, end = run(make_config(config={"read_test": True, "phase": "final"}))
    path = tmp_path / "checkpoints" / str(end.predictions_path)
    assert files.sha256_of(path) == end.predictions_sha256
    tensors = load_file(path)
    assert tensors["probabilities"].dtype == torch.float32
    assert torch.allclose(tensors["probabilities"].sum(dim=1), torch.ones(30))
    assert tensors["labels"].tolist() == digits.labels[digits.test].tolist()
    hits = tensors["probabilities"].argmax(dim=1) == tensors["labels"]
    assert float(hits.double().mean()) == end.test["test/accuracy"]
    with safe_open(path, "pt") as file:
        ids = json.loads(file.metadata()["ids"])
    assert ids == [digits.ids[index] for index in digits.test]


def test_oracle_is_at_least_as_good_on_test(make_config: MakeConfig) -> None:
    config = {"read_test": True, "oracle": True}
    epochs, end = run(make_config(config=config, epochs=5))
    assert end.oracle["test/accuracy"] >= end.test["test/accuracy"]
    assert not any(name.startswith("test/") for record in epochs for name in record.metrics)


def test_refit_trains_on_validation_too(make_config: MakeConfig) -> None:
    config = {"refit_epochs": 2, "read_test": True}
    epochs, end = run(make_config(config=config, epochs=5))
    assert [record.epoch for record in epochs] == [1, 2]
    assert end.facts["train_images"] == 57
    assert (end.best_epoch, end.best) == (2, {})
    assert "test/accuracy" in end.test
    assert not any(name.startswith("val/") for record in epochs for name in record.metrics)


def script_validation(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Validation accuracy as written down; everything else, and the test split, as it is."""
    remaining = iter(values)
    original = evaluate.evaluate

    def scripted(session: Any, indices: Any, split: str, should_stop: Any) -> Any:
        metrics, logits, labels = original(session, indices, split, should_stop)
        if split == "val":
            metrics["val/accuracy"] = next(remaining)
        return metrics, logits, labels

    monkeypatch.setattr("raybench.trial.loop.evaluate", scripted)


def test_stages_change_optimizer_and_start_from_the_best_weights(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = {"epochs": 1, "schedule": "constant"}
    _, end = run(make_config(folder="one", epochs=1, stages=[first]))
    after_one_epoch = load_file(tmp_path / "checkpoints" / str(end.weights_path))
    starts: list[tuple[str, dict[str, torch.Tensor]]] = []
    original = Learner.start_stage

    def spy(self: Learner, stage: Stage) -> None:
        weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        starts.append((stage.optimizer, weights))
        original(self, stage)

    monkeypatch.setattr(Learner, "start_stage", spy)
    script_validation(monkeypatch, [0.9, 0.1, 0.2])
    stages = [first | {"epochs": 2}, {"optimizer": "sgd", "lr": 0.5, "epochs": 1}]
    epochs, _ = run(make_config(stages=stages))
    assert [record.stage for record in epochs] == [0, 0, 1]
    assert epochs[0].lr == 0.01 and 0.01 < epochs[2].lr < 0.5
    assert [optimizer for optimizer, _ in starts] == ["adamw", "sgd"]
    assert all(torch.equal(starts[1][1][name], after_one_epoch[name]) for name in after_one_epoch)


def test_the_test_split_is_read_with_the_best_weights(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits: Task
) -> None:
    script_validation(monkeypatch, [0.9, 0.1, 0.2])
    _, end = run(make_config(config={"read_test": True}))
    assert end.best_epoch == 1
    model = models.TinyNet(10).eval()
    model.load_state_dict(load_file(tmp_path / "checkpoints" / str(end.weights_path)))
    mean, std = DEFAULT_MEAN, DEFAULT_STD
    loader = make_loader(digits.images, digits.labels, torch.device("cpu"), mean, std)
    with torch.no_grad():
        logits = model(loader.normalise(loader.fetch(digits.test)[0]))
    written = load_file(tmp_path / "checkpoints" / str(end.predictions_path))["probabilities"]
    assert torch.allclose(written, logits.softmax(dim=1), atol=1e-5)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_stops_after_exactly_that_many_epochs_without_gain(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    script_validation(monkeypatch, [0.1, 0.3, 0.3, 0.2, 0.4, 0.4, 0.1, 0.2, 0.3, 0.3])
    epochs, end = run(make_config(epochs=10, patience=patience))
    # gains at 1, 2 and 5: patience 1 ends at 3, patience 2 at 4, patience 3 at 8
    assert (len(epochs), end.best_epoch) == {1: (3, 2), 2: (4, 2), 3: (8, 5)}[patience]


def test_accuracy_counts_images_not_batches(make_config: MakeConfig) -> None:
    epochs, _ = run(make_config(epochs=1, lr=1e-9))
    right = epochs[0].metrics["train/accuracy"] * 27
    assert math.isclose(right, round(right), abs_tol=1e-9)
    right = epochs[0].metrics["val/accuracy"] * 30
    assert math.isclose(right, round(right), abs_tol=1e-9)


def test_a_last_batch_of_one_image_is_left_out(make_config: MakeConfig) -> None:
    epochs, _ = run(make_config(epochs=1, batch_size=13, lr=1e-9))
    right = epochs[0].metrics["train/accuracy"] * 26
    assert math.isclose(right, round(right), abs_tol=1e-9)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("bf16", torch.bfloat16)]
)
def test_the_forward_pass_runs_in_the_precision_asked_for(
    make_config: MakeConfig, precision: str, dtype: torch.dtype
) -> None:
    models.seen_dtypes.clear()
    _, end = run(make_config(precision=precision, epochs=1))
    assert end.state == "complete"
    assert set(models.seen_dtypes[1:]) == {dtype}  # the first is the builder's trial image


@pytest.mark.parametrize(
    ("model", "failure", "reason"),
    [
        ("out_of_memory", "oom", "OutOfMemoryError: CUDA out of memory"),
        ("overflowing", "diverged", "loss was no longer finite at batch 4 of epoch 1"),
        ("throwing", "user", "KeyError: 'my own\\nbug'"),
        ("missing", "user", "missing"),
    ],
)
def test_failures_are_records(
    make_config: MakeConfig, model: str, failure: str, reason: str
) -> None:
    epochs, end = run(make_config(model))
    assert epochs == []
    assert (end.state, end.failure) == ("failed", failure)
    assert reason in end.reason
    assert "\n" not in end.reason


def test_bad_data_bad_device_and_a_full_disk_are_records(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, end = run(make_config(batch_size=28))
    assert (end.failure, end.reason) == (
        "data",
        "recipe.batch_size 28 is larger than the training split of 27 images; give 27 or less",
    )
    _, end = run(make_config(config={"data_digest": "0" * 64}))
    assert end.failure == "data" and "not the one that this sweep began with" in end.reason
    _, end = run(make_config(method="knn", neighbors=28))
    assert (end.failure, end.reason) == (
        "data",
        "recipe.neighbors 28 is larger than the training split of 27 images; give 27 or less",
    )
    if not torch.cuda.is_available():
        _, end = run(make_config(config={"device": "cuda"}))
        assert end.failure == "user" and "offers only" in end.reason

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_synced", full)
    _, end = run(make_config())
    assert end.failure == "disk"


@pytest.mark.parametrize("model", ["tiny", "overflowing"])
def test_the_model_is_gone_before_the_gpus_cache_is_emptied(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    alive: list[weakref.ref[Any]] = []

    def spy(*arguments: Any) -> Any:
        backbone = build_backbone(*arguments)
        alive.append(weakref.ref(backbone.model))
        return backbone

    monkeypatch.setattr("raybench.trial.session.build_backbone", spy)
    gone: list[bool] = []
    monkeypatch.setattr("raybench.trial.loop.free_memory", lambda: gone.append(alive[0]() is None))
    gc.disable()
    try:
        records = run_trial(make_config(model))
        next(records)
        records.close()  # what the driver does at an early stop
    finally:
        gc.enable()
    assert gone == [True]


@pytest.mark.parametrize("augment", ["none", "flip", "trivial", "randaugment"])
def test_a_real_backbone_with_layer_decay(make_config: MakeConfig, augment: str) -> None:
    config = make_config(epochs=1, layer_decay=0.7, augment=augment)
    kwargs = {"img_size": 12, "patch_size": 4}
    backbone = {"name": "timm:test_vit", "weights": "none", "kwargs": kwargs}
    epochs, end = run(dataclasses.replace(config, backbone=backbone))
    assert end.state == "complete", end.reason
    assert 0 < epochs[0].lr < 0.01 * 0.7  # the first group is the lowest layer
