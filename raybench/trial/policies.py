"""TrivialAugmentWide and RandAugment on whole uint8 batches, each image with its own draws.

Operations, ranges, bins and odds are those of torchvision's transforms of the same names (v2,
nearest neighbour, black fill); the tests hold them to torchvision's pixels. There each image passes
alone; here all images that drew the same operation pass at once, with a tensor of magnitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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
    table = torch.stack([policy.magnitudes(name, height, width) for name in OPERATIONS])
    signed = torch.tensor([name in SIGNED for name in OPERATIONS])
    magnitudes = table[operations, bins]
    return operations, torch.where(negative & signed[operations], -magnitudes, magnitudes)


def apply_operations(pixels: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """Each image under its own operation; what is drawn together is computed together.

    Args:
        pixels: (B, 3, H, W) uint8.
        operations: (B,) indices into ``OPERATIONS``, on the CPU.
        magnitudes: (B,) float64, signed, on the CPU.
    """
    # Planes are what most operations run fastest on; whole rows go in and out by plain copies.
    planes, order, parts = pixels.contiguous(), list[int](), list[Tensor]()
    names = [OPERATIONS[index] for index in operations.tolist()]
    for function, members in _FUNCTIONS.items():
        rows = [row for row, name in enumerate(names) if name in members]
        if rows:
            chosen = planes.index_select(0, _on(torch.tensor(rows), pixels))
            parts.append(function(chosen, [names[row] for row in rows], magnitudes[rows]))
            order += rows
    back = _on(torch.tensor(order).argsort(), pixels)
    return torch.cat(parts).index_select(0, back).contiguous(memory_format=torch.channels_last)


def _on(values: Tensor, pixels: Tensor) -> Tensor:
    return values.to(pixels.device, non_blocking=True)


def _keep(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    return pixels


def _move(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    """Shear, shift or turn: where each pixel comes from, then the nearest pixel there."""
    height, width = pixels.shape[-2:]
    rows = zip(names, magnitudes.tolist(), strict=True)
    theta = torch.stack([_inverse_matrix(name, m, height, width) for name, m in rows])
    theta = _on(theta / torch.tensor([[width / 2], [height / 2]]), pixels).view(-1, 2, 3, 1, 1)
    x = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=pixels.device)
    y = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=pixels.device)
    grid = (theta[:, :, 0] * x + theta[:, :, 1] * y[:, None]).add_(theta[:, :, 2])
    source = grid.permute(0, 2, 3, 1).contiguous()
    moved = F.grid_sample(pixels.float(), source, mode="nearest", align_corners=False)
    return moved.to(torch.uint8)


def _inverse_matrix(name: str, magnitude: float, height: int, width: int) -> Tensor:
    """(2, 3) float32: from a pixel's place in the result to its source; (0, 0) is the centre."""
    matrix = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    if name == "ShearX":  # the upper edge stays
        matrix[0, 1], matrix[0, 2] = magnitude, magnitude * height / 2
    elif name == "ShearY":  # the left edge stays
        matrix[1, 0], matrix[1, 2] = magnitude, magnitude * width / 2
    elif name == "TranslateX":
        matrix[0, 2] = -int(magnitude)
    elif name == "TranslateY":
        matrix[1, 2] = -int(magnitude)
    else:
        angle = torch.tensor(-(magnitude % 360), dtype=torch.float64).deg2rad()
        cos, sin = angle.cos(), angle.sin()
        matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1] = cos, sin, -sin, cos
    return matrix.float()


def _brighten(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    return _blend(pixels, None, magnitudes)


def _saturate(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    return _blend(pixels, _grey(pixels), magnitudes)


def _contrast(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    # Whole numbers add up exactly in float64, in any order: the same at any number of threads.
    mean = _grey(pixels).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).float()
    return _blend(pixels, mean, magnitudes)


def _grey(pixels: Tensor) -> Tensor:
    """(B, 1, H, W) float32, whole numbers."""
    red, green, blue = pixels.unbind(dim=1)
    grey = red.mul(_LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])
    return grey.floor_().unsqueeze(1)


def _blend(pixels: Tensor, other: Tensor | None, magnitudes: Tensor) -> Tensor:
    """``pixels * (1 + magnitude) - other * magnitude``, cut to 0..255; None is black."""
    ratio, rest = _per_image(1 + magnitudes, pixels), _per_image(1 - (1 + magnitudes), pixels)
    mixed = pixels.float().mul_(ratio)
    if other is not None:
        mixed = mixed.addcmul_(other, rest)
    return mixed.clamp_(0, 255).to(torch.uint8)


def _per_image(values: Tensor, pixels: Tensor) -> Tensor:
    return _on(values.float(), pixels).view(-1, 1, 1, 1)


def _sharpen(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    """Blends with the mean over 3 x 3 pixels, its middle weighted 5; the border stays."""
    result = pixels.float()
    if min(pixels.shape[-2:]) <= 2:
        return pixels
    inner = result[..., 1:-1, 1:-1]
    rows = result[..., :-2, :] + result[..., 1:-1, :] + result[..., 2:, :]
    sums = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4)
    blurred = sums.div_(13).round_()  # never a tie: thirteenths
    inner.addcmul_(blurred - inner, _per_image(1 - (1 + magnitudes), pixels))
    return result.clamp_(0, 255).to(torch.uint8)


def _posterize(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    bits = magnitudes.to(torch.int64)
    mask = (((1 << bits) - 1) << (8 - bits)).to(torch.uint8).view(-1, 1, 1, 1)
    return pixels & _on(mask, pixels)


def _solarize(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    threshold = (255 * magnitudes).float().ceil().to(torch.uint8).view(-1, 1, 1, 1)
    bright = (pixels >= _on(threshold, pixels)).to(torch.uint8)
    return pixels ^ bright.mul_(255)  # 255 - pixel where bright


def _autocontrast(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    result: Tensor = functional.autocontrast(pixels)
    return result


def _equalize(pixels: Tensor, names: list[str], magnitudes: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    result: Tensor = functional.equalize(pixels)
    return result


_FUNCTIONS: Mapping[Callable[[Tensor, list[str], Tensor], Tensor], frozenset[str]] = {
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
