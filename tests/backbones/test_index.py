"""Names and tags: the shipped index and what is said of a spec without any library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from raybench.backbones.index import (
    INDEX_PATH,
    build_index,
    check_backbone,
    list_backbones,
    split_name,
)
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


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("timm:convnext_tiny.fb_in1k", "pretrained"),
        ("timm:convnext_tiny", "fb_in1k"),
        ("timm:convnext_tiny.fb_in1k", "fb_in1k"),
        ("torchvision:resnet50", "IMAGENET1K_V1"),
        ("torchvision:resnet50", "none"),
        ("torchvision:resnet50", "https://example.org/w.safetensors"),
        ("torchvision:resnet50", f"https://example.org/w.pth#sha256={'aB' * 32}"),
        ("python:my_models:make", "pretrained"),
        ("wavemix:wavemix_192_16", "imagenet_75.06"),
        ("timm:hf-hub:timm/convnext_tiny.fb_in1k", "pretrained"),
        ("timm:hf-hub:my-lab/scans_v2@refs/pr/3", "none"),
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
        ("keras:resnet50", "none", "torchvision:NAME, wavemix:NAME or python:module:function"),
        ("timm:resnet18.a1", "pretrained", "unknown weights tag 'a1'; known are 'a1_in1k'"),
        ("timm:resnet18.a1_in1k", "a2_in1k", "keep one"),
        ("torchvision:resnet50", "V3", "known are 'IMAGENET1K_V2', 'IMAGENET1K_V1'"),
        ("timm:resnet18", "gone.safetensors", "no such file"),
        ("timm:resnet18", "folder/weights.txt", "must end in .safetensors, .pt"),
        ("timm:resnet18", "ftp://bucket/w.pt", "only http, https, s3 and gs"),
        ("python:no function", "none", "not of the form python:module:function"),
        ("python:a:b", "IMAGENET1K_V1", "knows no tags"),
        ("wavemix:wavemix_192", "none", "did you mean 'wavemix:wavemix_192_16'"),
        ("timm:convnext*", "pretrained", "is a pattern; write it alone, as '- timm:convnext*'"),
        ("timm:hf-hub:no-owner", "none", "not of the form timm:hf-hub:ORG/NAME"),
        ("timm:hf-hub:a/../b", "none", "not of the form timm:hf-hub:ORG/NAME"),
        ("timm:hf-hub:a/b--c", "none", "not of the form timm:hf-hub:ORG/NAME"),
        ("timm:hf-hub:a/b@", "none", "not of the form timm:hf-hub:ORG/NAME"),
        ("timm:hf-hub:a/b", "fb_in1k", "knows no tags; give pretrained, none or a file"),
        ("timm:hf-hub:a/b", "gone.safetensors", "no such file"),
        ("hf-hub:a/b", "none", "a model on the Hub is timm:hf-hub:ORG/NAME"),
        ("timm:timm/resnet50", "none", "a model on the Hub is timm:hf-hub:ORG/NAME"),
    ],
)
def test_bad_specs_are_refused_in_words(name, weights, words):
    assert words in mistakes(name, weights)


@pytest.mark.parametrize(
    "fragment",
    ["sha265=" + "a" * 64, "SHA256=" + "a" * 64, "sha256=12", "sha256=" + "z" * 64, "sha256=zz"]
    + ["sha256=" + "a" * 65, "md5=" + "a" * 32, "", "sha256=" + "a" * 64 + "#x"],
)
@pytest.mark.parametrize("name", ["timm:resnet18", "timm:hf-hub:a/b", "python:a:b"])
def test_a_mistyped_hash_is_no_hash(name, fragment):
    words = mistakes(name, f"https://me:pass@example.org/w.pth?key=1#{fragment}")
    assert f"'#{fragment}' behind it is no hash; write #sha256=" in words
    assert "pass" not in words and "key" not in words
    assert "no address" in mistakes(name, "https://[a/w.pth")


def test_models_without_published_weights_say_so():
    bare = next(b["name"] for b in list_backbones("timm:*") if not b["weights"])
    assert "has no pretrained weights: give weights: none or a file" in mistakes(bare)
    assert mistakes(bare, "none") == ""


def test_reserved_kwargs_and_the_rest_come_at_once():
    text = mistakes("timm:nonsense", "none", num_classes=3, pretrained=True)
    assert "kwargs may not hold 'num_classes', 'pretrained'" in text and "unknown backbone" in text


def test_a_hub_name_keeps_its_dots():
    name = "timm:hf-hub:timm/convnext_tiny.fb_in1k"
    assert split_name(name) == ("timm", "hf-hub:timm/convnext_tiny.fb_in1k", "")


def test_a_dot_in_a_pattern_leaves_the_tags_that_match():
    (row,) = list_backbones("timm:convnext_tiny.[f]b_in1k")
    assert row == {"name": "timm:convnext_tiny", "library": "timm", "weights": ["fb_in1k"]}
    assert all(b["weights"] == ["lvd142m"] for b in list_backbones("*.lvd142m"))


def test_listing_by_pattern():
    names = [b["name"] for b in list_backbones("resnet50")]
    assert "timm:resnet50" in names and "torchvision:wide_resnet50_2" in names
    assert [b["name"] for b in list_backbones("torchvision:swin_v2_?")] == [
        "torchvision:swin_v2_b",
        "torchvision:swin_v2_s",
        "torchvision:swin_v2_t",
    ]
    assert list_backbones("torchvision:resnet50")[0]["weights"][0] == "IMAGENET1K_V2"
