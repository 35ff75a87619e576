"""A trained network and its labels: from pictures to class probabilities, as the test split went.

The steps are those of a trial, by its own functions: ``datasets.decode`` and ``cache.fit`` for the
pixels, ``batches`` for crop and normalisation, ``device`` for the number format.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raybench.backbones.backbone import Triple
from raybench.datasets.cache.fit import Crop, fit_rgb
from raybench.datasets.cache.frames import Images, make_frames
from raybench.datasets.decode import open_rgb, read_picture
from raybench.trial.batches import BatchLoader, make_loader
from raybench.trial.device import Precision

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | Path | Image | NDArray[np.uint8]

BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """What ``raybench.load`` returns.

    Attributes:
        model: in eval mode, on ``device``; (N, 3, S, S) float32 images, normalised, to (N, C)
            logits.
        classes: C names.
        image_size: S, in pixels.
        crop: as in the recipe: squeezed to a square, or its short side to 8/7 of S and the centre
            cut out.
        mean, std: per RGB channel in 0..1, which the images are normalised with.
    """

    model: nn.Module
    classes: tuple[str, ...]
    image_size: int
    crop: Crop
    mean: Triple
    std: Triple
    device: torch.device
    precision: Precision

    def predict(self, images: Picture | Iterable[Picture]) -> NDArray[np.float32]:
        """(N, C) class probabilities of N pictures, or of a single one (then N is 1).

        Pictures are paths, PIL images or (H, W), (H, W, 3) arrays of uint8, each of its own size.

        Raises:
            OSError: a file cannot be read.
            ValueError: no complete picture of a kind that can be shown; the message says why.
        """
        pictures: Iterable[Picture] = _several(images)
        parts = [np.empty((0, len(self.classes)), np.float32)]
        for batch in _batches(pictures):
            parts.append(self.probabilities([self.read(picture) for picture in batch]))
        return np.concatenate(parts)

    def preprocess(self, image: Picture) -> Tensor:
        """(3, S, S) float32, what ``model`` takes a batch of."""
        return self._batch([self.read(image)])[0]

    def read(self, image: Picture) -> NDArray[np.uint8]:
        """(H, W, 3) RGB pixels, as large as the decoded cache has them.

        Raises:
            OSError, ValueError: as ``predict``.
        """
        content = read_picture(image) if isinstance(image, str | Path) else image
        return fit_rgb(open_rgb(content), self.image_size, self.crop)

    def probabilities(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, C) class probabilities of one batch of what ``read`` returns."""
        # no_grad, as in a trial: inference tensors, once cached by a model, could never be trained.
        with torch.no_grad(), self.precision.autocast():
            logits: Tensor = self.model(self._batch(pixels))
        found: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
        return found

    def _batch(self, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
        loader = self._loader(_as_images(pixels, self.image_size, self.crop))
        return loader.normalise(loader.fetch(np.arange(len(pixels)))[0])

    def _loader(self, images: Images) -> BatchLoader:
        nothing = np.zeros(len(images), np.int64)
        return make_loader(images, nothing, self.device, self.mean, self.std)


def _several(images: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """One picture is a list of one; an array of four dimensions holds several."""
    from PIL.Image import Image

    one = isinstance(images, str | Path | Image) or getattr(images, "ndim", 4) < 4
    return [images] if one else images  # type: ignore[list-item,return-value]


def _batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    waiting = iter(pictures)
    while batch := list(itertools.islice(waiting, BATCH)):
        yield batch


def _as_images(pixels: Sequence[NDArray[np.uint8]], image_size: int, crop: Crop) -> Images:
    """As the decoded cache holds them."""
    if crop == "none":
        return np.stack(pixels)
    shapes = np.array([picture.shape[:2] for picture in pixels], np.int32)
    return make_frames(np.concatenate([p.reshape(-1) for p in pixels]), shapes, image_size)
