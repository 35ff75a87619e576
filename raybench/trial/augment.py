"""Augmentation of uint8 batches on the device; every image gets its own random parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

Transform = Callable[[Tensor], Tensor]


def augment(pixels: Tensor, kind: str, seed: int) -> Tensor:
    """Augments one batch.

    Args:
        pixels: (B, 3, H, W) uint8.
        kind: ``none``, ``flip`` (horizontal, half of the images), ``trivial`` (TrivialAugmentWide,
            Mueller & Hutter 2021) or ``randaugment`` (Cubuk et al. 2020), as in torchvision.
        seed: names this batch's draws; they don't depend on any generator's state.
    """
    if kind == "none":
        return pixels
    if kind == "flip":
        return _flip(pixels, seed)
    return _per_image(pixels, _transform(kind), seed)


def _flip(pixels: Tensor, seed: int) -> Tensor:
    draws = torch.rand(len(pixels), generator=torch.Generator().manual_seed(seed))
    chosen = (draws < 0.5).to(pixels.device, non_blocking=True)
    return torch.where(chosen[:, None, None, None], pixels.flip(-1), pixels)


def _per_image(pixels: Tensor, transform: Transform, seed: int) -> Tensor:
    # torchvision's transforms draw from torch's global CPU generator and take no other.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        stacked = torch.stack([transform(image) for image in pixels])
    return stacked.contiguous(memory_format=torch.channels_last)


@functools.cache
def _transform(kind: str) -> Transform:
    from torchvision.transforms import v2

    table: dict[str, Callable[[], Transform]] = {
        "trivial": v2.TrivialAugmentWide,
        "randaugment": v2.RandAugment,
    }
    return table[kind]()
