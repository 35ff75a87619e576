"""Groups of backbones that a sweep names with one word, as tables; each card says why it is there.

Accuracies are ImageNet-1k top-1. Sources, by the names used on the cards:

- the paper: Jeevan and Sethi, arXiv 2406.05612, with the README and the scripts of its repository
  (github.com/pranavphoenix/Backbones, commit 6e73e17).
- BoB: Battle of the Backbones, Goldblum et al., arXiv 2310.19909.
- coupling study: Li et al., arXiv 2410.06373.
- timm's results: ``results/results-imagenet.csv`` of github.com/huggingface/pytorch-image-models,
  commit 0173a13; at the test size given there.
"""

from __future__ import annotations

from dataclasses import dataclass

from raybench.spec import BackboneSpec


@dataclass(frozen=True, slots=True)
class BackboneCard:
    """One backbone of a group.

    Attributes:
        why: why it is in the group, with the source of the claim.
        stated_top1: the accuracy in the publication that the group follows, in percent; which
            weights it means is read from this number.
    """

    spec: BackboneSpec
    why: str
    stated_top1: float | None = None


@dataclass(frozen=True, slots=True)
class GroupCard:
    """A group in one sentence, and its members."""

    title: str
    cards: tuple[BackboneCard, ...]


def _card(
    name: str, weights: str, why: str, stated_top1: float | None = None, **kwargs: int
) -> BackboneCard:
    spec = BackboneSpec(name=name, weights=weights, kwargs=dict(kwargs))
    return BackboneCard(spec, why, stated_top1)


_V1, _V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"

_PAPER_RESNET = _card(
    "torchvision:resnet50",
    _V1,
    "The paper's README says 76.13: torchvision's V1 has that, the V2 that its scripts load has "
    "80.86 (see @paper-code)",
    76.13,
)
_PAPER_CODE_RESNET = _card(
    "torchvision:resnet50",
    _V2,
    "Loaded by the paper's scripts; 80.86 by torchvision, where the README says 76.13 (V1)",
)
_PAPER_OTHERS = (
    _card(
        "wavemix:wavemix_192_16",
        "imagenet_75.06",
        "Best on astronomy and medical images in the paper. Its README says 75.32; the authors "
        "publish no such weights, and these are what their scripts load",
        75.32,
    ),
    _card(
        "torchvision:convnext_tiny",
        _V1,
        "Best overall in the paper: in the top three of five of its six domains",
        82.52,
    ),
    _card("torchvision:swin_t", _V1, "In the top three of none of the paper's domains", 81.47),
    _card(
        "torchvision:swin_v2_t",
        _V1,
        "In the top three of none of the paper's domains; among the best small ones in BoB",
        82.07,
    ),
    _card(
        "torchvision:efficientnet_v2_s",
        _V1,
        "Third overall in the paper; tested at 384 pixels by torchvision",
        84.23,
    ),
    _card("torchvision:densenet161", _V1, "Third on astronomy in the paper", 77.14),
    _card(
        "torchvision:mobilenet_v3_large",
        _V2,
        "The paper's smallest, 5.5 M parameters; in the top three of none of its domains",
        75.27,
    ),
    _card(
        "torchvision:regnet_y_3_2gf",
        _V2,
        "Second overall in the paper: best on plants, in the top three of four of six domains",
        81.98,
    ),
    _card(
        "torchvision:resnext50_32x4d",
        _V2,
        "Best on remote sensing and second on texture in the paper",
        81.20,
    ),
    _card("torchvision:shufflenet_v2_x2_0", _V1, "Third on plants in the paper", 76.23),
)

_SMALL = (
    _card("timm:resnet10t", "c3_in1k", "The smallest residual network of timm with weights"),
    _card("timm:mobilenetv3_large_100", "ra_in1k", "Inverted residuals, searched for on phones"),
    _card("timm:efficientnet_b0", "ra_in1k", "Best of the smallest in BoB"),
    _card("timm:regnety_008", "pycls_in1k", "A small sister of the paper's second overall"),
    _card("timm:convnext_femto", "d1_in1k", "A small sister of the paper's best overall"),
    _card(
        "timm:vit_tiny_patch16_224",
        "augreg_in21k_ft_in1k",
        "A plain transformer of this size; pre-trained on more than the others",
    ),
)

_ATTENTION = (
    _card(
        "timm:vit_small_patch16_224",
        "augreg_in21k_ft_in1k",
        "The plain vision transformer, supervised; 81.4 in timm's results",
    ),
    _card(
        "timm:deit3_small_patch16_224",
        "fb_in22k_ft_in1k",
        "The same architecture under a later recipe; 83.1 in timm's results",
    ),
    _card(
        "timm:vit_small_patch16_224",
        "dino",
        "The same without labels; DINO's ViT-S is third among the small ones in BoB",
    ),
    _card(
        "timm:swin_tiny_patch4_window7_224",
        "ms_in1k",
        "Attention in shifted windows; in the paper as well, with torchvision's weights",
    ),
    _card(
        "timm:swinv2_tiny_window8_256",
        "ms_in1k",
        "With ConvNeXt-T the best small one in BoB; 81.8 in timm's results",
    ),
    _card(
        "timm:maxvit_tiny_tf_224",
        "in1k",
        "Attention in blocks and on a grid, with convolutions; 83.4 in timm's results",
    ),
    _card(
        "timm:caformer_s18",
        "sail_in22k_ft_in1k",
        "Convolutions first, attention later; its smaller sister needs little tuning in the "
        "coupling study; 84.1 in timm's results",
    ),
)

_CNN = (
    _card("timm:resnet50", "a1_in1k", "The reference; robust to its tuning in the coupling study"),
    _card("timm:densenet121", "ra_in1k", "Dense connections; a larger sister is in the paper"),
    _card(
        "timm:resnext50_32x4d",
        "a1h_in1k",
        "Best on remote sensing in the paper, with torchvision's weights; 82.0 in timm's results",
    ),
    _card("timm:mobilenetv3_large_100", "ra_in1k", "Depthwise convolutions, 5.5 M parameters"),
    _card(
        "timm:regnety_032",
        "ra_in1k",
        "Second overall in the paper, with torchvision's weights; 82.7 in timm's results",
    ),
    _card(
        "timm:tf_efficientnetv2_s",
        "in21k_ft_in1k",
        "Third overall in the paper, with torchvision's weights; 84.3 at 384 in timm's results",
    ),
    _card(
        "timm:convnext_tiny",
        "fb_in1k",
        "Best overall in the paper, with torchvision's weights; asks most of the optimizer in the "
        "coupling study",
    ),
    _card(
        "timm:convnextv2_tiny",
        "fcmae_ft_in22k_in1k",
        "0.8 points of spread over optimizers in the coupling study; 84.4 at 288 in timm's results",
    ),
)

_MODERN = (
    _card(
        "timm:convnext_tiny",
        "in12k_ft_in1k",
        "The paper's best overall and one of BoB's two best small ones, here after more data: 84.5 "
        "at 288 in timm's results, against 82.7 of fb_in1k",
    ),
    _card(
        "timm:convnextv2_tiny",
        "fcmae_ft_in22k_in1k",
        "Asks little of the optimizer: 0.8 points of spread in the coupling study, against 8.0 of "
        "ConvNeXt-T; 84.4 at 288 in timm's results. Weights not for commercial use",
    ),
    _card(
        "timm:tf_efficientnetv2_s",
        "in21k_ft_in1k",
        "Third overall in the paper and in the top three of three domains; 84.3 at 384 in timm's "
        "results",
    ),
    _card(
        "timm:regnety_032",
        "ra_in1k",
        "Second overall in the paper, which used torchvision's weights; 82.7 at 288 in timm's "
        "results",
    ),
    _card(
        "timm:caformer_s18",
        "sail_in22k_ft_in1k",
        "Its smaller sister is among the robust to tuning in the coupling study; 84.1 at 224 in "
        "timm's results",
    ),
    _card(
        "timm:swinv2_tiny_window8_256",
        "ms_in1k",
        "BoB's best small transformer, while the paper, at one learning rate for all, ranks it "
        "nowhere",
    ),
    _card(
        "timm:vit_small_patch14_dinov2",
        "lvd142m",
        "Successor of BoB's third small one: trained without labels on 142 M images",
    ),
    _card(
        "timm:deit3_small_patch16_224",
        "fb_in22k_ft_in1k",
        "The plain ViT-S under a later recipe: 83.1 at 224 in timm's results, 81.4 under AugReg's",
    ),
)

_QUICKSTART = (
    _card("timm:resnet10t", "none", "A residual network that trains from scratch in seconds"),
    _card("timm:mobilenetv3_small_050", "none", "Inverted residuals, the fewest MACs here"),
    _card(
        "timm:vit_tiny_patch16_224",
        "none",
        "A transformer, cut down to images of 32 pixels",
        patch_size=8,
        embed_dim=96,
        depth=4,
        num_heads=3,
    ),
)

GROUP_CARDS: dict[str, GroupCard] = {
    "@paper": GroupCard(
        "The eleven of Jeevan and Sethi, with the weights that their README means",
        (_PAPER_RESNET, *_PAPER_OTHERS),
    ),
    "@paper-code": GroupCard(
        "The same eleven, with the weights that their scripts load",
        (_PAPER_CODE_RESNET, *_PAPER_OTHERS),
    ),
    "@small": GroupCard(
        "One of each family under 10 million parameters: a first look on a small machine", _SMALL
    ),
    "@attention": GroupCard("Backbones with attention, of the size of the paper's", _ATTENTION),
    "@cnn": GroupCard("Convolutional backbones, oldest first, up to the paper's size", _CNN),
    "@modern": GroupCard(
        "What a practitioner would shortlist today, of the size of the paper's", _MODERN
    ),
    "@quickstart": GroupCard(
        "The three untrained ones of search_spaces/quickstart.yaml, for a run without network",
        _QUICKSTART,
    ),
}

GROUPS: dict[str, tuple[BackboneSpec, ...]] = {
    name: tuple(card.spec for card in group.cards) for name, group in GROUP_CARDS.items()
}
