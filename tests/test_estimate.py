"""What a plan says of its cost: exact counts; seconds as measured, else by multiply-adds."""

from __future__ import annotations

import json

import pytest

from raybench import costs
from raybench.costs import CORE, HOME, REFERENCE, REFERENCE_MACS_PER_S, read_costs
from raybench.estimate import estimate_plan
from raybench.report.grid import to_text
from raybench.settings import resolve_settings
from raybench.terminal.plan import plan_table
from tests.specs import tiny_spec

KEYS = {"id", "backbone", "dataset", "subset", "search_trials", "final_trials", "epochs",
        "train_images", "test_images", "device_hours", "measured", "checkpoint_gb",
        "folds"}  # fmt: skip


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
    assert estimate.device_hours is None and estimate.usd is None and estimate.unknown_pairs == 1
    assert "unknown; nothing comparable has run" in words(estimate)


def test_a_fresh_home_counts_multiply_adds_at_a_rate_that_it_names(nothing_measured):
    """ResNet-50 at 224 px: 3 x train + val images at 4.09 GMACs, 2 epochs, 4 trials."""
    spec = tiny_spec(
        backbones=["torchvision:resnet50"],
        recipe={"image_size": 224, "epochs": 2, "batch_size": 64},
        budget={"trials": 2},
        final={"seeds": [0, 1]},
        device="auto",
        resources={"gpus": "auto"},
    )
    estimate = estimate_plan(spec, nothing_measured)
    (pair,) = estimate.pairs
    images = 3 * (pair.train_images or 0) + 360
    expected_h = 4.09e9 * images * 2 * 4 / REFERENCE_MACS_PER_S / 3600
    assert not pair.measured and pair.device_hours == pytest.approx(expected_h, rel=0.02)
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
    double = estimate_plan(tiny_spec(budget={"trials": 6}), settings).pairs[0]
    assert double.device_hours == pytest.approx(2 * pair.device_hours)
    assert pair.measured and estimate.as_json()["device_hours_basis"] == "measured"


def test_trials_of_a_second_set_no_rate(finished_home):
    """They measure the overhead; and a plan for a GPU does not learn from a CPU."""
    settings = resolve_settings(finished_home, {})
    assert read_costs(settings, on_cpu=True).basis == CORE
    assert read_costs(settings, on_cpu=False).basis == REFERENCE
    assert read_costs(settings, on_cpu=True).measured and not read_costs(settings, False).measured


def test_another_image_size_is_counted_at_the_rate_of_what_was_measured(finished_home, monkeypatch):
    monkeypatch.setattr(costs, "LEAST_EPOCH_S", 0.0)
    settings = resolve_settings(finished_home, {})
    known = estimate_plan(tiny_spec(), settings).pairs[0]
    size = int(tiny_spec().recipe.image_size)
    double = {"image_size": 2 * size, "epochs": 2, "batch_size": 64}
    estimate = estimate_plan(tiny_spec(recipe=double), settings)
    (pair,) = estimate.pairs
    assert not pair.measured and estimate.basis == HOME
    assert pair.device_hours == pytest.approx(4 * (known.device_hours or 0), rel=0.01)


def test_a_damaged_ledger_does_not_hinder_a_plan(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"rubbish" * 1000)
    estimate = estimate_plan(tiny_spec(), resolve_settings(tmp_path, {}))
    assert estimate.basis == CORE


def words(estimate) -> str:
    return " ".join(to_text(plan_table(estimate)).split())


def test_what_run_will_refuse_is_said(nothing_measured):
    spec = tiny_spec(recipe={"image_size": 32, "epochs": 2, "batch_size": 512})
    assert "'run' will refuse digits (10%)" in words(estimate_plan(spec, nothing_measured))
