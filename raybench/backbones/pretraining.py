"""What the weights behind a tag were trained on, as far as the tag says it.

timm's tags name recipe and data: ``augreg_in21k_ft_in1k`` was trained on ImageNet-21k, then
fine-tuned on ImageNet-1k. Where a tag is silent the answer is ``unknown``, never a guess.
"""

from __future__ import annotations

UNKNOWN = "unknown"

# timm's abbreviations of data sets.
_DATA = {
    "in1k": "ImageNet-1k",
    "imagenet": "ImageNet-1k",  # WaveMix's tags; torchvision's are IMAGENET1K_...
    "imagenet1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "inw21k": "ImageNet-W21k",
    "cc12m": "CC12M",
    "datacomp1b": "DataComp-1B",
    "datacompxl": "DataComp-XL",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "dfndr2b": "DFNDR-2B",
    "ig1b": "Instagram-1B",
    "jft": "JFT-300M",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "laiona": "LAION-A",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "m30m": "Merged-30M",
    "m38m": "Merged-38M",
    "merged2b": "Merged-2B",
    "metaclip": "MetaCLIP",
    "sa1b": "SA-1B",
    "sat493m": "SAT-493M",
    "webli": "WebLI",
    "yfcc100m": "YFCC100M",
    "yfcc15m": "YFCC15M",
}
# Recipes that are tied to one data set by their paper, for tags that leave it out.
_RECIPES = {
    "dino": "ImageNet-1k",  # Caron et al. 2021
    "fcmae": "ImageNet-1k",  # ConvNeXt V2, Woo et al. 2023
    "openai": "WIT-400M",  # CLIP, Radford et al. 2021
    "swag": "IG-3.6B",  # Singh et al. 2022
}


def pretraining_data(tag: str) -> str:
    """The data sets in the order of training, joined by ``, then``.

    Args:
        tag: timm's, torchvision's or WaveMix's; empty for a model without published weights.
    """
    words = tag.lower().split("_")
    if "swag" in words and "imagenet1k" in words:  # torchvision names the last data set first
        words = ["swag", "imagenet1k"]
    found = [_DATA.get(word) or _RECIPES.get(word) for word in words]
    before_tuning = found[: words.index("ft")] if "ft" in words else found
    named = [data for data in found if data]
    if not any(before_tuning):
        named.insert(0, UNKNOWN)
    stages = [data for n, data in enumerate(named) if n == 0 or data != named[n - 1]]
    return ", then ".join(stages)
