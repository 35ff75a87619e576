"""What only a CUDA GPU can show: number formats, the memory cap, out of memory, resuming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raybench.datasets.task import load_task
from raybench.spec import BackboneSpec, DatasetSpec, Recipe
from raybench.trial import session
from raybench.trial.augment import augment
from raybench.trial.batches import make_loader
from raybench.trial.device import cap_memory, free_memory
from raybench.trial.footprint import measure_footprint
from raybench.trial.loop import run_trial
from raybench.trial.meter import CHECK_EVERY
from tests.trial.conftest import RICH, MakeConfig, run, stop_at, timeless

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU"),
]
CUDA = {"device": "cuda"}
GPU = torch.device("cuda")


class NormLess(nn.Module):
    """Nothing in it mixes images, as BatchNorm does, and nothing is drawn, as for dropout."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.GroupNorm(4, 16)
        self.head = nn.Linear(16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.conv(images)).relu().mean(dim=(2, 3))
        logits: torch.Tensor = self.head(features)
        return logits


def norm_less(classes: int, image_size: int) -> nn.Module:
    return NormLess(classes)


BACKBONES: dict[str, dict[str, Any]] = {
    "norm_less": {"name": "python:tests.trial.test_gpu:norm_less", "weights": "none"},
    "resnet": {"name": "timm:test_resnet", "weights": "none"},
}


@pytest.fixture
def no_cap_after() -> Iterator[None]:
    """A cap holds for the process until it is lifted."""
    yield
    cap_memory(GPU, None)
    free_memory()


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_each_number_format_learns(make_config: MakeConfig, precision: str) -> None:
    epochs, end = run(make_config(config=CUDA, precision=precision, epochs=8, lr=0.05))
    assert end.state == "complete", end.reason
    assert epochs[-1].metrics["train/loss"] < epochs[0].metrics["train/loss"]
    assert epochs[0].metrics["perf/peak_memory_gb"] > 0
    assert end.facts["device"] == torch.cuda.get_device_name()


def test_auto_takes_the_gpu_and_bf16_where_it_is_native(make_config: MakeConfig) -> None:
    _, end = run(make_config(config={"device": "auto"}))
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    assert end.facts["precision"] == ("bf16" if native else "fp16")


def test_interrupted_and_resumed(make_config: MakeConfig) -> None:
    """Everything that carries state survives; GPU sums are not bit-stable, so close is enough."""
    config = make_config(config=CUDA, **RICH)
    whole, _ = run(config)
    again = make_config(folder="broken", config=CUDA, **RICH)
    first, end = run(again, stop_at(9))
    assert end.state == "interrupted"
    second = CUDA | {"attempt": 2, "known_epochs": len(first)}
    rest, end = run(make_config(folder="broken", config=second, **RICH))
    assert end.state == "complete", end.reason
    losses = [record.metrics["train/loss"] for record in first + rest]
    assert losses == pytest.approx([r.metrics["train/loss"] for r in whole], rel=0.05)


def test_memory_cap_ends_the_trial_not_the_process(make_config: MakeConfig) -> None:
    """Over its share a trial fails as oom; the next one in the same process runs."""
    total = torch.cuda.get_device_properties(0).total_memory
    tiny_share = 64e6 / total
    _, end = run(
        make_config(model="hungry", folder="a", config=CUDA | {"memory_fraction": tiny_share})
    )
    assert (end.state, end.failure) == ("failed", "oom"), end.reason
    _, end = run(make_config(folder="b", config=CUDA))
    assert end.state == "complete", end.reason
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() < 64e6


def test_final_trial_reads_the_test_split(make_config: MakeConfig) -> None:
    _, end = run(make_config(config=CUDA | {"phase": "final", "read_test": True}))
    assert end.test["test/accuracy"] >= 0
    assert end.predictions_sha256 is not None


@pytest.mark.parametrize("method", ["linear_probe", "knn"])
def test_a_probe_is_deterministic_and_agrees_with_the_cpus(
    make_config: MakeConfig, tmp_path: Path, method: str
) -> None:
    backbone = {"backbone": {"name": "timm:test_resnet", "weights": "none"}, "read_test": True}
    keys = {"method": method, "precision": "fp32", "l2": 0.1}
    (record,), end = run(make_config(folder="a", config=backbone | CUDA, **keys))
    other = {"cache_dir": str(tmp_path / "other")}
    (again,), same = run(make_config(folder="b", config=backbone | CUDA | other, **keys))
    assert timeless([record]) == timeless([again])
    assert (end.weights_sha256, end.test) == (same.weights_sha256, same.test)
    (cpus,), _ = run(make_config(folder="c", config=backbone, **keys))
    assert record.metrics["val/nll"] == pytest.approx(cpus.metrics["val/nll"], rel=0.05)


def test_no_more_can_be_allocated_than_the_cap_allows(no_cap_after: None) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    free_memory()
    cap_memory(GPU, (torch.cuda.memory_reserved() + 256e6) / total)
    kept = torch.empty(128 * 10**6, dtype=torch.uint8, device=GPU)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(256 * 10**6, dtype=torch.uint8, device=GPU)
    cap_memory(GPU, None)
    more = torch.empty(256 * 10**6, dtype=torch.uint8, device=GPU)
    assert kept.is_cuda and more.is_cuda


def test_micro_batches_give_the_same_curve(make_config: MakeConfig) -> None:
    """Of a network without BatchNorm, whose loss is a mean over images."""
    curves = []
    for parts in (1, 2, 4):
        config = CUDA | {"backbone": BACKBONES["norm_less"], "accumulation": parts}
        epochs, end = run(make_config(folder=f"{parts}", config=config, precision="fp32"))
        assert end.state == "complete", end.reason
        assert end.facts["micro_batch"] == 8 // parts
        curves.append([record.metrics["train/loss"] for record in epochs])
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    assert curves[2] == pytest.approx(curves[0], rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_half_the_bits_give_nearly_the_same_curve(
    make_config: MakeConfig, precision: str, backbone: str
) -> None:
    curves = {}
    for name in ("fp32", precision):
        config = CUDA | {"backbone": BACKBONES[backbone]}
        epochs, end = run(make_config(folder=name, config=config, precision=name, lr=1e-3))
        assert end.facts["precision"] == name
        curves[name] = [record.metrics["train/loss"] for record in epochs]
    assert curves[precision] == pytest.approx(curves["fp32"], rel=0.05)


@pytest.mark.parametrize("augment", ["none", "trivial"])
def test_the_footprint_is_what_a_trial_takes(
    make_config: MakeConfig, augment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 10 %: of 112 px, so that what is rounded up to whole blocks counts for little."""
    task = load_task(DatasetSpec(name="digits"), 112, "10%", 0, tmp_path)
    monkeypatch.setattr(session, "load_task", lambda *_, **__: task)
    recipe: dict[str, Any] = {"image_size": 112, "batch_size": 16, "augment": augment}
    spec = BackboneSpec(name="torchvision:resnet50", weights="none")
    found = measure_footprint(spec, 10, Recipe(**recipe), "cuda")
    free_memory()
    config = make_config(config=CUDA | {"backbone": spec.model_dump(mode="json")}, **recipe)
    epochs, end = run(config)
    assert end.state == "complete", end.reason
    most = max(record.metrics["perf/peak_memory_gb"] for record in epochs)
    assert found.peak_memory_gb == pytest.approx(most, rel=0.1)


@pytest.mark.parametrize("kind", ["none", "flip", "trivial", "randaugment"])
def test_a_batch_is_that_of_the_cpu_and_waits_for_nothing(kind: str) -> None:
    """torch itself raises where the host would wait; see test_waiting for the same without a GPU.

    Nearest pixels and roundings may fall the other way on another processor, as in test_policies.
    """
    images = np.random.default_rng(0).integers(0, 256, (64, 48, 48, 3), dtype=np.uint8)
    labels, order = np.arange(64) % 10, np.arange(64)[::-1].copy()
    batches = {}
    for name in ("cpu", "cuda"):
        place = torch.device(name)
        loader = make_loader(images, labels, place, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
        if name == "cuda":
            loader.normalise(augment(loader.fetch(order)[0], kind, 1))  # pinned pages, libraries
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        try:
            pixels, theirs = loader.fetch(order)
            batch = loader.normalise(augment(pixels, kind, 1))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert theirs.tolist() == labels[order].tolist()
        batches[name] = batch.cpu()
    different = (batches["cuda"] - batches["cpu"]).abs() > 1e-4
    assert different.float().mean() < 1e-3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_waits_for_nothing(make_config: MakeConfig, precision: str) -> None:
    """Between the looks at the loss, every ``CHECK_EVERY`` batches."""
    recipe = {"precision": precision, "clip_grad": 1.0, "mixup": 0.2, "model_ema": 0.9}
    opened = session.open_session(make_config(config=CUDA, **recipe))
    opened.learner.model.train()
    for number in range(1, CHECK_EVERY):
        if number == 4:  # by then the optimizer has its state, and cuDNN its kernels
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        try:
            pixels, labels = opened.loader.fetch(np.arange(8))
            opened.learner.step(opened.loader.normalise(pixels), labels, 1e-3, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_no_pinned_page_is_written_before_it_has_been_copied() -> None:
    """The host prepares batch after batch while the GPU is still busy with something long."""
    images = np.repeat(np.arange(64, dtype=np.uint8), 3 * 64 * 64).reshape(64, 64, 64, 3)
    loader = make_loader(images, np.arange(64), GPU, (0.0,) * 3, (1.0,) * 3)
    busy = torch.randn(4096, 4096, device=GPU)
    for _ in range(50):
        busy = busy @ busy / 4096
    batches = [loader.fetch(np.full(32, number)) for number in range(64)]
    for number, (pixels, labels) in enumerate(batches):
        assert bool((pixels == number).all()) and bool((labels == number).all())


def test_a_failed_trial_and_a_cap_leave_the_next_one_its_numbers(make_config: MakeConfig) -> None:
    """In one process. Neighbours on one GPU: ``benchmarks/gpu_oom.py``."""
    calm = CUDA | {"backbone": BACKBONES["norm_less"]}
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        alone, _ = run(make_config(folder="a", config=calm))
        list(run_trial(make_config(model="out_of_memory", folder="b", config=CUDA)))
        again, end = run(make_config(folder="c", config=calm | {"memory_fraction": 0.5}))
    finally:
        torch.use_deterministic_algorithms(False)
        cap_memory(GPU, None)
    assert end.state == "complete", end.reason
    assert timeless(alone) == timeless(again)
