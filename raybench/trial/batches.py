"""From the memory-mapped uint8 cache to normalised batches on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raybench.datasets.cache.frames import Frames, Images
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
        images: (N, H, W, 3) uint8, or ``Frames``.
        labels: (N,) int64.
        device: where the batches go.
        offset: (3,) float32, the model's mean in pixel values (0 to 255).
        factor: (3,) float32, one over the model's standard deviation in pixel values.
        crop: side of the square cut from each picture; None: the whole picture.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    device: torch.device
    offset: Tensor
    factor: Tensor
    crop: int | None = None

    def fetch(self, indices: Indices, crop_seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) uint8, channels-last in memory as on disk, and labels (B,).

        Args:
            indices: (B,) which pictures.
            crop_seed: names the draws of the crops' places; None: the centre.
        """
        on_gpu = self.device.type == "cuda"
        shape = self.images[0].shape[:2] if self.crop is None else (self.crop, self.crop)
        # Pinned pages let the copy run while the GPU still computes the batch before.
        pixels = torch.empty((len(indices), *shape, 3), dtype=torch.uint8, pin_memory=on_gpu)
        self._copy(indices.tolist(), crop_seed, pixels.numpy())
        labels = torch.from_numpy(self.labels[indices])
        labels = labels.pin_memory() if on_gpu else labels
        pixels = pixels.to(self.device, non_blocking=True)
        return pixels.permute(0, 3, 1, 2), labels.to(self.device, non_blocking=True)

    def _copy(self, indices: list[int], seed: int | None, batch: npt.NDArray[np.uint8]) -> None:
        """Copies nothing but what the batch holds."""
        if self.crop is None:
            for row, index in enumerate(indices):
                batch[row] = self.images[index]
            return
        draws = None
        if seed is not None:
            draws = np.random.default_rng(seed).random((len(indices), 2)).tolist()
        for row, index in enumerate(indices):
            picture = self.images[index]
            rooms = [side - self.crop for side in picture.shape[:2]]
            if draws is None:
                top, left = (round(room / 2) for room in rooms)  # as torchvision's CenterCrop
            else:
                top, left = (
                    int(draw * (room + 1)) for draw, room in zip(draws[row], rooms, strict=True)
                )
            batch[row] = picture[top : top + self.crop, left : left + self.crop]

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 with the statistics that the model was pretrained with."""
        frames = pixels.permute(0, 2, 3, 1)
        batch, height, width, channels = frames.shape
        # Whole rows of pixels at a time: over three channels a vector unit has nothing to do.
        rows = frames.reshape(batch, height, width * channels).to(torch.float32)
        rows.sub_(self.offset.repeat(width)).mul_(self.factor.repeat(width))
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def make_loader(
    images: Images,
    labels: npt.NDArray[np.int64],
    device: torch.device,
    mean: Any,
    std: Any,
) -> BatchLoader:
    """A loader that normalises with ``mean`` and ``std``, three values each in [0, 1] scale."""
    crop = images.crop if isinstance(images, Frames) else None
    if not isinstance(images, Frames):
        # A plain view: indexing through np.memmap costs more than copying a small picture.
        images = np.asarray(images).view(np.ndarray)
    offset = torch.tensor(tuple(mean), dtype=torch.float32, device=device).mul_(255)
    factor = torch.tensor(tuple(std), dtype=torch.float32, device=device).mul_(255).reciprocal_()
    return BatchLoader(images, labels, device, offset, factor, crop)
