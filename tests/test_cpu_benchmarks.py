"""Small runs of the programs behind the figures on training, probing and cores."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from raybench.validate import check_spec

FOLDER = Path(__file__).parents[1] / "benchmarks"


def output_of(program: str, *options: str) -> str:
    if not (FOLDER / program).is_file():
        pytest.skip("this distribution has no benchmarks/")
    command = [sys.executable, str(FOLDER / program), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def obvious_sweep(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with one network and one learning rate: two trainings a side."""
    if not FOLDER.is_dir():
        pytest.skip("this distribution has no benchmarks/")
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("obvious_sweep")
    monkeypatch.setattr(module, "BACKBONES", ("squeezenet1_1",))
    monkeypatch.setattr(module, "RATES", (3e-4,))
    monkeypatch.setattr(module, "DEFAULT_RATE", 3e-4)
    monkeypatch.setattr(module, "BATCH_SIZE", 8)
    return module


@pytest.mark.slow
def test_training_step() -> None:
    text = output_of("training_step.py", "--cases", "tiny", "--rounds", "1", "--cpu-time")
    lines = re.findall(
        r"^tiny, augment (.+): timm:test_resnet at 16 px.* median ratio [\d.]+", text, re.M
    )
    assert lines == ["none", "flip, crop", "trivial"]


@pytest.mark.slow
def test_cores() -> None:
    text = output_of("cores.py", "--tiny", "--rounds", "1", "--steps", "2")
    assert re.match(r"timm:test_resnet at 32 px, batch 8: two trials .* median ratio [\d.]+", text)


@pytest.mark.slow
def test_probe_cost() -> None:
    options = ("--backbone", "timm:test_resnet", "--image-size", "32", "--count", "100")
    text = output_of("probe_cost.py", *options, "--rounds", "1", "--cpu-time")
    assert "16 values of l2, 1 thread(s): one pass" in text and "all converged: True" in text


def test_both_sides_train_as_often(obvious_sweep: ModuleType, tmp_path: Path) -> None:
    """The sweep file is sound, and asks for the trainings that the loop of scripts makes."""
    images = obvious_sweep.make_images(tmp_path / "images", {"train": 8, "val": 4, "test": 4})
    spec = check_spec(obvious_sweep.sweep_data(images, 1), {}, tmp_path)
    assert spec.budget.trials + len(spec.final.seeds) == len(obvious_sweep.RATES) + 1
    assert {path.name for path in images.iterdir()} == {"train", "val", "test"}


@pytest.mark.slow
def test_the_obvious_way(obvious_sweep: ModuleType, tmp_path: Path) -> None:
    images = obvious_sweep.make_images(tmp_path / "images", {"train": 16, "val": 8, "test": 8})
    found = obvious_sweep.run_obviously(images, tmp_path, 1)
    assert len(found.val["squeezenet1_1"]) == 2
    assert 0 <= found.test["squeezenet1_1"] <= 1


@pytest.mark.nightly
@pytest.mark.ray
def test_our_way(obvious_sweep: ModuleType, tmp_path: Path) -> None:
    images = obvious_sweep.make_images(tmp_path / "images", {"train": 16, "val": 8, "test": 8})
    found = obvious_sweep.run_raybench(images, tmp_path, 1)
    assert len(found.val["squeezenet1_1"]) == 2
    assert 0 <= found.test["squeezenet1_1"] <= 1
