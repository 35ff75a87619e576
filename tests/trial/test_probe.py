"""Trials of ``linear_probe`` and ``knn``: one epoch, one end, nothing lost, nothing drawn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from raybench.backbones.build import build_backbone
from raybench.datasets.task import Task
from raybench.spec import BackboneSpec
from raybench.trial import features, files
from raybench.trial.batches import make_loader
from raybench.trial.checkpoint import collect
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial
from tests.trial.conftest import MakeConfig, run, stop_at, timeless

RESNET = {"backbone": {"name": "timm:test_resnet", "weights": "none"}}
FINAL = {"phase": "final", "read_test": True}
METHODS = ["linear_probe", "knn"]


def weights_of(config: TrialConfig, end: Any) -> Path:
    path = Path(config.checkpoint_root) / str(end.weights_path)
    assert files.sha256_of(path) == end.weights_sha256
    return path


@pytest.mark.parametrize("method", METHODS)
def test_records_of_a_search_trial(make_config: MakeConfig, method: str) -> None:
    config = make_config(method=method, epochs=20)
    (record,), end = run(config)
    assert (record.epoch, record.stage, record.lr) == (1, 0, 0.0)
    assert {"train/loss", "train/accuracy", "val/accuracy", "val/nll", "val/loss"} <= set(
        record.metrics
    )
    assert record.duration_s == pytest.approx(
        sum(record.metrics[f"perf/{part}_s"] for part in ("feature", "fit", "val"))
    )
    assert end.state == "complete" and end.best_epoch == 1
    assert end.best == {k: v for k, v in record.metrics.items() if k.startswith("val/")}
    assert end.test == {} and end.predictions_path is None
    assert {"parameters", "device", "precision", "threads", "torch", "timm"} <= end.facts.keys()
    assert end.facts["train_images"] == 27
    weights_of(config, end)


def test_the_probe_equals_scikit_learns_on_the_cached_features(
    make_config: MakeConfig, digits: Task
) -> None:
    config = make_config(method="linear_probe", l2=0.01, config=RESNET | FINAL)
    (record,), end = run(config)
    path = Path(config.cache_dir) / "features" / f"{end.facts['features']}.safetensors"
    values = load_file(path)["features"].double().numpy()
    train = values[digits.train]
    std = np.where(train.std(axis=0) == 0, 1, train.std(axis=0))
    theirs = LogisticRegression(C=1 / (27 * 0.01), tol=1e-9, max_iter=5000).fit(
        (train - train.mean(axis=0)) / std, digits.labels[digits.train]
    )
    test = (values[digits.test] - train.mean(axis=0)) / std
    predictions = Path(config.checkpoint_root) / str(end.predictions_path)
    ours = load_file(predictions)["probabilities"].numpy()
    np.testing.assert_allclose(ours[:, theirs.classes_], theirs.predict_proba(test), atol=1e-3)
    assert end.test["test/accuracy"] == theirs.score(test, digits.labels[digits.test])


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_are_bit_identical(
    make_config: MakeConfig, method: str, tmp_path: Path, digits: Task
) -> None:
    first = make_config(folder="a", method=method, config=FINAL)
    second = make_config(
        folder="b", method=method, config=FINAL | {"cache_dir": str(tmp_path / "other")}
    )
    records, end = run(first)
    torch.rand(3)
    again, same_end = run(second)
    assert timeless(records) == timeless(again)
    assert (end.weights_sha256, end.predictions_sha256) == (
        same_end.weights_sha256,
        same_end.predictions_sha256,
    )


def test_a_tuned_probe_makes_one_forward_pass(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,), _ = run(make_config(folder="0", method="linear_probe"))

    def refuse(*_: Any) -> None:
        raise AssertionError("a second pass")

    monkeypatch.setattr(features, "extract", refuse)
    (second,), end = run(make_config(folder="1", method="linear_probe", l2=1.0))
    assert end.state == "complete"
    assert "perf/images_per_s" in first.metrics and "perf/images_per_s" not in second.metrics
    assert timeless([first]) != timeless([second])
    (_,), end = run(make_config(folder="2", method="knn", config=FINAL))
    assert end.state == "complete"


def test_a_final_probe_is_a_network_like_a_fine_tuned_one(
    make_config: MakeConfig, digits: Task
) -> None:
    config = make_config(method="linear_probe", l2=0.01, config=RESNET | FINAL)
    _, end = run(config)
    assert end.facts["weights"] == "network"
    backbone = build_backbone(BackboneSpec(**RESNET["backbone"]), 10, 12, load=False)
    backbone.model.load_state_dict(load_file(weights_of(config, end)))
    loader = make_loader(
        digits.images, digits.labels, torch.device("cpu"), backbone.mean, backbone.std
    )
    images = loader.normalise(loader.fetch(digits.test)[0])
    with torch.no_grad():
        probabilities = backbone.model.eval()(images).softmax(dim=1)
    predictions = load_file(Path(config.checkpoint_root) / str(end.predictions_path))
    assert torch.allclose(probabilities, predictions["probabilities"], atol=1e-3)


def test_a_network_with_something_after_its_last_layer_keeps_the_head(
    make_config: MakeConfig,
) -> None:
    config = make_config("activated", method="linear_probe", config=FINAL)
    _, end = run(config)
    assert end.facts["weights"] == "head"
    path = weights_of(config, end)
    assert {k: tuple(v.shape) for k, v in load_file(path).items()} == {
        "weight": (10, 4),
        "bias": (10,),
        "mean": (4,),
        "std": (4,),
    }
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"kind": "head", "features": end.facts["features"]}


def test_knn_keeps_where_its_neighbours_are(make_config: MakeConfig, digits: Task) -> None:
    config = make_config(method="knn", neighbors=3, config=FINAL)
    _, end = run(config)
    assert end.facts["weights"] == "neighbors"
    kept = load_file(weights_of(config, end))
    assert kept["neighbors"].tolist() == [3]
    assert kept["train"].tolist() == digits.train.tolist()
    assert kept["labels"].tolist() == digits.labels[digits.train].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_refit_and_oracle(make_config: MakeConfig, method: str) -> None:
    config = FINAL | {"refit_epochs": 1, "oracle": True}
    (record,), end = run(make_config(method=method, config=config))
    assert end.facts["train_images"] == 57
    assert not any(name.startswith("val/") for name in record.metrics)
    assert end.best == {} and end.oracle == end.test != {}


def test_class_weights_and_smoothing_reach_the_fit(make_config: MakeConfig) -> None:
    plain, _ = run(make_config(folder="0", method="linear_probe"))
    for number, change in enumerate([{"class_weights": "balanced"}, {"smoothing": 0.1}]):
        changed, _ = run(make_config(folder=f"c{number}", method="linear_probe", **change))
        assert changed[0].metrics["train/loss"] != plain[0].metrics["train/loss"]


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_anywhere_and_resumed_is_uninterrupted(
    make_config: MakeConfig, method: str
) -> None:
    whole = make_config(folder="w", method=method, batch_size=600, config=FINAL)
    polls = 0

    def count() -> bool:
        nonlocal polls
        polls += 1
        return False

    reference, reference_end = run(whole, count)
    cached = Path(whole.cache_dir) / "features" / f"{reference_end.facts['features']}.safetensors"
    for poll in sorted({*range(min(6, polls)), polls - 1}):
        config = make_config(folder=f"p{poll}", method=method, batch_size=600, config=FINAL)
        cached.unlink()
        before, end = run(config, stop_at(poll))
        if poll < polls - 1:
            assert end.state == "interrupted"
        resumed = dataclasses.replace(config, attempt=2, known_epochs=len(before))
        after, end = run(resumed)
        assert timeless(before + after) == timeless(reference)
        assert end.weights_sha256 == reference_end.weights_sha256
        assert end.predictions_sha256 == reference_end.predictions_sha256


def test_a_finished_trial_is_told_again(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(method="linear_probe")
    epochs, end = run(config)
    monkeypatch.setattr("raybench.trial.loop.run_probe", lambda *_: pytest.fail("run again"))
    assert run(config) == (epochs, end)
    assert run(dataclasses.replace(config, attempt=2, known_epochs=1)) == ([], end)


def test_weights_of_a_trial_that_the_driver_stops_are_kept(make_config: MakeConfig) -> None:
    config = make_config(method="linear_probe")
    records = run_trial(config)
    next(records)
    records.close()
    collected = collect(Path(config.checkpoint_root), config.checkpoint_dir, (1, 0))
    assert collected is not None and collected[0] == "trial/a1/best.safetensors"


def test_the_data_must_be_those_that_the_driver_checked(make_config: MakeConfig) -> None:
    _, end = run(make_config(method="knn", config={"data_digest": "0" * 64}))
    assert end.failure == "data" and "not the one that this sweep began with" in end.reason


def test_a_missing_weights_file_is_a_record(make_config: MakeConfig, tmp_path: Path) -> None:
    backbone = {"name": "timm:test_resnet", "weights": str(tmp_path / "gone.pt")}
    _, end = run(make_config(method="knn", config={"backbone": backbone}))
    assert end.state == "failed" and "gone.pt" in end.reason
