"""How images are prepared, in the words of other libraries and of people."""

from __future__ import annotations

from typing import Any

from raybench.datasets.cache.fit import short_side
from raybench.export.settings import ModelSettings


def for_timm(settings: ModelSettings) -> dict[str, Any]:
    """Part of a ``pretrained_cfg``; read by ``timm/data/transforms_factory.py``."""
    size = settings.image_size
    words: dict[str, Any] = {
        "input_size": (3, size, size),
        "interpolation": "bilinear",
        "mean": settings.mean,
        "std": settings.std,
    }
    if settings.crop == "none":
        return words | {"crop_mode": "squash", "crop_pct": 1.0}
    # timm resizes to floor(size / crop_pct): half a pixel more, so that rounding cannot lose one.
    short = short_side(size, settings.crop)
    return words | {"crop_mode": "center", "crop_pct": size / (short + 0.5)}


def for_hugging_face(settings: ModelSettings) -> dict[str, Any]:
    """``preprocessor_config.json`` of transformers' image processors."""
    square = {"height": settings.image_size, "width": settings.image_size}
    common: dict[str, Any] = {
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 2,  # Pillow's number for bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": settings.mean,
        "image_std": settings.std,
    }
    if settings.crop == "none":
        return {"image_processor_type": "ViTImageProcessor", "size": square, **common}
    return {
        "image_processor_type": "CLIPImageProcessor",  # the one that resizes, then cuts
        "size": {"shortest_edge": short_side(settings.image_size, settings.crop)},
        "do_center_crop": True,
        "crop_size": square,
        **common,
    }


def in_words(settings: ModelSettings) -> str:
    """One paragraph for the card."""
    size = settings.image_size
    if settings.crop == "none":
        fit = f"squeezed to {size} x {size} pixels, not cropped"
    else:
        short = short_side(size, settings.crop)
        fit = (
            f"resized so that the short side is {short} pixels, then {size} x {size} of its centre"
        )
    mean, std = (", ".join(f"{value:g}" for value in v) for v in (settings.mean, settings.std))
    return (
        f"Upright (the camera's rotation applied), in RGB, transparent parts white; {fit} "
        f"(bilinear, antialiased); divided by 255, less the mean ({mean}), over the deviation "
        f"({std})."
    )
