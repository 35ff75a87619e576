"""Augmentation of whole uint8 batches on their device; every image gets its own random parameters.

Why not kornia: its TrivialAugment draws one operation for the whole batch, in float, with ranges of
its own; ``policies`` gives torchvision's pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raybench.trial.device import upload
from raybench.trial.policies import POLICIES, apply_policy


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
    generator = torch.Generator().manual_seed(seed)
    if kind == "flip":
        return _flip(pixels, generator)
    return apply_policy(pixels, POLICIES[kind], generator)


def _flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Chooses among the images and their mirror images by copying: ``where`` costs 5 times more."""
    chosen = torch.rand(len(pixels), generator=generator) < 0.5
    rows = torch.arange(len(pixels)) + chosen * len(pixels)
    both = torch.cat([pixels, pixels.flip(-1)]).permute(0, 2, 3, 1)
    taken = both.index_select(0, upload(rows, pixels.device))
    return taken.permute(0, 3, 1, 2)
