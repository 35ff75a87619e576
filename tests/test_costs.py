"""Prices by hand: what a trial takes from what was measured, and from multiply-adds."""

from __future__ import annotations

import pytest

from raybench import rates
from raybench.costs import Costs, Images, Measured, expected_seconds, most_epochs
from raybench.plan import make_plan
from tests.specs import tiny_spec

KEY = ("timm:test_resnet {}", 32)


def measured(**changes):
    known = {"batch_size": 64, "precision": "fp32", "at": 1.0, "train_s": 0.01,
             "evaluate_s": 0.002, "save_s": 0.5, "parameters": 1e6}  # fmt: skip
    return Measured(**(known | changes))


def price(known, images=None, probes=(), on_cpu=True, **changes):
    spec = tiny_spec(**changes)
    (pair,) = make_plan(spec).pairs
    found = Costs(on_cpu, {KEY: known}, {KEY: probes})
    return found.price(pair, spec, images or Images(1000, 200, 300))


def test_a_trial_by_hand():
    """Two epochs of 1,000 x 10 ms + 200 x 2 ms, with 0.5 s after each; the final reads the test."""
    found = price([measured()])
    assert found.epochs_s == pytest.approx(2 * (10 + 0.4))
    assert found.search_s == pytest.approx(20.8 + 2 * 0.5 + rates.TRIAL_S)
    assert found.final_s == pytest.approx(found.search_s + 300 * 0.002)
    assert (found.share, found.features_s, found.basis) == (1.0, 0.0, "trials")


def test_a_share_takes_as_much_longer():
    whole, quarter = (
        price([measured()], on_cpu=False, device="auto", resources={"gpus": share})
        for share in (1, 0.25)
    )
    assert (whole.share, quarter.share) == (1.0, 0.25)
    assert quarter.epochs_s == pytest.approx(4 * whole.epochs_s)
    assert quarter.search_s - quarter.epochs_s == pytest.approx(whole.search_s - whole.epochs_s)
    two_cores = price([measured()], resources={"cpus": 2, "gpus": 0})
    assert two_cores.share == 2 and two_cores.epochs_s == pytest.approx(whole.epochs_s / 2)


def test_auto_takes_the_share_that_a_probe_found():
    auto = {"on_cpu": False, "device": "auto", "resources": {"gpus": "auto"}}
    profile = measured(gpu_share=None, at=2.0)
    assert price([], probes=[measured(gpu_share=0.5), profile], **auto).share == 0.5
    assert price([measured()], **auto).share == 1.0


def test_trials_count_before_probes_and_those_before_multiply_adds():
    assert price([measured()], probes=[measured(train_s=1.0)]).basis == "trials"
    found = price([], probes=[measured(train_s=0.02)])
    assert found.basis == "probe" and found.epochs_s == pytest.approx(2 * 20.4)
    assert price([]).basis == "multiply-adds"
    assert price([], backbones=[{"name": "python:tests.sweep.nets:tiny"}]) is None


def test_what_was_measured_as_the_recipe_says_is_preferred():
    other = [
        measured(train_s=1.0, batch_size=32, at=9.0),
        measured(train_s=2.0, precision="bf16", at=9.0),
    ]
    recipe = {"image_size": 32, "batch_size": 64, "epochs": 2, "precision": "fp32"}
    assert price([*other, measured()], recipe=recipe).epochs_s == pytest.approx(20.8)
    assert price(other[:1], recipe=recipe).epochs_s == pytest.approx(2 * (1000 + 0.4))


def test_finals_that_refit_train_on_more_and_an_oracle_reads_the_test_every_epoch():
    refit = price([measured()], final={"seeds": [0], "refit": True})
    assert refit.final_s == pytest.approx(2 * 12 + 0.6 + 1 + rates.TRIAL_S)
    oracle = price([measured()], final={"seeds": [0], "selection": "oracle"})
    assert oracle.final_s == pytest.approx(20.8 + 3 * 0.6 + 1 + rates.TRIAL_S)


def test_tuned_epochs_are_priced_at_the_most():
    space = {"epochs": {"default": 2, "low": 1, "high": 5}}
    spec = tiny_spec(space=space)
    assert most_epochs(spec) == 5
    assert price([measured()], space=space).epochs_s == pytest.approx(5 * 10.4)


def probe_recipe(method):
    """On a pretrained backbone; nothing is drawn then, so one seed is all there can be."""
    tuned = {"linear_probe": ("l2", 1e-4, 1e-6, 1.0), "knn": ("neighbors", 20, 1, 50)}[method]
    name, default, low, high = tuned
    return {
        "backbones": ["timm:test_resnet"],
        "final": {"seeds": [0]},
        "recipe": {"method": method, "image_size": 32, "batch_size": 64},
        "space": {name: {"default": default, "low": low, "high": high}},
        "budget": {"trials": 4},
    }


def test_a_frozen_backbone_sees_each_image_once_per_pair():
    """1,500 images x 2 ms for all trials together; each then only fits 1,000 features."""
    known = measured(fit_s={"linear_probe": 0.003})
    images = Images(1000, 200, 300)
    found = price([known], images, **probe_recipe("linear_probe"))
    assert found.features_s == pytest.approx(3.0)
    assert found.search_s == found.final_s == pytest.approx(1000 * 0.003 + rates.TRIAL_S)
    subset = price([known], Images(100, 200, 300, pool=1500), **probe_recipe("linear_probe"))
    assert subset.features_s == found.features_s
    assert subset.epochs_s == pytest.approx(found.epochs_s / 10)
    neighbors = price([known], images, **probe_recipe("knn"))
    assert neighbors.epochs_s == pytest.approx(1000 * rates.FIT_S_PER_IMAGE["knn"])


def test_a_backbone_of_random_weights_is_another_one_in_each_final():
    drawn = probe_recipe("linear_probe") | {"backbones": tiny_spec().model_dump()["backbones"]}
    found = price([measured()], **drawn)
    assert found.final_s == pytest.approx(found.search_s + found.features_s)


def test_one_trial_of_several_bears_its_part_of_the_pass():
    spec = tiny_spec(**probe_recipe("linear_probe"))
    (pair,) = make_plan(spec).pairs
    known = Costs(True, {KEY: [measured(fit_s={"linear_probe": 0.003})]})
    expected = 3.0 / 4 + 3.0 + rates.TRIAL_S
    assert known.trial_seconds(pair, spec, 1000, 200, 300) == pytest.approx(expected)


def test_arguments_make_it_another_network():
    vit = [
        {"name": "timm:vit_tiny_patch16_224", "kwargs": {"patch_size": size}} for size in (8, 16)
    ]
    spec = tiny_spec(backbones=vit)
    keys = [rates.model_key(pair.backbone) for pair in make_plan(spec).pairs]
    assert len(set(keys)) == 2
    tagged = [rates.model_key(pair.backbone) for pair in make_plan(tiny_spec(
        backbones=["timm:resnet18.a1_in1k", {"name": "timm:resnet18", "weights": "none"}]
    )).pairs]  # fmt: skip
    assert len(set(tagged)) == 1, "weights change no time"


def test_a_step_on_a_core_has_its_price_however_small_the_network():
    tiny = price([], Images(6400, 0))
    assert tiny.epochs_s == pytest.approx(2 * 100 * rates.LEAST_STEP_S)
    assert price([], Images(6400, 0), on_cpu=False).epochs_s < tiny.epochs_s


def test_expected_seconds_of_pairs_are_those_of_their_own_images():
    spec = tiny_spec(subsets=["full", "10%", "5-shot"])
    full, tenth, shots = make_plan(spec).pairs
    facts = {
        full.id: {"train_images": 1000, "val_images": 200, "test_images": 300},
        tenth.id: {"train_images": 100, "val_images": 200, "test_images": 300},
        shots.id: {},
    }
    expected = expected_seconds(make_plan(spec), Costs(True, {KEY: [measured()]}), facts)
    beside = 2 * 0.5 + rates.TRIAL_S
    assert expected == {
        full.id: pytest.approx(2 * (10 + 0.4) + beside),
        tenth.id: pytest.approx(2 * (1 + 0.4) + beside),
    }
