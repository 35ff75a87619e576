"""TrivialAugmentWide and RandAugment on whole uint8 batches, each image with its own draws.

Operations, ranges, bins and odds are those of torchvision's transforms of the same names (v2,
nearest neighbour, black fill); the tests hold them to torchvision's pixels. There each image passes
alone; here all images that drew the same operation pass at once, with a tensor of magnitudes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raybench.trial.device import upload

BINS = 31
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as torchvision rounds it


@dataclass(frozen=True, slots=True)
class Policy:
    """Which operations with which magnitudes.

    Attributes:
        steps: operations drawn per image, one after another.
        bin: the one of ``BINS`` magnitudes that is taken; None: drawn.
        blend: largest change of brightness, colour, contrast and sharpness.
        shear: largest shear, as a slope. rotate: largest angle in degrees.
        translate: largest shift in pixels, of a side of that many pixels.
        bits: how many of 8 bits posterising takes at most.
    """

    steps: int
    bin: int | None
    blend: float
    shear: float
    rotate: float
    translate: Callable[[int], float]
    bits: int

    def magnitudes(self, operation: str, height: int, width: int) -> Tensor:
        """(BINS,) magnitudes without sign; zeros for an operation that has none."""
        if operation == "Posterize":
            return (8 - torch.arange(BINS) / ((BINS - 1) / self.bits)).round().double()
        if operation == "Solarize":
            return torch.linspace(1.0, 0.0, BINS).double()
        largest = {
            "ShearX": self.shear,
            "ShearY": self.shear,
            "TranslateX": self.translate(width),
            "TranslateY": self.translate(height),
            "Rotate": self.rotate,
        } | dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), self.blend)
        return torch.linspace(0.0, largest.get(operation, 0.0), BINS).double()


POLICIES: Mapping[str, Policy] = {
    # Mueller & Hutter 2021 (arXiv 2103.10158), "wide"
    "trivial": Policy(1, None, 0.99, 0.99, 135.0, lambda side: 32.0, 6),
    # Cubuk et al. 2020 (arXiv 1909.13719), two operations at magnitude 9 of 31
    "randaugment": Policy(2, 9, 0.9, 0.3, 30.0, lambda side: 150.0 / 331.0 * side, 4),
}
OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
SIGNED = frozenset(OPERATIONS[1:10])


def apply_policy(pixels: Tensor, policy: Policy, generator: torch.Generator) -> Tensor:
    """(B, 3, H, W) uint8, new; ``generator`` is on the CPU."""
    images, _, height, width = pixels.shape
    for _ in range(policy.steps):
        operations, magnitudes = draw(policy, images, height, width, generator)
        pixels = apply_operations(pixels, operations, magnitudes)
    return pixels


def draw(
    policy: Policy, images: int, height: int, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One step's (B,) indices into ``OPERATIONS`` and (B,) float64 magnitudes, on the CPU."""
    operations = torch.randint(len(OPERATIONS), (images,), generator=generator)
    bins = torch.randint(BINS, (images,), generator=generator)
    negative = torch.rand(images, generator=generator) <= 0.5
    if policy.bin is not None:
        bins = torch.full_like(bins, policy.bin)
    table, signed = _tables(policy, height, width)
    magnitudes = table[operations, bins]
    return operations, torch.where(negative & signed[operations], -magnitudes, magnitudes)


@functools.lru_cache(maxsize=16)
def _tables(policy: Policy, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(operations, BINS) float64 magnitudes, and (operations,) bool: which are signed."""
    table = torch.stack([policy.magnitudes(name, height, width) for name in OPERATIONS])
    return table, torch.tensor([name in SIGNED for name in OPERATIONS])


def apply_operations(pixels: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """Each image under its own operation; what is drawn together is computed together.

    A GPU waits for the host's calls here, not for its own arithmetic: all numbers are worked out on
    the host and go over in two small copies, and each operation's images lie side by side.

    Args:
        pixels: (B, 3, H, W) uint8.
        operations: (B,) indices into ``OPERATIONS``, on the CPU.
        magnitudes: (B,) float64, signed, on the CPU.
    """
    names = [OPERATIONS[index] for index in operations.tolist()]
    places = [_PLACES[name] for name in names]
    rows = sorted(range(len(names)), key=places.__getitem__)
    order = torch.tensor(rows)
    there, back = upload(torch.stack([order, order.argsort()]), pixels.device)
    # Planes are what most operations run fastest on; whole rows go in and out by plain copies.
    planes = pixels.contiguous().index_select(0, there)
    values, (height, width) = magnitudes.tolist(), pixels.shape[-2:]
    table = [_parameters(names[row], values[row], height, width) for row in rows]
    numbers = upload(torch.tensor(table, dtype=torch.float32), pixels.device)
    cuts = [places.count(place) for place in range(len(_FUNCTIONS))]
    groups = zip(
        _FUNCTIONS, planes.split_with_sizes(cuts), numbers.split_with_sizes(cuts), strict=True
    )
    parts = [function(chosen, theirs) for function, chosen, theirs in groups if len(chosen)]
    return torch.cat(parts).index_select(0, back).contiguous(memory_format=torch.channels_last)


PARAMETERS = 6
"""Numbers per image that go to the device, whatever its operation needs of them."""


def _parameters(name: str, magnitude: float, height: int, width: int) -> list[float]:
    """What the operation's function below reads, filled up with zeros."""
    if name in _FUNCTIONS[_move]:
        return _inverse_matrix(name, magnitude, height, width)
    if name == "Posterize":
        bits = int(magnitude)
        numbers = [float(((1 << bits) - 1) << (8 - bits))]
    elif name == "Solarize":
        numbers = [math.ceil(np.float32(255 * magnitude))]
    else:
        numbers = [1 + magnitude, 1 - (1 + magnitude)]
    return numbers + [0.0] * (PARAMETERS - len(numbers))


def _inverse_matrix(name: str, magnitude: float, height: int, width: int) -> list[float]:
    """Rows of (2, 3): from a pixel's place in the result to its source; (0, 0) is the centre.

    In units of half the picture's side, divided in float32 as torchvision does.
    """
    x, y = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    if name == "ShearX":  # the upper edge stays
        x[1:] = magnitude, magnitude * height / 2
    elif name == "ShearY":  # the left edge stays
        y[0], y[2] = magnitude, magnitude * width / 2
    elif name == "TranslateX":
        x[2] = -int(magnitude)
    elif name == "TranslateY":
        y[2] = -int(magnitude)
    else:
        angle = math.radians(-(magnitude % 360))
        cos, sin = math.cos(angle), math.sin(angle)
        x[:2], y[:2] = (cos, sin), (-sin, cos)
    sides = np.array([[width / 2], [height / 2]], dtype=np.float32)
    rows: list[float] = (np.array([x, y], dtype=np.float32) / sides).ravel().tolist()
    return rows


def _keep(pixels: Tensor, numbers: Tensor) -> Tensor:
    return pixels


def _move(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Shear, shift or turn: where each pixel comes from, then the nearest pixel there."""
    height, width = pixels.shape[-2:]
    theta = numbers.view(-1, 2, 3, 1, 1)
    x = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=pixels.device)
    y = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=pixels.device)
    grid = (theta[:, :, 0] * x + theta[:, :, 1] * y[:, None]).add_(theta[:, :, 2])
    source = grid.permute(0, 2, 3, 1).contiguous()
    moved = F.grid_sample(pixels.float(), source, mode="nearest", align_corners=False)
    return moved.to(torch.uint8)


def _brighten(pixels: Tensor, numbers: Tensor) -> Tensor:
    return _blend(pixels, None, numbers)


def _saturate(pixels: Tensor, numbers: Tensor) -> Tensor:
    return _blend(pixels, _grey(pixels), numbers)


def _contrast(pixels: Tensor, numbers: Tensor) -> Tensor:
    # Whole numbers add up exactly in float64, in any order: the same at any number of threads.
    mean = _grey(pixels).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).float()
    return _blend(pixels, mean, numbers)


def _grey(pixels: Tensor) -> Tensor:
    """(B, 1, H, W) float32, whole numbers."""
    red, green, blue = pixels.unbind(dim=1)
    grey = red.mul(_LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])
    return grey.floor_().unsqueeze(1)


def _blend(pixels: Tensor, other: Tensor | None, numbers: Tensor) -> Tensor:
    """``pixels * ratio + other * (1 - ratio)``, cut to 0..255; None is black."""
    ratio, rest = numbers[:, :2].unbind(dim=1)
    mixed = pixels.float().mul_(ratio.view(-1, 1, 1, 1))
    if other is not None:
        mixed = mixed.addcmul_(other, rest.view(-1, 1, 1, 1))
    return mixed.clamp_(0, 255).to(torch.uint8)


def _sharpen(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Blends with the mean over 3 x 3 pixels, its middle weighted 5; the border stays."""
    result = pixels.float()
    if min(pixels.shape[-2:]) <= 2:
        return pixels
    inner = result[..., 1:-1, 1:-1]
    rows = result[..., :-2, :] + result[..., 1:-1, :] + result[..., 2:, :]
    sums = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4)
    blurred = sums.div_(13).round_()  # never a tie: thirteenths
    inner.addcmul_(blurred - inner, numbers[:, 1].view(-1, 1, 1, 1))
    return result.clamp_(0, 255).to(torch.uint8)


def _posterize(pixels: Tensor, numbers: Tensor) -> Tensor:
    return pixels & numbers[:, 0].to(torch.uint8).view(-1, 1, 1, 1)


def _solarize(pixels: Tensor, numbers: Tensor) -> Tensor:
    threshold = numbers[:, 0].to(torch.uint8).view(-1, 1, 1, 1)
    bright = (pixels >= threshold).to(torch.uint8)
    return pixels ^ bright.mul_(255)  # 255 - pixel where bright


def _autocontrast(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Torchvision's arithmetic without its indexing by masks, which may make the host wait."""
    values = pixels.float()
    lowest, highest = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    flat = highest == lowest
    scale = (highest - lowest).mul_(1 / 255).masked_fill_(flat, 1)
    return values.sub_(lowest.masked_fill_(flat, 0)).div_(scale).clamp_(0, 255).to(torch.uint8)


def _equalize(pixels: Tensor, numbers: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    result: Tensor = functional.equalize(pixels)
    return result


_FUNCTIONS: Mapping[Callable[[Tensor, Tensor], Tensor], frozenset[str]] = {
    _keep: frozenset({"Identity"}),
    _move: frozenset({"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}),
    _brighten: frozenset({"Brightness"}),
    _saturate: frozenset({"Color"}),
    _contrast: frozenset({"Contrast"}),
    _sharpen: frozenset({"Sharpness"}),
    _posterize: frozenset({"Posterize"}),
    _solarize: frozenset({"Solarize"}),
    _autocontrast: frozenset({"AutoContrast"}),
    _equalize: frozenset({"Equalize"}),
}
_PLACES = {name: place for place, names in enumerate(_FUNCTIONS.values()) for name in names}
