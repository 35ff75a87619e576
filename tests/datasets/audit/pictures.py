"""Pictures for the tests of the audit: distinct scenes, and changes that keep them the same."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageEnhance


def blots(seed: int, cells: int, levels: int, side: int = 96) -> Image.Image:
    """``cells`` x ``cells`` random colours below ``levels``, smoothly joined."""
    colours = np.random.RandomState(seed).randint(0, levels, (cells, cells, 3)).astype(np.uint8)
    return Image.fromarray(colours).resize((side, side), Image.Resampling.BICUBIC)


def scene(seed: int, side: int = 96) -> Image.Image:
    """Blots at three scales, as a photograph has large shapes and small ones."""
    scales = ((4, 128), (12, 77), (32, 51))
    layers = [blots(100 * seed + cells, cells, levels, side) for cells, levels in scales]
    return Image.fromarray(np.sum([np.asarray(layer) for layer in layers], 0).astype(np.uint8))


def resaved(image: Image.Image, quality: int = 60) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def shrunk(image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * 0.7), round(image.height * 0.7)))


def cropped(image: Image.Image) -> Image.Image:
    """2.5% off the left and the bottom."""
    cut = round(image.width * 0.025)
    return image.crop((cut, 0, image.width, image.height - cut))


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


CHANGES = {"resaved": resaved, "shrunk": shrunk, "cropped": cropped, "brighter": brighter}
