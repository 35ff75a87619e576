"""Footprints and profiles on a real GPU; skipped where torch sees none."""

from __future__ import annotations

import pytest
import torch

from raybench.gpus import energy_j, local_gpus, used_memory_gb
from raybench.spec import BackboneSpec, Recipe
from raybench.trial.footprint import measure_footprint
from raybench.trial.memory import gpu_of
from raybench.trial.profile import measure_profile
from raybench.trial.timing import Effort

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU"),
]

CUDA = torch.device("cuda")
RESNET = BackboneSpec(name="timm:resnet18", weights="none")


def test_the_driver_and_torch_mean_the_same_gpu() -> None:
    gpu = gpu_of(CUDA)
    assert gpu is not None and gpu in local_gpus()
    total = torch.cuda.get_device_properties(0).total_memory / 1e9
    assert gpu.memory_gb == pytest.approx(total, rel=0.05)
    assert 0 < (used_memory_gb(gpu) or 0) <= gpu.memory_gb


def test_a_footprint_grows_with_the_batch_and_knows_the_context() -> None:
    small, large = (
        measure_footprint(RESNET, 10, Recipe(image_size=224, batch_size=size), "cuda")
        for size in (8, 64)
    )
    assert small.peak_memory_gb is not None and large.peak_memory_gb is not None
    assert large.peak_memory_gb > small.peak_memory_gb > 0.1
    assert 0.05 < large.overhead_gb < 5 and large.accumulation == 1
    assert large.device == torch.cuda.get_device_name(0) and large.train_s > large.evaluate_s


def test_under_a_cap_it_is_measured_in_parts() -> None:
    recipe = Recipe(image_size=224, batch_size=128, precision="fp32")
    whole = measure_footprint(RESNET, 10, recipe, "cuda")
    assert whole.peak_memory_gb is not None and whole.total_memory_gb is not None
    torch.cuda.set_per_process_memory_fraction(0.6 * whole.peak_memory_gb / whole.total_memory_gb)
    try:
        parts = measure_footprint(RESNET, 10, recipe, "cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert parts.accumulation > 1 and (parts.peak_memory_gb or 99) < whole.peak_memory_gb


def test_a_profile_has_energy_where_the_gpu_counts_it() -> None:
    effort = Effort(warm_up_calls=3, calls=10, seconds=0.5, longest_s=2.0, least_calls=5)
    found = measure_profile(RESNET, 224, device="cuda", effort=effort)
    assert found.single and found.batched and found.training
    assert found.batched.images_per_s > 5 * found.single.images_per_s
    assert (found.training.peak_memory_gb or 0) > (found.batched.peak_memory_gb or 0)
    gpu = gpu_of(CUDA)
    counted = gpu is not None and energy_j(gpu) is not None
    assert (found.batched.energy_j is not None) == counted
    if found.batched.energy_j is not None:
        watts = found.batched.energy_j * found.batched.images_per_s
        assert 10 < watts < 2000  # what one GPU can draw
    assert "on the GPU" in found.seen or "cannot be seen" in found.seen
