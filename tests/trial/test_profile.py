"""Profiles: what they hold, what they are measured with, and what stays absent."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor

from raybench.errors import DataError
from raybench.gpus import Gpu
from raybench.measurements import Profile
from raybench.spec import BackboneSpec, Recipe
from raybench.trial import profile
from raybench.trial.profile import BATCH, CLASSES, measure_profile
from raybench.trial.timing import Effort
from tests.trial import models

QUICK = Effort(warm_up_calls=1, calls=3, seconds=0.0, longest_s=0.0, least_calls=3)
TINY = BackboneSpec(name="python:tests.trial.models:tiny", weights="none")
GPU = Gpu(0, "GPU-1", "NVIDIA H100", 80.0)


def measured(spec: BackboneSpec = TINY, size: int = 16, **keys: Any) -> Profile:
    return measure_profile(spec, size, device="cpu", effort=QUICK, **keys)


def test_it_holds_every_figure_and_what_it_was_taken_with() -> None:
    found = measured()
    assert (found.backbone, found.image_size, found.device) == (TINY.name, 16, "cpu")
    assert (found.precision, found.threads, found.classes) == ("fp32", 1, 1000)
    # A convolution of 3x3 over 3 channels to 4 at 7x7 places, then a linear layer.
    assert found.macs == 7 * 7 * 4 * 27 + 4 * CLASSES
    assert found.activations == 7 * 7 * 4 + CLASSES
    assert found.parameters == 4 * 28 + 8 + 5 * CLASSES
    for timing, batch_size in ((found.single, 1), (found.batched, BATCH), (found.training, BATCH)):
        assert timing is not None and timing.batch_size == batch_size and timing.count == 3
        assert 0 < timing.median_ms <= timing.p95_ms and timing.energy_j is None
        assert timing.peak_memory_gb is not None and timing.peak_memory_gb > 0.05
    assert "processor time" in found.seen and found.versions["timm"]
    assert Profile.from_dict(found.to_dict()) == found


class _Slow(models.TinyNet):
    """10 ms, and 1 ms an image more; training sleeps as long again."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep((0.01 + 0.001 * len(x)) * (2 if self.training else 1))
        return super().forward(x)


def test_times_are_those_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "TinyNet", _Slow)
    found = measured()
    assert found.single and found.batched and found.training
    assert 11 <= found.single.median_ms < 20 and 42 <= found.batched.median_ms < 70
    assert 450 < found.batched.images_per_s < 32 / 0.042
    assert 200 < found.training.images_per_s < 32 / 0.084


def test_the_recipe_trains_and_the_tag_plays_no_part() -> None:
    spec = BackboneSpec(name="timm:test_resnet.r160_in1k")
    rich = Recipe(batch_size=7, image_size=99, model_ema=0.9, mixup=0.2, precision="bf16")
    found = measured(spec, 32, recipe=rich)
    assert (found.backbone, found.precision, found.image_size) == ("timm:test_resnet", "bf16", 32)
    assert found.training is not None and found.training.batch_size == BATCH


def test_what_does_not_fit_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = models.TinyNet.forward

    def forward(self: torch.nn.Module, x: Tensor) -> Tensor:
        if self.training or len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, x)

    monkeypatch.setattr(models.TinyNet, "forward", forward)
    found = measured()
    assert found.single is not None and found.batched is None and found.training is None


def test_a_model_that_cannot_be_counted_is_still_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no meta kernel")

    monkeypatch.setattr(profile, "measure_built", broken)
    found = measured()
    assert found.macs is None and found.activations is None and found.single is not None


def test_a_size_that_it_cannot_take_is_an_error() -> None:
    with pytest.raises(DataError, match="cannot be built"):
        measured(BackboneSpec(name="timm:vit_tiny_patch16_224", weights="none"), 8)


@pytest.mark.parametrize(("joules", "expected"), [([100.0, 164.0], 64.0), ([None, 164.0], None)])
def test_energy_is_shared_out_among_the_images(
    monkeypatch: pytest.MonkeyPatch, joules: list[float | None], expected: float | None
) -> None:
    """A stand-in: the loop is that of a GPU, the device this CPU."""
    counter = iter(joules)
    monkeypatch.setattr(profile, "energy_j", lambda gpu: next(counter))
    bench = profile.Bench(None, 16, torch.device("mps"), GPU, QUICK)  # type: ignore[arg-type]
    monkeypatch.setattr(profile, "wait", lambda device: None)
    monkeypatch.setattr("raybench.trial.timing.wait", lambda device: None)
    calls: list[int] = []
    seconds, spent = bench._time_together(lambda: calls.append(1), [0.001] * 3)
    assert seconds > 0 and len(calls) == 3
    assert spent == (None if expected is None else pytest.approx(expected / len(calls)))


def test_activations_are_those_of_published_tables() -> None:
    """timm's results/benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv, infer_macts, in millions."""
    from raybench.backbones.measure import measure_built

    for name, millions in {
        "resnet18": 2.48,
        "mobilenetv3_large_100": 4.41,
        "mixer_s32_224": 2.28,
    }.items():
        found = measure_built(BackboneSpec(name=f"timm:{name}", weights="none"), 224)
        assert found.activations / 1e6 == pytest.approx(millions, abs=0.005)
