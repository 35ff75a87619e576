"""Small models, named in configurations as ``python:tests.trial.models:<function>``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

seen_dtypes: list[torch.dtype] = []


class TinyNet(nn.Module):
    """Convolution, BatchNorm, dropout: all that makes a resumed run hard to get right."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        seen_dtypes.append(features.dtype)
        logits: Tensor = self.head(self.drop(self.norm(features).relu().mean(dim=(2, 3))))
        return logits


def tiny(classes: int, image_size: int) -> nn.Module:
    return TinyNet(classes)


class _Failing(TinyNet):
    """Raises in training only, after the builder has tried it in eval mode."""

    def __init__(self, num_classes: int, error: Exception) -> None:
        super().__init__(num_classes)
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise self.error
        return super().forward(x)


def out_of_memory(classes: int, image_size: int) -> nn.Module:
    return _Failing(classes, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))


def throwing(classes: int, image_size: int) -> nn.Module:
    return _Failing(classes, KeyError("my own\nbug"))


class _Overflowing(TinyNet):
    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits * float("nan") if self.training else logits


def overflowing(classes: int, image_size: int) -> nn.Module:
    return _Overflowing(classes)


class _Hungry(TinyNet):
    """Takes 256 MB on its device in every forward pass."""

    def forward(self, images: Tensor) -> Tensor:
        ballast = torch.zeros(64, 1000, 1000, device=images.device)
        output: Tensor = super().forward(images)
        return output + ballast[0, 0, 0]


def hungry(classes: int, image_size: int) -> nn.Module:
    return _Hungry(classes)


class _Activated(TinyNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


def activated(classes: int, image_size: int) -> nn.Module:
    """Its last layer is not the end of it, as in SqueezeNet."""
    return _Activated(classes)
