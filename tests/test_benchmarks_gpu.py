"""The GPU benchmarks in their CPU form: they run, complete their trials and print their ratios."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = ["gpu_training", "gpu_packing", "gpu_oom"]
RATIO = r"(\d+\.\d\d) \((\d+\.\d\d) to (\d+\.\d\d)\)"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def ratios(printed: str, before: str) -> list[float]:
    """Medians that follow ``before``; each lies in its range and is a positive number."""
    found = [tuple(map(float, triple)) for triple in re.findall(before + RATIO, printed)]
    assert all(0 < low <= middle <= high for middle, low, high in found)
    return [middle for middle, _, _ in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_help(name: str) -> None:
    assert "--device {cuda,cpu}" in run(name, "--help")


@pytest.mark.slow
def test_training_beside_the_step_alone(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    sizes = ["--image-size", "32", "--batch-size", "4", "--images", "8", "--timed", "1"]
    options = ["--rounds", "1", "--backbones", "timm:test_resnet", "--trace", str(trace)]
    printed = run("gpu_training", "--device", "cpu", *sizes, *options)
    assert len(ratios(printed, "ratio ")) == 3  # no augmentation, flips and crops, TrivialAugment
    assert printed.count("ms a batch: copy ") == 3
    assert "CPU form, no GPU figure" in printed
    assert re.search(r"lowest of 3: \d+\.\d\d, timm:test_resnet", printed)
    assert trace.stat().st_size > 1000


@pytest.mark.nightly
@pytest.mark.slow
def test_packing_without_ray() -> None:
    sizes = ["--image-size", "16", "--trials", "2", "--epochs", "1", "--rounds", "1"]
    printed = run(
        "gpu_packing", "--device", "cpu", "--no-ray", *sizes, "--backbones", "timm:test_resnet"
    )
    assert "4 of 4 trials completed, 0 lost by lack of memory" in printed
    assert len(ratios(printed, "ratio ")) == 2


@pytest.mark.nightly
@pytest.mark.ray
def test_packing_by_raybench_run() -> None:
    sizes = ["--image-size", "16", "--trials", "1", "--epochs", "1", "--rounds", "1"]
    printed = run("gpu_packing", "--device", "cpu", *sizes, "--backbones", "timm:test_resnet")
    assert printed.count(" 2 trials in ") == 2
    assert printed.count(" 0 trials lost by lack of memory") == 2
    assert len(ratios(printed, "ratio ")) == 1


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits the address space")
def test_the_greedy_one_ends_by_itself() -> None:
    sizes = ["--image-size", "16", "--epochs", "2", "--rounds", "1"]
    printed = run("gpu_oom", "--device", "cpu", *sizes, "--backbones", "timm:test_resnet")
    taken = re.search(r"greedy: (\d+) of (\d+) trials ended as failed \(oom\)", printed)
    assert taken is not None and taken[1] == taken[2] != "0"
    assert "neighbour: 1 of 1 completed" in printed
    assert "its losses differ by 0 from those alone, two runs alone by 0" in printed
    assert all(math.isfinite(ratio) for ratio in ratios(printed, "against alone: "))
