"""What a plan says of its cost: exact counts; seconds as measured, else by multiply-adds."""

from __future__ import annotations

import json

import pytest

from raybench import costs
from raybench import estimate as estimate_module
from raybench.estimate import estimate_plan
from raybench.gpus import Gpu
from raybench.plan_estimate import START_S
from raybench.rates import CORE, HOME, REFERENCE_MACS_PER_S, TRIAL_S
from raybench.report.grid import to_text
from raybench.settings import resolve_settings
from raybench.sweep import history
from raybench.terminal.plan import plan_table
from tests.specs import tiny_spec

KEYS = {"id", "backbone", "dataset", "subset", "search_trials", "final_trials", "epochs",
        "train_images", "test_images", "device_hours", "measured", "basis", "checkpoint_gb",
        "folds"}  # fmt: skip
GPU = {"device": "auto", "resources": {"gpus": "auto"}}


@pytest.fixture
def nothing_measured(tmp_path):
    return resolve_settings(tmp_path / "none", {})


def test_trials_and_epochs_are_counted(nothing_measured):
    spec = tiny_spec(budget={"trials": 3}, final={"seeds": [0, 1], "configs": ["tuned", "default"]})
    (pair,) = estimate_plan(spec, nothing_measured).pairs
    assert (pair.search_trials, pair.final_trials, pair.epochs) == (3, 4, (3 + 4) * 2)


def test_what_is_not_known_is_not_made_up(nothing_measured):
    spec = tiny_spec(backbones=[{"name": "python:tests.sweep.nets:tiny"}])
    estimate = estimate_plan(spec, nothing_measured, usd_per_hour=2.0)
    assert estimate.device_hours is None and estimate.usd is None and estimate.wall_s is None
    assert estimate.count_basis(None) == 1
    assert "unknown; nothing comparable has run" in words(estimate)


def test_a_fresh_home_counts_multiply_adds_at_a_rate_that_it_names(nothing_measured):
    """ResNet-50 at 224 px: 3 x train + val images at 4.09 GMACs, 2 epochs, 4 trials."""
    spec = tiny_spec(
        backbones=["torchvision:resnet50"],
        recipe={"image_size": 224, "epochs": 2, "batch_size": 64},
        budget={"trials": 2},
        final={"seeds": [0, 1]},
        **GPU,
    )
    estimate = estimate_plan(spec, nothing_measured, devices=1)
    (pair,) = estimate.pairs
    assert not pair.measured and pair.basis == "multiply-adds" and pair.price is not None
    images = 3 * (pair.train_images or 0) + 360
    assert pair.price.epochs_s == pytest.approx(
        4.09e9 * images * 2 / REFERENCE_MACS_PER_S, rel=0.02
    )
    alone_s = 2 * pair.price.search_s + 2 * pair.price.final_s
    assert pair.device_hours == pytest.approx(alone_s / 3600)
    assert "Tesla V100" in words(estimate) and "a rough guess" in words(estimate)
    assert "Tesla V100" in estimate.as_json()["device_hours_basis"]


@pytest.mark.parametrize(
    ("subset", "images"), [("full", 1077), ("10%", 108), ("5-shot", 50), ("0.1%", 10)]
)
def test_images_of_a_subset(nothing_measured, subset, images):
    (pair,) = estimate_plan(tiny_spec(subsets=[subset]), nothing_measured).pairs
    assert pair.train_images == pytest.approx(images, abs=5)


def test_small_tests_are_said_to_be_blunt(nothing_measured):
    estimate = estimate_plan(tiny_spec(), nothing_measured)
    images, half = estimate.small_tests()["digits"]
    assert images < 400 and 0.02 < half < 0.05
    assert "smaller gaps are no evidence" in words(estimate)


def test_without_a_gpu_the_rate_is_that_of_a_core(nothing_measured):
    spec = tiny_spec(backbones=["torchvision:resnet50"], device="cpu", resources={"gpus": 0})
    estimate = estimate_plan(spec, nothing_measured)
    assert estimate.basis == CORE and "one core" in words(estimate)


def test_folds_are_proposed_for_a_small_set(nothing_measured):
    proposed = words(estimate_plan(tiny_spec(), nothing_measured))
    assert "images: digits. With 'folds: 5' every image is tested once" in proposed
    crossed = tiny_spec(datasets=[{"name": "digits", "folds": 5}])
    estimate = estimate_plan(crossed, nothing_measured)
    (pair,) = estimate.pairs
    assert "folds: 5" not in words(estimate) and estimate.small_datasets() == []
    assert pair.final_trials == 5 * len(crossed.final.seeds)
    assert (pair.images, pair.test_images) == (1797, 360)


def test_json_has_the_contracts_keys(nothing_measured):
    found = json.loads(json.dumps(estimate_plan(tiny_spec(), nothing_measured).as_json()))
    assert {"sweep", "trials", "quota", "resources", "device_hours", "usd", "pairs"} <= set(found)
    assert set(found["pairs"][0]) == KEYS
    assert found["trials"] == {"search": 2, "final": 2}


def test_seconds_come_from_what_the_home_has_measured(finished_home):
    settings = resolve_settings(finished_home, {})
    estimate = estimate_plan(tiny_spec(), settings, usd_per_hour=3.0)
    (pair,) = estimate.pairs
    assert pair.device_hours is not None and 0 < pair.device_hours < 0.1
    assert estimate.usd == pytest.approx(3.0 * pair.device_hours)
    assert pair.checkpoint_gb is not None and pair.checkpoint_gb > 0
    more = estimate_plan(tiny_spec(budget={"trials": 6}), settings).pairs[0]
    assert pair.price is not None and more.device_hours is not None
    assert more.device_hours - pair.device_hours == pytest.approx(4 * pair.price.search_s / 3600)
    assert pair.measured and estimate.as_json()["device_hours_basis"] == "measured"


def test_another_image_size_is_counted_at_the_rate_of_what_was_measured(finished_home, monkeypatch):
    monkeypatch.setattr(history, "LEAST_EPOCH_S", 0.0)
    monkeypatch.setattr(costs, "LEAST_STEP_S", 0.0)
    settings = resolve_settings(finished_home, {})
    known = estimate_plan(tiny_spec(), settings).pairs[0].price
    size = int(tiny_spec().recipe.image_size)
    double = {"image_size": 2 * size, "epochs": 2, "batch_size": 64}
    estimate = estimate_plan(tiny_spec(recipe=double), settings)
    (pair,) = estimate.pairs
    assert pair.basis == "multiply-adds" and estimate.basis == HOME
    assert known is not None and pair.price is not None
    assert pair.price.epochs_s == pytest.approx(4 * known.epochs_s, rel=0.01)


def test_a_damaged_ledger_does_not_hinder_a_plan(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"rubbish" * 1000)
    estimate = estimate_plan(tiny_spec(), resolve_settings(tmp_path, {}))
    assert estimate.basis == CORE


def words(estimate) -> str:
    return " ".join(to_text(plan_table(estimate)).split())


def test_what_run_will_refuse_is_said(nothing_measured):
    spec = tiny_spec(recipe={"image_size": 32, "epochs": 2, "batch_size": 512})
    assert "'run' will refuse digits (10%)" in words(estimate_plan(spec, nothing_measured))


@pytest.fixture
def one_gpu(monkeypatch):
    gpu = Gpu(0, "GPU-0", "NVIDIA H100", 80.0)
    monkeypatch.setattr(estimate_module, "local_gpus", lambda: (gpu,))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(estimate_module, "local_gpus", lambda: ())
    monkeypatch.setattr(estimate_module.os, "sched_getaffinity", lambda pid: set(range(6)))


def resnet(**changes):
    recipe = {"image_size": 224, "epochs": 2, "batch_size": 64}
    return tiny_spec(**({"backbones": ["torchvision:resnet50"], "recipe": recipe} | changes))


def test_a_plan_is_for_what_this_machine_offers(nothing_measured, no_gpu):
    estimate = estimate_plan(resnet(**GPU), nothing_measured)
    assert estimate.basis == CORE and estimate.devices.count == 6
    assert "6 cores of this machine, which has no GPU (--devices N: on N)" in words(estimate)
    two = resnet(device="cpu", resources={"cpus": 2, "gpus": 0})
    assert estimate_plan(two, nothing_measured).devices.count == 3
    assert "on 6 cores of this machine;" in words(estimate_plan(two, nothing_measured))
    assert "4 cores (2 trials at once)" in words(estimate_plan(two, nothing_measured, devices=2))


def test_a_gpu_that_is_here_is_planned_for_unless_declined(nothing_measured, one_gpu):
    estimate = estimate_plan(resnet(**GPU), nothing_measured)
    assert (estimate.devices.count, estimate.devices.on_cpu) == (1, False)
    assert "on 1 GPU of this machine" in words(estimate) and "Tesla V100" in words(estimate)
    assert estimate_plan(resnet(), nothing_measured).devices.on_cpu


def test_wall_time_is_the_slots_work_after_the_start(nothing_measured):
    """2 search trials, then 2 finals, each kind at the same time on two GPUs."""
    one, two, many = (
        estimate_plan(resnet(**GPU), nothing_measured, usd_per_hour=2.5, devices=devices)
        for devices in (1, 2, 50)
    )
    price = one.pairs[0].price
    assert price is not None and price.search_s > TRIAL_S
    assert one.wall_s == pytest.approx(START_S + 2 * price.search_s + 2 * price.final_s)
    assert two.wall_s == many.wall_s == pytest.approx(START_S + price.search_s + price.final_s)
    assert one.least_wall_s == two.wall_s
    assert one.usd == two.usd == pytest.approx(2.5 * (one.wall_s - START_S) / 3600)
    found = one.as_json()
    assert (found["devices"], found["wall_s"]) == (1, one.wall_s)


def test_packed_trials_are_paid_by_their_share(nothing_measured):
    """As much slower as the share is smaller: the same money for the epochs, no less wall time."""
    whole, half = (
        estimate_plan(resnet(device="auto", resources={"gpus": share}), nothing_measured,
                      usd_per_hour=1.0, devices=1)
        for share in (1, 0.5)
    )  # fmt: skip
    price = half.pairs[0].price
    assert price is not None and half.usd is not None
    assert half.usd == pytest.approx(0.5 * (2 * price.search_s + 2 * price.final_s) / 3600)
    assert half.usd < (whole.usd or 0.0)  # less is paid for what stands beside the epochs
    assert half.wall_s == pytest.approx(START_S + price.search_s + price.final_s)


def test_the_search_ends_with_its_device_hours(nothing_measured):
    free = estimate_plan(resnet(budget={"trials": 6}), nothing_measured)
    price = free.pairs[0].price
    assert price is not None
    budget = {"trials": 6, "device_hours": 2.5 * price.epochs_s / 3600}
    bound = estimate_plan(resnet(budget=budget), nothing_measured)
    saved_h = (free.device_hours or 0.0) - (bound.device_hours or 0.0)
    assert saved_h == pytest.approx(3 * price.search_s / 3600)


def test_a_wall_clock_that_is_too_short_is_said(nothing_measured):
    short = resnet(budget={"trials": 6, "wall_clock": "1m"})
    assert "budget.wall_clock (1m) may end" in words(estimate_plan(short, nothing_measured))
    long = resnet(budget={"trials": 6, "wall_clock": "900h"})
    assert "may end" not in words(estimate_plan(long, nothing_measured))


def test_subsets_share_the_pass_of_a_frozen_backbone(nothing_measured):
    probe = {
        "final": {"seeds": [0]},
        "recipe": {"method": "linear_probe", "image_size": 64, "batch_size": 64},
        "space": {"l2": {"default": 1e-4, "low": 1e-6, "high": 1.0, "log": True}},
    }
    one, two = (
        estimate_plan(resnet(subsets=subsets, **probe), nothing_measured)
        for subsets in (["full"], ["full", "10%"])
    )
    full, tenth = two.pairs
    assert full.price is not None and full.price.features_s > 0
    assert full.device_hours == one.device_hours
    assert (tenth.device_hours or 0) * 3600 < full.price.features_s
    assert one.checkpoint_gb == pytest.approx(25.6e6 * 4 / 1e9, rel=0.01)  # the final's


def test_each_pair_says_what_it_rests_on(finished_home):
    backbones = [tiny_spec().backbones[0].model_dump(), "torchvision:resnet18",
                 {"name": "python:tests.sweep.nets:tiny"}]  # fmt: skip
    estimate = estimate_plan(tiny_spec(backbones=backbones), resolve_settings(finished_home, {}))
    bases = [pair["basis"] for pair in estimate.as_json()["pairs"]]
    assert bases == ["trials", "multiply-adds", None]
    assert "1 pair by multiply-adds" in words(estimate)
    assert "without 1 pair that nothing is known of" in words(estimate)


def test_a_full_matrix_is_planned_in_about_a_second(nothing_measured):
    """220 pairs and 3,960 trials: one placing each; time itself is not asserted."""
    spec = resnet(
        backbones=[{"name": "torchvision:resnet50", "weights": "none", "kwargs": {"groups": n}}
                   for n in range(1, 12)],
        subsets=[f"{n}%" for n in range(4, 84, 4)],
        budget={"trials": 15},
        final={"seeds": [0, 1, 2]},
    )  # fmt: skip
    estimate = estimate_plan(spec, nothing_measured, devices=8)
    assert len(estimate.work) == 220
    trials = sum(work.searches + work.finals for work in estimate.work)
    assert trials == 3960 and estimate.wall_s is not None
    assert estimate.wall_s < 1.1 * (START_S + (estimate.device_hours or 0) * 3600 / 8)
