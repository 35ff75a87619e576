"""WaveMix models and where their authors publish weights, as a table; nothing is imported.

Constructor arguments and file names as in the authors' loading scripts
(github.com/pranavphoenix/WaveMix, ``Saved_weights/ImageNet/*.py``); the number in a tag is their
ImageNet-1k top-1 accuracy in percent. They publish no hashes: the Hub tells one with the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WAVEMIX_REPOSITORY = "cloudwalker/wavemix"


@dataclass(frozen=True, slots=True)
class WaveMixModel:
    """Arguments of ``wavemix.classification.WaveMix``; tag -> file, the default first."""

    arguments: Mapping[str, Any]
    files: Mapping[str, str]


def _model(channels: int, level: int, files: Mapping[str, str]) -> WaveMixModel:
    arguments = {
        "depth": 16,
        "mult": 2,
        "ff_channel": channels,
        "final_dim": channels,
        "dropout": 0.5,
        "level": level,
        "initial_conv": "pachify",
        "patch_size": 4,
    }
    folder = "Saved_Models_Weights/ImageNet"
    return WaveMixModel(arguments, {tag: f"{folder}/{name}" for tag, name in files.items()})


WAVEMIX: Mapping[str, WaveMixModel] = {
    # The one of Jeevan and Sethi (arXiv 2406.05612) is the first, with its first tag.
    "wavemix_192_16": _model(
        192,
        3,
        {
            "imagenet_75.06": "wavemix_192_16_75.06.pth",
            "imagenet_75.04": "wavemix_192_16_75.04.pth",
            "imagenet_71.49": "imagenet_71.49.pth",
        },
    ),
    "wavemix_256_16": _model(256, 3, {"imagenet_73.03": "ImageNet73.03.pth"}),
    "wavemixlite_192_16": _model(192, 1, {"imagenet_71.18": "wavemixlite_71.18.pth"}),
}
