"""Groups of backbones that a sweep names with one word, as a table."""

from __future__ import annotations

from raybench.spec import BackboneSpec


def _with_tags(*pairs: tuple[str, str]) -> tuple[BackboneSpec, ...]:
    return tuple(BackboneSpec(name=name, weights=tag) for name, tag in pairs)


GROUPS: dict[str, tuple[BackboneSpec, ...]] = {
    # The torchvision part of Jeevan and Sethi (arXiv 2406.05612), with the weights that their
    # scripts load; for ResNet-50 those are V2, although their table prints V1's accuracy. Their
    # eleventh, WaveMix, is missing: its package (0.2.4) cannot be imported with NumPy 2.
    "@paper": _with_tags(
        ("torchvision:resnet50", "IMAGENET1K_V2"),
        ("torchvision:convnext_tiny", "IMAGENET1K_V1"),
        ("torchvision:swin_t", "IMAGENET1K_V1"),
        ("torchvision:swin_v2_t", "IMAGENET1K_V1"),
        ("torchvision:efficientnet_v2_s", "IMAGENET1K_V1"),
        ("torchvision:densenet161", "IMAGENET1K_V1"),
        ("torchvision:mobilenet_v3_large", "IMAGENET1K_V2"),
        ("torchvision:regnet_y_3_2gf", "IMAGENET1K_V2"),
        ("torchvision:resnext50_32x4d", "IMAGENET1K_V2"),
        ("torchvision:shufflenet_v2_x2_0", "IMAGENET1K_V1"),
    ),
    # One of each family, at most 12 million parameters: a first look on a small machine.
    "@small": _with_tags(
        ("timm:resnet18", "a1_in1k"),
        ("timm:mobilenetv3_large_100", "ra_in1k"),
        ("timm:efficientnet_b0", "ra_in1k"),
        ("timm:regnety_008", "pycls_in1k"),
        ("timm:convnext_femto", "d1_in1k"),
        ("timm:vit_tiny_patch16_224", "augreg_in21k_ft_in1k"),
    ),
}
