"""Patterns in a sweep file name backbones, each with its tag."""

from __future__ import annotations

import pytest

from raybench.backbones.index import check_backbone, load_index
from raybench.backbones.patterns import MOST_MATCHES, expand_pattern
from raybench.errors import SpecError


def test_a_dot_asks_for_tags():
    specs = expand_pattern("timm:convnext_[bt]*.fb_in1k")
    assert [spec.name for spec in specs] == [
        "timm:convnext_base.fb_in1k",
        "timm:convnext_tiny.fb_in1k",
    ]
    every = expand_pattern("timm:convnext_tiny.*")
    assert {s.name.partition(".")[2] for s in every} == set(load_index()["timm"]["convnext_tiny"])


def test_without_a_dot_each_name_counts_once_with_its_default_tag():
    names = {spec.name: spec.weights for spec in expand_pattern("torchvision:resnet*")}
    assert names["torchvision:resnet50"] == "IMAGENET1K_V2" and len(names) == 5
    specs = expand_pattern("timm:beit3_*")
    assert [s for s in specs if "giant" in s.name] == []  # no published weights
    assert specs[0].name == "timm:beit3_base_patch16_224.in22k_ft_in1k"


def test_tags_of_other_libraries_stand_in_weights():
    (spec,) = expand_pattern("torchvision:resnet50.*V1")
    assert (spec.name, spec.weights) == ("torchvision:resnet50", "IMAGENET1K_V1")
    assert expand_pattern("wavemix:wavemix_1*")[0].weights == "imagenet_75.06"


@pytest.mark.parametrize("pattern", ["timm:convnext*.fb_in1k", "torchvision:*", "wavemix:*"])
def test_what_a_pattern_names_can_be_named(pattern):
    assert [m for spec in expand_pattern(pattern) for m in check_backbone(spec)] == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("timm:convnxt*.fb_in1k", "names no backbone; did you mean 'timm:convnext*'"),
        ("timm:convnext*.fb_in1", "tags of 'timm:convnext*' are like 'fb_in1k'"),
        ("torchvision:zzzz*", "'torchvision:zzzz*' names no backbone"),
        ("timm:beit3_giant*", "only models without published weights"),
        ("resnet*", "needs its library in front"),
        ("timm:*", f"backbones, and a pattern may name at most {MOST_MATCHES}; narrow it"),
    ],
)
def test_what_cannot_be_meant_is_said(pattern, words):
    with pytest.raises(SpecError) as caught:
        expand_pattern(pattern)
    assert words in str(caught.value)
