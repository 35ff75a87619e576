"""Names and tags: the shipped index and what is said of a spec without any library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from raybench.backbones.cards import GROUPS
from raybench.backbones.index import INDEX_PATH, build_index, check_backbone, list_backbones
from raybench.spec import BackboneSpec


def mistakes(name: str, weights: str = "pretrained", **kwargs: object) -> str:
    return "\n".join(check_backbone(BackboneSpec(name=name, weights=weights, kwargs=kwargs)))


def test_the_shipped_index_equals_the_installed_libraries():
    shipped = json.loads(INDEX_PATH.read_text())
    assert shipped == build_index(), "run python -m raybench.backbones.index"


def test_checking_imports_nothing_heavy():
    code = (
        "import sys; from raybench.backbones.index import check_backbone, list_backbones;"
        "from raybench.backbones.cards import GROUPS; list_backbones();"
        "check_backbone(GROUPS['@paper'][0]);"
        "print(sorted({'torch', 'timm', 'torchvision', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_member_of_a_group_is_known(group):
    assert len(GROUPS[group]) >= 3
    assert [m for spec in GROUPS[group] for m in check_backbone(spec)] == []


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("timm:convnext_tiny.fb_in1k", "pretrained"),
        ("timm:convnext_tiny", "fb_in1k"),
        ("timm:convnext_tiny.fb_in1k", "fb_in1k"),
        ("torchvision:resnet50", "IMAGENET1K_V1"),
        ("torchvision:resnet50", "none"),
        ("torchvision:resnet50", "https://example.org/w.safetensors"),
        ("python:my_models:make", "pretrained"),
    ],
)
def test_good_specs(name, weights):
    assert mistakes(name, weights) == ""


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("timm:resnet5O", "none", "did you mean 'timm:resnet50'"),
        ("torchvision:swin-t", "none", "did you mean 'torchvision:swin_t'"),
        ("resnet50", "none", "in front: timm:resnet50 or torchvision:resnet50"),
        ("swin_t", "none", "in front: torchvision:swin_t"),
        ("resnett50", "none", "did you mean 'timm:resnet50'"),
        ("keras:resnet50", "none", "write timm:NAME, torchvision:NAME or python:module:function"),
        ("timm:resnet18.a1", "pretrained", "unknown weights tag 'a1'; known are 'a1_in1k'"),
        ("timm:resnet18.a1_in1k", "a2_in1k", "keep one"),
        ("torchvision:resnet50", "V3", "known are 'IMAGENET1K_V2', 'IMAGENET1K_V1'"),
        ("timm:resnet18", "gone.safetensors", "no such file"),
        ("timm:resnet18", "folder/weights.txt", "must end in .safetensors, .pt"),
        ("timm:resnet18", "s3://bucket/w.pt", "only http and https"),
        ("python:no function", "none", "not of the form python:module:function"),
        ("python:a:b", "IMAGENET1K_V1", "knows no tags"),
    ],
)
def test_bad_specs_are_refused_in_words(name, weights, words):
    assert words in mistakes(name, weights)


def test_models_without_published_weights_say_so():
    bare = next(b["name"] for b in list_backbones("timm:*") if not b["weights"])
    assert "has no pretrained weights: give weights: none or a file" in mistakes(bare)
    assert mistakes(bare, "none") == ""


def test_reserved_kwargs_and_the_rest_come_at_once():
    text = mistakes("timm:nonsense", "none", num_classes=3, pretrained=True)
    assert "kwargs may not hold 'num_classes', 'pretrained'" in text and "unknown backbone" in text


def test_listing_by_pattern():
    names = [b["name"] for b in list_backbones("resnet50")]
    assert "timm:resnet50" in names and "torchvision:wide_resnet50_2" in names
    assert [b["name"] for b in list_backbones("torchvision:swin_v2_?")] == [
        "torchvision:swin_v2_b",
        "torchvision:swin_v2_s",
        "torchvision:swin_v2_t",
    ]
    assert list_backbones("torchvision:resnet50")[0]["weights"][0] == "IMAGENET1K_V2"
