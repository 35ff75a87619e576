"""What Jeevan and Sethi found, as tables: "Which Backbone to Use" (arXiv 2406.05612, TMLR 2025).

Sources: ranking, Table 1 of version 3 (as an image in pranavphoenix/pranavphoenix.github.io,
``images/backbones_cover.jpg``); backbones and ImageNet accuracies, the README of
pranavphoenix/Backbones at 6e73e17. Accuracies per data set were not found, so none are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TITLE = "Jeevan and Sethi, Which Backbone to Use (arXiv 2406.05612v3, TMLR 2025)"
SOURCE = "https://arxiv.org/abs/2406.05612v3, Table 1"
LEARNING_RATE = 1e-3

CONVNEXT, REGNET, EFFICIENTNET = "ConvNeXt-Tiny", "RegNetY-3.2GF", "EfficientNetV2-S"
RESNEXT, WAVEMIX, RESNET = "ResNeXt-50 32x4d", "WaveMix", "ResNet-50"

TOP_THREE: Mapping[str, tuple[str, str, str]] = {
    "natural": (CONVNEXT, EFFICIENTNET, REGNET),
    "texture": (CONVNEXT, RESNEXT, REGNET),
    "remote sensing": (RESNEXT, EFFICIENTNET, CONVNEXT),
    "plant": (REGNET, CONVNEXT, "ShuffleNetV2 2.0x"),
    "astronomy": (WAVEMIX, CONVNEXT, "DenseNet-161"),
    "medical": (WAVEMIX, EFFICIENTNET, REGNET),
    "overall": (CONVNEXT, REGNET, EFFICIENTNET),
}
"""Best, better, good: domain -> backbones."""

IMAGENET_TOP1: Mapping[str, float] = {
    RESNET: 76.13,
    WAVEMIX: 75.32,
    CONVNEXT: 82.52,
    "Swin-Tiny": 81.47,
    "SwinV2-Tiny": 82.07,
    EFFICIENTNET: 84.23,
    "DenseNet-161": 77.14,
    "MobileNetV3-Large": 75.27,
    REGNET: 81.98,
    RESNEXT: 81.20,
    "ShuffleNetV2 2.0x": 76.23,
}
"""Percent, as their table states them."""

_ARCHITECTURES: Mapping[str, str] = {
    "resnet50": RESNET,
    "wavemix_192_16": WAVEMIX,
    "convnext_tiny": CONVNEXT,
    "swin_t": "Swin-Tiny",
    "swin_tiny_patch4_window7_224": "Swin-Tiny",
    "swin_v2_t": "SwinV2-Tiny",
    "swinv2_tiny_window8_256": "SwinV2-Tiny",
    "swinv2_tiny_window16_256": "SwinV2-Tiny",
    "efficientnet_v2_s": EFFICIENTNET,
    "tf_efficientnetv2_s": EFFICIENTNET,
    "densenet161": "DenseNet-161",
    "mobilenet_v3_large": "MobileNetV3-Large",
    "mobilenetv3_large_100": "MobileNetV3-Large",
    "regnet_y_3_2gf": REGNET,
    "regnety_032": REGNET,
    "resnext50_32x4d": RESNEXT,
    "shufflenet_v2_x2_0": "ShuffleNetV2 2.0x",
}
"""Names in torchvision, timm and wavemix; weights may be others than the paper's."""

_ATTENTION = (
    "vit deit swin beit eva maxvit coat cait xcit pit pvt mvit twins crossvit levit volo nest "
    "efficientformer gcvit tiny_vit fastvit mobilevit"
).split()


def architecture(backbone: str) -> str:
    """``resnet50`` for ``timm:resnet50.a1_in1k [my.pt]``."""
    return backbone.rsplit(" [", 1)[0].rsplit(":", 1)[-1].partition(".")[0]


def backbones_of_paper(backbones: Iterable[str]) -> dict[str, str]:
    """Those of the paper's that a sweep has: the sweep's name -> the paper's.

    Where a sweep has one twice (other weights), torchvision's is taken, which the paper used, else
    the first.
    """
    found: dict[str, str] = {}
    for name in sorted(backbones, key=lambda name: not name.startswith("torchvision:")):
        known = _ARCHITECTURES.get(architecture(name))
        if known is not None and known not in found.values():
            found[name] = known
    return found


def has_attention(backbone: str) -> bool:
    """By its architecture's name: a transformer, or a mixture of convolutions and attention."""
    return architecture(backbone).startswith(tuple(_ATTENTION))
