"""What only a CUDA GPU can show: number formats, the memory cap, out of memory, resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trial.conftest import RICH, MakeConfig, run, stop_at, timeless

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU"),
]
CUDA = {"device": "cuda"}


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
