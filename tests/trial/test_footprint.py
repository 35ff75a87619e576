"""The probe that plans and packing rest on: real steps, memory, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from raybench.errors import DataError, TooLargeError
from raybench.spec import BackboneSpec, Recipe, Stage
from raybench.trial import footprint
from raybench.trial.device import Precision
from raybench.trial.footprint import measure_footprint, open_workload
from raybench.trial.timing import Effort

CPU = torch.device("cpu")
TINY = BackboneSpec(name="python:tests.trial.models:tiny", weights="none")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "QUICK", Effort(1, 2, 0.0, 0.0, 2))


def recipe(**keys: Any) -> Recipe:
    return Recipe(**({"image_size": 12, "batch_size": 8} | keys))


def test_it_says_what_was_measured_and_with_what() -> None:
    threads = torch.get_num_threads()
    found = measure_footprint(TINY, 3, recipe(), "cpu", threads=1)
    assert found.backbone == TINY.name and found.device == "cpu" and found.precision == "fp32"
    assert (found.batch_size, found.image_size, found.threads, found.accumulation) == (8, 12, 1, 1)
    assert 0 < found.evaluate_s < 1 and 0 < found.train_s < 1
    assert found.total_memory_gb is not None and found.peak_memory_gb is not None
    assert 0.05 < found.peak_memory_gb < found.total_memory_gb
    assert found.overhead_gb == 0 and found.versions["torch"] == torch.__version__
    assert torch.get_num_threads() == threads


def test_memory_of_a_hungry_model_is_seen() -> None:
    hungry = BackboneSpec(name="python:tests.trial.models:hungry", weights="none")
    modest = measure_footprint(TINY, 3, recipe(), "cpu").peak_memory_gb
    greedy = measure_footprint(hungry, 3, recipe(), "cpu").peak_memory_gb
    assert modest is not None and greedy is not None
    assert 0.2 < greedy - modest < 0.8  # it takes 256 MB, in a process that holds more or less
    after = measure_footprint(TINY, 3, recipe(), "cpu").peak_memory_gb
    assert after is not None and after < greedy - 0.2  # an earlier peak is not counted again


def test_steps_are_those_of_the_recipe() -> None:
    rich = recipe(mixup=0.2, model_ema=0.9, class_weights="balanced", augment="trivial")
    work = open_workload(TINY, 3, rich, CPU)
    before = [parameter.clone() for parameter in work.learner.model.parameters()]
    work.train()
    after = work.learner.model.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert work.learner.optimizer.state and work.learner.ema is not None
    assert work.learner.mixer.active and work.learner.class_weight is not None
    work.evaluate()
    assert not work.learner.evaluated.training


def test_the_stage_that_keeps_most_state_is_measured() -> None:
    stages = (Stage(optimizer="sgd"), Stage(optimizer="adamw"))
    work = open_workload(TINY, 3, recipe(stages=stages), CPU)
    assert isinstance(work.learner.optimizer, torch.optim.AdamW)


def test_a_probe_has_no_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint.Workload, "train", lambda self: pytest.fail("trained"))
    found = measure_footprint(TINY, 3, recipe(method="linear_probe"), "cpu")
    assert found.train_s == found.evaluate_s > 0


def _refusing(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """A forward pass of more than ``most`` images raises; returns the batches that were tried."""
    seen: list[int] = []

    def forward(self: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        if len(images) > most:
            raise error
        return plain(self, images)

    from tests.trial.models import TinyNet

    plain = TinyNet.forward
    monkeypatch.setattr(TinyNet, "forward", forward)
    return seen


OOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.mark.parametrize(("most", "accumulation"), [(8, 1), (4, 2), (3, 4), (2, 4)])
def test_what_does_not_fit_is_tried_in_parts(
    monkeypatch: pytest.MonkeyPatch, most: int, accumulation: int
) -> None:
    seen = _refusing(monkeypatch, most, OOM)
    found = measure_footprint(TINY, 3, recipe(), "cpu")
    assert found.accumulation == accumulation and found.batch_size == 8
    assert max(seen[-4:]) <= most


def test_what_never_fits_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _refusing(monkeypatch, 1, OOM)  # a micro-batch has two images at least: BatchNorm
    with pytest.raises(TooLargeError, match=r"batches of 8 images of 12 px, not even in 8 parts"):
        measure_footprint(TINY, 3, recipe(), "cpu")


def test_other_errors_come_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    _refusing(monkeypatch, 1, KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        measure_footprint(TINY, 3, recipe(), "cpu")
    with pytest.raises(DataError, match="unknown backbone"):
        measure_footprint(BackboneSpec(name="timm:resnet0"), 3, recipe(), "cpu")


def test_evaluation_goes_by_micro_batches() -> None:
    work = open_workload(TINY, 3, recipe(batch_size=10), CPU, accumulation=4)
    sizes: list[int] = []
    work.learner.predict = lambda images: sizes.append(len(images)) or images  # type: ignore[method-assign]
    work.evaluate()
    assert sizes == [3, 3, 2, 2] and isinstance(work.learner.precision, Precision)
    assert np.concatenate(work.micro_batches).tolist() == list(range(10))
