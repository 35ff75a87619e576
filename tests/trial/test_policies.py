"""Whole batches get the pixels, and the odds, of torchvision's transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from torchvision.transforms import InterpolationMode, v2

from raybench.trial.augment import augment
from raybench.trial.policies import (
    BINS,
    OPERATIONS,
    POLICIES,
    SIGNED,
    apply_operations,
    draw,
)

REFERENCES: dict[str, Any] = {"trivial": v2.TrivialAugmentWide(), "randaugment": v2.RandAugment()}


def pictures(height: int, width: int) -> torch.Tensor:
    """Noise, grey noise, a soft gradient, black, two-coloured; (5, 3, H, W) uint8."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    small = Image.fromarray(rng.integers(60, 180, (3, 3, 3), dtype=np.uint8))
    soft = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    grey = np.repeat(noise[..., :1], 3, axis=2)
    two = np.where(np.arange(width)[None, :, None] < width // 3, 17, noise[:1, :1])
    frames = [noise, grey, soft, np.zeros_like(noise), np.broadcast_to(two, noise.shape)]
    return torch.from_numpy(np.stack(frames).astype(np.uint8)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(32, 32), (21, 34)])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", POLICIES)
def test_every_operation_at_every_magnitude_gives_torchvision_s_pixels(
    kind: str, operation: str, size: tuple[int, int]
) -> None:
    reference, images = REFERENCES[kind], pictures(*size)
    values, signed = reference._AUGMENTATION_SPACE[operation]
    theirs = values(BINS, *size)
    ours = POLICIES[kind].magnitudes(operation, *size)
    assert signed == (operation in SIGNED)
    assert torch.equal(ours, torch.zeros(BINS).double() if theirs is None else theirs.double())
    magnitudes = torch.cat([ours, -ours]) if signed else ours
    batch = images.repeat(len(magnitudes), 1, 1, 1)
    per_image = magnitudes.repeat_interleave(len(images))
    chosen = torch.full((len(batch),), OPERATIONS.index(operation))
    expected = torch.stack(
        [
            reference._apply_image_or_video_transform(
                image, operation, float(m), InterpolationMode.NEAREST, reference._fill
            )
            for image, m in zip(batch, per_image, strict=True)
        ]
    )
    result = apply_operations(batch, chosen, per_image)
    different = result != expected
    # Float rounding may fall the other way on other processors: one level, or a nearest pixel.
    assert different.float().mean() < 1e-3


@pytest.mark.parametrize("kind", POLICIES)
def test_operations_magnitudes_and_signs_have_torchvision_s_odds(kind: str) -> None:
    policy, count = POLICIES[kind], 60_000
    operations, magnitudes = draw(policy, count, 64, 64, torch.Generator().manual_seed(0))
    assert chisquare(np.bincount(operations, minlength=len(OPERATIONS))).pvalue > 1e-3
    for index, name in enumerate(OPERATIONS):
        drawn = magnitudes[operations == index]
        table = policy.magnitudes(name, 64, 64)
        if name in SIGNED and table.any():
            signs = torch.sign(drawn[drawn != 0])
            assert chisquare([(signs > 0).sum(), (signs < 0).sum()]).pvalue > 1e-3
        values, bins = table.unique(return_counts=True)
        if policy.bin is not None:
            assert torch.equal(drawn.abs().unique(), table[policy.bin : policy.bin + 1])
        elif len(values) > 1:
            seen = [(drawn.abs() == value).sum() for value in values]
            assert chisquare(seen, len(drawn) * bins.double() / BINS).pvalue > 1e-3


def test_two_steps_follow_one_another() -> None:
    images = pictures(16, 16)
    generator = torch.Generator().manual_seed(5)
    expected = images
    for _ in range(2):
        step = draw(POLICIES["randaugment"], 5, 16, 16, generator)
        expected = apply_operations(expected, *step)
    assert torch.equal(augment(images, "randaugment", 5), expected)


def test_each_image_keeps_its_place_among_mixed_operations() -> None:
    images = pictures(16, 16).repeat(6, 1, 1, 1)
    before = images.clone()
    operations, magnitudes = draw(POLICIES["trivial"], 30, 16, 16, torch.Generator().manual_seed(1))
    alone = [
        apply_operations(images[i : i + 1], operations[i : i + 1], magnitudes[i : i + 1])
        for i in range(30)
    ]
    together = apply_operations(images, operations, magnitudes)
    assert torch.equal(together, torch.cat(alone)) and torch.equal(images, before)
    assert together.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", ["flip", "trivial", "randaugment"])
def test_the_number_of_threads_changes_nothing(kind: str) -> None:
    images, threads = pictures(64, 64).repeat(4, 1, 1, 1), torch.get_num_threads()
    try:
        results = []
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(augment(images, kind, 7))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)
