"""From the memory-mapped uint8 cache to normalised batches on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raybench.errors import DataError
from raybench.seeding import derive_seed

Indices = npt.NDArray[np.int64]


def epoch_batches(
    indices: Indices, batch_size: int, training_seed: int, epoch: int
) -> list[Indices]:
    """The epoch's image indices in their random order, cut into batches.

    The last batch may be smaller and is trained on, unless it holds one image only: BatchNorm can't
    normalise over one value. That image (another one each epoch) sits this epoch out.

    Raises:
        DataError: the batch is larger than the training split.
    """
    if batch_size > len(indices):
        raise DataError(
            f"recipe.batch_size {batch_size} is larger than the training split of "
            f"{len(indices)} images; give {len(indices)} or less"
        )
    rng = np.random.default_rng(derive_seed(training_seed, "order", epoch))
    batches = cut(rng.permutation(indices), batch_size)
    if batch_size > 1 and len(batches[-1]) == 1:
        batches.pop()
    return batches


def cut(indices: Indices, batch_size: int) -> list[Indices]:
    """``indices`` in pieces of ``batch_size``, the last one as long as it gets."""
    return [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]


@dataclass(frozen=True, slots=True)
class BatchLoader:
    """Fetches batches for one trial.

    Attributes:
        images: (N, H, W, 3) uint8, usually a memory map.
        labels: (N,) int64.
        device: where the batches go.
        offset: (3, 1, 1) float32, the model's mean in pixel values (0 to 255).
        factor: (3, 1, 1) float32, one over the model's standard deviation in pixel values.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    device: torch.device
    offset: Tensor
    factor: Tensor

    def fetch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) uint8, channels-last in memory as on disk, and labels (B,)."""
        pixels = torch.from_numpy(self.images[indices])
        labels = torch.from_numpy(self.labels[indices])
        if self.device.type == "cuda":
            # Pinned pages let the copy run while the GPU still computes the batch before.
            pixels, labels = pixels.pin_memory(), labels.pin_memory()
        pixels = pixels.to(self.device, non_blocking=True)
        return pixels.permute(0, 3, 1, 2), labels.to(self.device, non_blocking=True)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 with the statistics that the model was pretrained with."""
        return pixels.to(torch.float32).sub_(self.offset).mul_(self.factor)


def make_loader(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    device: torch.device,
    mean: Any,
    std: Any,
) -> BatchLoader:
    """A loader that normalises with ``mean`` and ``std``, three values each in [0, 1] scale."""
    # A plain view: indexing through np.memmap costs more in Python than the copy of a small batch.
    plain = np.asarray(images).view(np.ndarray)
    offset = torch.tensor(tuple(mean), dtype=torch.float32, device=device).mul_(255)
    factor = torch.tensor(tuple(std), dtype=torch.float32, device=device).mul_(255).reciprocal_()
    shape = (3, 1, 1)
    return BatchLoader(plain, labels, device, offset.view(shape), factor.view(shape))
