"""Every family: a new classifier, and every other weight as in the published file."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from raybench.backbones.backbone import Backbone
from raybench.backbones.build import build_backbone
from raybench.backbones.cards import GROUPS
from raybench.backbones.weights import file_sha256
from raybench.spec import BackboneSpec

CLASSES = 7

# torchvision's part of @paper -> classifier.
PAPER = {
    "torchvision:resnet50": "fc",
    "torchvision:convnext_tiny": "classifier.2",
    "torchvision:swin_t": "head",
    "torchvision:swin_v2_t": "head",
    "torchvision:efficientnet_v2_s": "classifier.1",
    "torchvision:densenet161": "classifier",
    "torchvision:mobilenet_v3_large": "classifier.3",
    "torchvision:regnet_y_3_2gf": "fc",
    "torchvision:resnext50_32x4d": "fc",
    "torchvision:shufflenet_v2_x2_0": "fc",
}
TIMM = {  # name with a published tag -> classifier, image size
    "timm:resnet10t.c3_in1k": ("fc", 32),
    "timm:convnext_atto.d2_in1k": ("head.fc", 32),
    "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k": ("head", 48),
    "timm:efficientnet_b0.ra_in1k": ("classifier", 32),
    "timm:regnety_002.pycls_in1k": ("head.fc", 32),
    "timm:densenet121.ra_in1k": ("classifier", 32),
    "timm:mobilenetv3_small_050.lamb_in1k": ("classifier", 32),
    "timm:levit_128s.fb_dist_in1k": ("head.linear head_dist.linear", 224),
    "timm:deit_tiny_distilled_patch16_224.fb_in1k": ("head head_dist", 32),
    "timm:maxvit_rmlp_pico_rw_256.sw_in1k": ("head.fc", 128),
    "timm:swin_tiny_patch4_window7_224.ms_in1k": ("head.fc", 56),
    "timm:eva02_tiny_patch14_336.mim_in22k_ft_in1k": ("head", 56),
    "timm:beit_base_patch16_224.in22k_ft_in22k_in1k": ("head", 64),
}
# Buffers and tables that timm makes for the image size, so that the file's do not fit.
RESIZED = ("pos_embed", "relative_position", "attn_mask", "rope")


def published(spec: BackboneSpec, folder: Path, patch: pytest.MonkeyPatch) -> dict:
    """Put a random state dict with the published number of classes where the file is looked for."""
    library, _, name = spec.name.partition(":")
    torch.manual_seed(7)
    if library == "timm":
        state = timm.create_model(name).state_dict()
        save_file(state, folder / f"{name}.safetensors")
        return state
    weights = torchvision.models.get_model_weights(name)
    state = torchvision.models.get_model(name, weights=None).state_dict()
    torch.save(state, folder / "new.pth")
    digits = file_sha256(folder / "new.pth")[:8]
    (folder / "new.pth").rename(folder / f"{name}-{digits}.pth")
    patch.setattr(weights.DEFAULT.value, "url", f"https://example.org/{name}-{digits}.pth")
    return state


def built(spec: BackboneSpec, folder: Path, size: int) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(spec, CLASSES, size, weights_dir=folder)


def check(backbone: Backbone, state: dict, head: str) -> None:
    """All but the classifier equals the file; the classifier is another, of its own shape."""
    names = set(backbone.head_parameter_names)
    assert {name.rpartition(".")[0] for name in names} == set(head.split())
    own = backbone.model.state_dict()
    resized = {name for name in own if own[name].shape != state[name].shape} - names
    assert all(any(part in name for part in RESIZED) for name in resized), resized
    for name in own.keys() - names - resized:
        assert torch.equal(own[name], state[name]), name
    for name in names:
        assert own[name].shape[0] == CLASSES
        assert own[name].ndim < 2 or own[name].std() > 0
        assert not torch.equal(own[name], state[name][:CLASSES]) or own[name].std() == 0


def test_the_whole_paper_is_here():
    """WaveMix, the eleventh, has tests of its own."""
    named = {spec.name for spec in GROUPS["@paper"]}
    assert {name for name in named if name.startswith("torchvision:")} == set(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_torchvision(name, tmp_path, monkeypatch):
    spec = BackboneSpec(name=name)
    state = published(spec, tmp_path, monkeypatch)
    check(built(spec, tmp_path, 32), state, PAPER[name])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if "beit" in n else ()) for n in TIMM]
)
@pytest.mark.filterwarnings("ignore:torch.searchsorted:UserWarning")
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")
def test_timm(name, tmp_path, monkeypatch):
    head, size = TIMM[name]
    spec = BackboneSpec(name=name)
    state = published(spec, tmp_path, monkeypatch)
    check(built(spec, tmp_path, size), state, head)
