"""Features: what they are, that they are computed once, and what damages them."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from raybench.backbones.build import build_backbone
from raybench.datasets.task import Task
from raybench.spec import BackboneSpec
from raybench.trial import features
from raybench.trial.batches import make_loader
from raybench.trial.config import TrialConfig
from raybench.trial.device import Precision
from raybench.trial.failures import DivergedError, DrainRequested, ModelError
from raybench.trial.features import Features, extract, load_features
from raybench.trial.session import recipe_of
from raybench.trial.tap import FeatureTap
from tests.trial.conftest import MakeConfig, stop_at

FP32 = Precision("fp32", "cpu")
CPU = torch.device("cpu")


def built(name: str, size: int = 32, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    spec = BackboneSpec(name=name, weights="none", kwargs=kwargs)
    return build_backbone(spec, 10, size)


def load(
    config: TrialConfig, task: Task, should_stop: Callable[[], bool] = lambda: False
) -> Features:
    return load_features(config, recipe_of(config), task, CPU, FP32, should_stop)


@pytest.mark.parametrize(
    "name",
    ["timm:test_resnet", "timm:test_vit", "timm:test_convnext", "timm:test_efficientnet",
     "timm:mobilenetv3_small_050"],
)  # fmt: skip
def test_features_are_timms_penultimate_ones(name: str) -> None:
    backbone = built(name)
    model = backbone.model.eval()
    images = torch.rand(2, 3, 32, 32)
    with FeatureTap(backbone) as tap, torch.no_grad():
        model(images)
        taken = tap.take()
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.equal(taken, expected)


@pytest.mark.parametrize(
    ("name", "size", "width"),
    [("torchvision:resnet18", 32, 512), ("torchvision:squeezenet1_0", 64, 512)],
)
def test_features_of_torchvisions_models_are_vectors(name: str, size: int, width: int) -> None:
    backbone = built(name, size)
    with FeatureTap(backbone) as tap, torch.no_grad():
        backbone.model.eval()(torch.rand(2, 3, size, size))
        assert tap.take().shape == (2, width)


def test_a_distilled_model_gives_the_mean_of_both_tokens() -> None:
    backbone = built(
        "timm:deit_tiny_distilled_patch16_224", img_size=32, depth=1, embed_dim=24, num_heads=2
    )
    model = backbone.model.eval()
    with FeatureTap(backbone) as tap, torch.no_grad():
        tokens = model.forward_features(images := torch.rand(2, 3, 32, 32))
        model(images)
        assert torch.allclose(tap.take(), tokens[:, :2].mean(dim=1), atol=1e-6)


def test_eval_mode_and_no_augmentation(digits: Task) -> None:
    backbone = built("python:tests.trial.models:tiny", 12)
    backbone.model.train()
    loader = make_loader(digits.images, digits.labels, CPU, backbone.mean, backbone.std)
    before = backbone.model.norm.running_mean.clone()
    first = extract(backbone, loader, 500, FP32, lambda: False)
    second = extract(backbone, loader, 500, FP32, lambda: False)
    assert first.shape == (len(digits.ids), 4) and first.dtype == torch.float32
    assert torch.equal(first, second)
    assert torch.equal(backbone.model.norm.running_mean, before)


def test_a_model_that_never_calls_its_last_layer(digits: Task) -> None:
    backbone = built("python:tests.trial.models:tiny", 12)
    with FeatureTap(backbone) as tap, pytest.raises(ModelError, match="use recipe.method finetune"):
        tap.take()


def test_features_that_are_not_finite(digits: Task) -> None:
    backbone = built("python:tests.trial.models:tiny", 12)
    torch.nn.init.constant_(backbone.model.norm.bias, torch.inf)
    loader = make_loader(digits.images, digits.labels, CPU, backbone.mean, backbone.std)
    with pytest.raises(DivergedError, match="not finite in fp32; set recipe.precision"):
        extract(backbone, loader, 500, FP32, lambda: False)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every forward pass over the data."""
    counted: list[int] = []
    original = features.extract

    def counting(*arguments: Any) -> Any:
        counted.append(1)
        return original(*arguments)

    monkeypatch.setattr(features, "extract", counting)
    return counted


def test_computed_once_for_all_subsets_and_trials(
    make_config: MakeConfig, digits: Task, passes: list[int]
) -> None:
    config = make_config(method="knn")
    first = load(config, digits)
    other = dataclasses.replace(config, key="pair/search/1", subset="5-shot")
    second = load(other, dataclasses.replace(digits, train=digits.train[:10]))
    assert len(passes) == 1
    assert first.computed_s is not None and second.computed_s is None
    assert first.key == second.key and first.parameters == second.parameters
    assert torch.equal(first.values, second.values)


@pytest.mark.parametrize(
    "change",
    [
        {"training_seed": 1},  # random weights
        {"model": "overflowing"},
        {"batch_size": 9},
        {"kwargs": {"config": {"backbone": {"name": "timm:test_resnet", "weights": "none"}}}},
    ],
)
def test_what_changes_features_has_another_file(
    make_config: MakeConfig, digits: Task, passes: list[int], change: dict[str, Any]
) -> None:
    first = load(make_config(method="knn", image_size=12), digits)
    recipe = {"batch_size": change.get("batch_size", 8)}
    changed = make_config(change.get("model", "tiny"), method="knn", **recipe)
    changed = dataclasses.replace(changed, **change.get("kwargs", {}).get("config", {}))
    changed = dataclasses.replace(changed, training_seed=change.get("training_seed", 0))
    assert load(changed, digits).key != first.key
    assert len(passes) == 2


def test_a_weights_file_is_named_by_its_content(
    make_config: MakeConfig, digits: Task, tmp_path: Path, passes: list[int]
) -> None:
    keys = []
    for number, seed in enumerate([0, 0, 1]):
        torch.manual_seed(seed)
        model = build_backbone(BackboneSpec(name="timm:test_resnet", weights="none"), 10, 12).model
        path = tmp_path / f"{number}.safetensors"
        save_file(model.state_dict(), path)
        backbone = {"name": "timm:test_resnet", "weights": str(path)}
        config = make_config(method="knn", config={"backbone": backbone, "training_seed": number})
        keys.append(load(config, digits).key)
    assert keys[0] == keys[1] != keys[2]
    assert len(passes) == 2


def feature_file(config: TrialConfig) -> Path:
    (path,) = (Path(config.cache_dir) / "features").glob("*.safetensors")
    return path


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_computed_again(
    make_config: MakeConfig,
    digits: Task,
    passes: list[int],
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config(method="knn")
    first = load(config, digits)
    path = feature_file(config)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"cut": content[:-10], "flipped": content, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        again = load(config, digits)
    assert len(caplog.records) == 1 and "and computed again" in caplog.text
    assert torch.equal(first.values, again.values)
    assert len(passes) == 2
    assert load(config, digits).computed_s is None


def test_the_file_says_what_it_is_of(make_config: MakeConfig, digits: Task) -> None:
    config = make_config(method="knn")
    load(config, digits)
    with safe_open(feature_file(config), "pt") as file:
        identity = json.loads(file.metadata()["identity"])
    assert identity["data"] == digits.data_digest and identity["image_size"] == 12


def test_interrupted_at_any_batch_leaves_nothing(
    make_config: MakeConfig, digits: Task, passes: list[int]
) -> None:
    config = make_config(method="knn", batch_size=600)  # three batches
    for poll in range(3):
        with pytest.raises(DrainRequested):
            load(config, digits, stop_at(poll))
    assert not list((Path(config.cache_dir) / "features").glob("*.safetensors"))
    assert load(config, digits, stop_at(3)).computed_s is not None


def test_another_process_is_waited_for(make_config: MakeConfig, digits: Task) -> None:
    """And an interruption is heard meanwhile."""
    config = make_config(method="knn")
    first = load(config, digits)
    feature_file(config).unlink()
    with (Path(config.cache_dir) / "features" / f"{first.key}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DrainRequested):
            load(config, digits, stop_at(1))


def test_without_locks_every_process_computes(
    make_config: MakeConfig, digits: Task, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(features.fcntl, "flock", refuse)
    assert load(make_config(method="knn"), digits).computed_s is not None
    assert load(make_config(method="knn"), digits).computed_s is None


def test_a_full_disk_leaves_nothing(
    make_config: MakeConfig, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, chunks: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features.files, "write_synced", full)
    config = make_config(method="knn")
    with pytest.raises(OSError, match="No space left"):
        load(config, digits)
    folder = Path(config.cache_dir) / "features"
    assert [path.suffix for path in folder.iterdir()] == [".lock"]
