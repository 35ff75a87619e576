"""Figures and origins of backbones: the shipped table against the libraries."""

from __future__ import annotations

import json
import math
import random

import pytest

from raybench.backbones import measure
from raybench.backbones.describe import (
    DESCRIPTIONS_PATH,
    MOST_MEASURED,
    NOT_STATED,
    describe_backbones,
    describe_spec,
    measured_at,
)
from raybench.backbones.index import INDEXED, list_backbones, load_index
from raybench.backbones.pretraining import pretraining_data
from raybench.errors import UserInputError
from raybench.seeding import derive_seed
from raybench.spec import BackboneSpec

SHIPPED = json.loads(DESCRIPTIONS_PATH.read_text())
AGAIN = "run python -m raybench.backbones.describe"


def one(name: str, weights: str = "pretrained", **kwargs: object):
    (weights_card,) = describe_spec(BackboneSpec(name=name, weights=weights, kwargs=kwargs)).weights
    return weights_card


def ignore(text: str) -> None:
    pass


def test_every_name_and_tag_of_the_index_is_described():
    index = json.loads(json.dumps(load_index()))
    shipped = {
        library: {name: list(tags) for name, (_, tags) in SHIPPED[library].items()}
        for library in index
    }
    bare = {lib: {n: [t for t in tags if t] for n, tags in shipped[lib].items()} for lib in index}
    assert bare == index, AGAIN


def test_every_model_was_measured():
    unknown = [
        (model.name, weights.tag)
        for model in describe_backbones()
        for weights in model.weights
        if not (weights.parameters and weights.macs)
    ]
    assert unknown == []


@pytest.mark.slow
def test_a_sample_of_timm_equals_the_installed_library():
    from timm import __version__

    assert SHIPPED["versions"]["timm"] == __version__, AGAIN
    draw = random.Random(derive_seed(0, "test", "describe"))
    names = [name for name, tags in load_index()["timm"].items() if tags]
    for name in [*draw.sample(names, 12), "cait_xxs24_224", "vit_base_patch16_siglip_224"]:
        assert (
            measure._timm_model(name, load_index()["timm"][name], ignore) == SHIPPED["timm"][name]
        ), (name, AGAIN)


def test_torchvision_is_what_its_metadata_says():
    from torchvision import models

    for name in load_index()["torchvision"]:
        _, rows = SHIPPED["torchvision"][name]
        for weights in models.get_model_weights(name):
            card = one(f"torchvision:{name}", weights.name)
            meta = weights.meta
            assert card.parameters == meta["num_params"] == rows[weights.name][0]
            assert card.macs == pytest.approx(meta["_ops"] * 1e9)
            assert card.licence == meta.get("license", NOT_STATED)
            top1 = meta["_metrics"]["ImageNet-1K"]["acc@1"]
            assert card.imagenet_top1 == (None if math.isnan(top1) else top1)
            assert card.pretraining.endswith("ImageNet-1k")
            assert card.input_size == (weights.transforms().crop_size[0],) * 2


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "maxvit_t", "resnet18", "regnet_y_400mf"])
def test_which_torchvision_models_are_built_for_one_size(name):
    assert one(f"torchvision:{name}").fixed_size is measure._refuses_other_sizes(name)
    assert one(f"torchvision:{name}").fixed_size is (name in ("vit_b_16", "maxvit_t"))


@pytest.mark.parametrize(
    ("name", "published_gmacs"),
    [
        # He et al. (timm counts 4.1), Liu et al. 2022, Liu et al. 2021, Touvron et al. 2021
        ("timm:resnet50", 4.1),
        ("timm:convnext_tiny.fb_in1k", 4.5),
        ("timm:swin_tiny_patch4_window7_224", 4.5),
        ("timm:deit_small_patch16_224", 4.6),
    ],
)
def test_macs_are_the_published_ones(name, published_gmacs):
    spec = BackboneSpec(name=name, weights="none")
    _, macs, _ = measure.measure_built(spec, 224)
    assert macs == pytest.approx(published_gmacs * 1e9, rel=0.03)


@pytest.mark.parametrize("name", ["densenet161", "mobilenet_v3_large", "vit_b_16", "swin_v2_t"])
def test_our_counter_agrees_with_torchvisions_own_figures(name):
    from torchvision import models

    card = one(f"torchvision:{name}")
    make = lambda: models.get_model(name, weights=None)  # noqa: E731
    parameters, macs, _ = measure.count(make, *card.input_size)
    assert parameters == card.parameters and macs == pytest.approx(card.macs, rel=0.03)


def test_untrained_and_changed_models_claim_nothing_of_the_trained_one():
    card = one("timm:resnet18", "none")
    assert (card.tag, card.pretraining, card.licence, card.source) == ("", "none", "", "")
    assert card.parameters == one("timm:resnet18").parameters
    unpublished = one("timm:beit3_giant_patch14_224")
    assert (unpublished.tag, unpublished.pretraining, unpublished.source) == ("", "none", "")
    changed = one("timm:vit_tiny_patch16_224", "none", depth=4)
    assert (changed.parameters, changed.macs) == (None, None)


def test_weights_decide_size_licence_and_source():
    at_384 = one("timm:convnext_tiny", "in12k_ft_in1k_384")
    at_224 = one("timm:convnext_tiny", "in12k_ft_in1k")
    assert (at_384.input_size, at_224.input_size) == ((384, 384), (224, 224))
    assert at_384.macs > 2.9 * at_224.macs and at_384.parameters == at_224.parameters
    assert at_224.source == "timm/convnext_tiny.in12k_ft_in1k"
    assert one("timm:vit_small_patch16_dinov3", "lvd1689m").licence == "dinov3-license"
    assert one("torchvision:resnet50").source.startswith("https://download.pytorch.org/models/")


def test_measured_live_at_a_size_with_the_constructors_arguments():
    small = measured_at([describe_spec(BackboneSpec(name="torchvision:resnet18"))], 112)
    ((card,),) = [model.weights for model in small]
    assert card.input_size == (112, 112)
    assert card.macs == pytest.approx(one("torchvision:resnet18").macs / 4, rel=0.1)
    shallow = BackboneSpec(name="timm:vit_tiny_patch16_224", weights="none", kwargs={"depth": 2})
    ((card,),) = [model.weights for model in measured_at([describe_spec(shallow)], 64)]
    assert 0 < card.parameters < one("timm:vit_tiny_patch16_224").parameters / 4


def test_a_size_that_is_refused_is_said_and_the_rest_measured():
    models = [
        describe_spec(BackboneSpec(name=f"timm:{n}")) for n in ("maxvit_tiny_tf_224", "resnet18")
    ]
    refused, measured = (model.weights[0] for model in measured_at(models, 7))
    assert refused.macs is None and "7x7" in refused.refusal
    assert measured.refusal == "" and measured.macs > 0


def test_too_many_to_measure_is_a_mistake():
    models = describe_backbones("timm:vit*")
    with pytest.raises(UserInputError, match=f"at most {MOST_MEASURED}"):
        measured_at(models, 224)


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("in1k", "ImageNet-1k"),
        ("augreg_in21k_ft_in1k", "ImageNet-21k, then ImageNet-1k"),
        ("in22k_ft_in22k_in1k", "ImageNet-22k, then ImageNet-1k"),
        ("clip_laion2b_augreg_ft_in12k_in1k", "LAION-2B, then ImageNet-12k, then ImageNet-1k"),
        ("openai_ft_in1k", "WIT-400M, then ImageNet-1k"),
        ("seer_ft_in1k", "unknown, then ImageNet-1k"),
        ("c_radio", "unknown"),
        ("", "unknown"),
        ("IMAGENET1K_V2", "ImageNet-1k"),
        ("IMAGENET1K_SWAG_E2E_V1", "IG-3.6B, then ImageNet-1k"),
        ("imagenet_75.06", "ImageNet-1k"),
    ],
)
def test_pretraining_data_from_the_tag(tag, data):
    assert pretraining_data(tag) == data


def test_classifiers_agree_with_the_data_that_the_tag_names():
    from timm.models import get_pretrained_cfg

    last = {"ImageNet-1k": 1000, "ImageNet-12k": 11821}
    for row in list_backbones("timm:*.*ft_in*"):
        for tag in row["weights"]:
            config = get_pretrained_cfg(f"{row['name'].partition(':')[2]}.{tag}")
            data = pretraining_data(tag).rpartition(", then ")[2]
            assert config.num_classes == last.get(data, config.num_classes), (row["name"], tag)


def test_versions_are_those_of_the_index():
    assert set(SHIPPED["versions"]) == set(INDEXED)
