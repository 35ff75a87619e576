"""What a home says of prices: its trials, its probes, and homes that have neither."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import sqlalchemy as sa

from raybench.measurements import Footprint, Profile, Timing
from raybench.rates import CORE, HOME, PROBED, REFERENCE, macs_per_image
from raybench.settings import resolve_settings
from raybench.spec import BackboneSpec
from raybench.sweep import history
from raybench.sweep.history import costs_of, read_costs
from raybench.sweep.reader import SweepReader
from raybench.sweep.tables import footprints, open_engine, profiles
from tests.factories import make_pair, make_snapshot, search_trial

KEY = ("timm:test_resnet {}", 32)
RESNET = ("torchvision:resnet18 {}", 224)
GPU = "NVIDIA H100"


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    yield engine
    engine.dispose()


@pytest.fixture
def copied_home(finished_home, tmp_path):
    """Settings of a copy that may be written to."""
    for file in finished_home.glob("ledger.db*"):  # what SQLite keeps beside it, too
        shutil.copy(file, tmp_path / file.name)
    return resolve_settings(tmp_path, {})


def footprint(**changes):
    known = {
        "backbone": "torchvision:resnet18", "device": GPU, "precision": "bf16", "batch_size": 64,
        "image_size": 224, "threads": 1, "accumulation": 1, "train_s": 0.004, "evaluate_s": 0.001,
        "peak_memory_gb": 8.0, "overhead_gb": 0.5, "total_memory_gb": 80.0, "at": 1.0,
    }  # fmt: skip
    return Footprint(**(known | changes))


def put_footprint(engine, content, key="a", least_share=0.0):
    text = json.dumps(None if content is None else content.to_dict())
    row = {"key": key, "content": text, "least_share": least_share, "accumulation": 1}
    with engine.begin() as connection:
        connection.execute(footprints.insert().values(**row))


def put_profile(engine, **changes):
    batched = Timing(32, 1.0, 2.0, 10, images_per_s=1000.0)
    training = Timing(64, 1.0, 2.0, 10, images_per_s=250.0)
    known = {
        "backbone": "torchvision:resnet18", "kwargs": {}, "image_size": 224, "classes": 10,
        "device": "cpu", "precision": "fp32", "threads": 2, "parameters": 11_000_000, "macs": None,
        "activations": None, "single": None, "batched": batched, "training": training,
        "shared": False, "seen": "", "at": 2.0,
    }  # fmt: skip
    content = json.dumps(Profile(**(known | changes)).to_dict())
    with engine.begin() as connection:
        connection.execute(profiles.insert().values(key="p", content=content))


def test_trials_are_what_they_took_per_image(finished_home):
    settings = resolve_settings(finished_home, {})
    (known,) = read_costs(settings, on_cpu=True).trials[KEY]
    engine = open_engine(settings.ledger_url, create=False)
    (pair,) = SweepReader(engine, "tiny").snapshot().pairs
    engine.dispose()
    epochs = [record for trial in pair.trials for record in trial.epochs]
    train_s = sum(record.metrics["perf/train_s"] for record in epochs)
    val_s = sum(record.metrics["perf/val_s"] for record in epochs)
    assert known.train_s == pytest.approx(train_s / len(epochs) / float(pair.facts["train_images"]))
    assert known.evaluate_s == pytest.approx(val_s / len(epochs) / float(pair.facts["val_images"]))
    assert known.parameters == pair.facts["parameters"]
    assert (known.batch_size, known.precision) == (64, "fp32")
    assert known.save_s is not None and 0 < known.save_s < 5


def test_trials_of_a_second_set_no_rate(finished_home, monkeypatch):
    """They measure the overhead; and a plan for a GPU does not learn from a CPU."""
    settings = resolve_settings(finished_home, {})
    assert read_costs(settings, on_cpu=True).basis == CORE
    on_gpu = read_costs(settings, on_cpu=False)
    assert on_gpu.basis == REFERENCE and not on_gpu.trials
    monkeypatch.setattr(history, "LEAST_EPOCH_S", 0.0)
    costs = read_costs(settings, on_cpu=True)
    (known,) = costs.trials[KEY]
    assert costs.basis == HOME and known.train_s and known.evaluate_s
    macs = macs_per_image(BackboneSpec(name="timm:test_resnet"), 32)
    train, val = 108 * known.train_s, 359 * known.evaluate_s
    assert costs.macs_per_s == pytest.approx(
        (macs or 0) * (3 * 108 + 359) / (train + val), rel=0.01
    )


def snapshot_of(metrics, method="finetune", attempts=(1, 1, 1), share=0.5, device=GPU):
    """One trial of three epochs of 8 s, 2 s between them, on 1,077 + 360 images at 224 px."""
    trial = search_trial("p", 0, values=(0.5, 0.6, 0.7))
    epochs = tuple(
        replace(
            record, metrics=metrics, attempt=attempt, device_share=share, duration_s=8.0,
            finished_at=10.0 * record.epoch,
        )
        for record, attempt in zip(trial.epochs, attempts, strict=True)
    )  # fmt: skip
    assert trial.end is not None
    facts = {"device": device, "precision": "bf16"}
    trial = replace(trial, epochs=epochs, end=replace(trial.end, facts=facts))
    pair = replace(make_pair("torchvision:resnet18", [trial]), backbone_spec={
        "name": "torchvision:resnet18", "weights": "none", "kwargs": {}
    })  # fmt: skip
    recipe = {"image_size": 224, "batch_size": 64, "method": method}
    return make_snapshot(pair, recipe=recipe)


def test_seconds_on_a_share_are_device_seconds():
    snapshot = snapshot_of({"perf/train_s": 7.0, "perf/val_s": 1.0})
    found, rates = history._from_trials([snapshot], on_cpu=False)
    (known,) = found[RESNET]
    assert known.train_s == pytest.approx(0.5 * 7 / 1077)
    assert known.evaluate_s == pytest.approx(0.5 * 1 / 360)
    assert known.save_s == pytest.approx(2.0)
    macs = macs_per_image(BackboneSpec(name="torchvision:resnet18"), 224)
    assert rates == [pytest.approx((macs or 0) * (3 * 1077 + 360) / (0.5 * 8))]
    assert history._from_trials([snapshot], on_cpu=True) == ({}, [])


def test_a_pause_between_two_attempts_is_no_checkpoint():
    metrics = {"perf/train_s": 7.0, "perf/val_s": 1.0}
    found, _ = history._from_trials([snapshot_of(metrics, attempts=(1, 2, 3))], on_cpu=False)
    assert found[RESNET][0].save_s is None


def test_a_frozen_backbone_shows_what_evaluation_and_a_classifier_take():
    metrics = {"perf/images_per_s": 500.0, "perf/fit_s": 3.0, "perf/val_s": 1.0}
    metrics |= {"perf/train_s": 6.0, "perf/feature_s": 3.0}
    snapshot = snapshot_of(metrics, "linear_probe")
    found, rates = history._from_trials([snapshot], on_cpu=False)
    (known,) = found[RESNET]
    assert known.train_s is None and known.evaluate_s == pytest.approx(0.5 / 500)
    assert known.fit_s == {"linear_probe": pytest.approx(0.5 * 4 / 1077)} and rates == []


def test_a_footprint_gives_seconds_and_the_share_that_it_needs(engine):
    put_footprint(engine, footprint())
    costs = costs_of(engine, on_cpu=False)
    (known,) = costs.probes[RESNET]
    assert (known.train_s, known.evaluate_s, known.gpu_share) == (0.004, 0.001, 0.125)
    macs = macs_per_image(BackboneSpec(name="torchvision:resnet18"), 224)
    assert costs.basis == PROBED and costs.macs_per_s == pytest.approx(3 * (macs or 0) / 0.004)
    assert not costs_of(engine, on_cpu=True).probes


def test_a_share_that_was_too_small_is_not_planned_again(engine):
    put_footprint(engine, footprint(), least_share=0.5)
    put_footprint(engine, None, key="b", least_share=1.0)  # nothing measured, only remembered
    (known,) = costs_of(engine, on_cpu=False).probes[RESNET]
    assert known.gpu_share == 0.5


def test_on_a_cpu_all_cores_that_were_used_are_counted(engine):
    put_footprint(engine, footprint(device="cpu", threads=2))
    put_profile(engine)
    first, second = costs_of(engine, on_cpu=True).probes[RESNET]
    assert (first.train_s, first.evaluate_s, first.gpu_share) == (0.008, 0.002, None)
    assert (second.train_s, second.evaluate_s) == (2 / 250, 2 / 1000)
    assert second.parameters == 11e6


def test_what_was_disturbed_or_did_not_train_gives_no_training_time(engine):
    put_profile(engine, shared=True)
    assert not costs_of(engine, on_cpu=True).probes
    put_footprint(engine, footprint(device="cpu", train_s=0.001))
    (known,) = costs_of(engine, on_cpu=True).probes[RESNET]
    assert known.train_s is None and known.evaluate_s == 0.001


def test_arguments_are_told_apart(engine):
    put_footprint(engine, footprint(backbone="timm:vit_tiny_patch16_224", kwargs={"depth": 4}))
    assert list(costs_of(engine, False).probes) == [('timm:vit_tiny_patch16_224 {"depth": 4}', 224)]


def test_trials_and_probes_of_one_home_stand_side_by_side(copied_home):
    engine = open_engine(copied_home.ledger_url, create=True)
    put_footprint(engine, footprint(device="cpu"))
    engine.dispose()
    costs = read_costs(copied_home, on_cpu=True)
    assert set(costs.trials) == {KEY} and set(costs.probes) == {RESNET}


def test_a_ledger_from_before_probes_has_none(copied_home):
    engine = open_engine(copied_home.ledger_url, create=False)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE raybench_footprints"))
        connection.execute(sa.text("DROP TABLE raybench_profiles"))
    engine.dispose()
    costs = read_costs(copied_home, on_cpu=True)
    assert costs.trials and not costs.probes


def test_without_a_sound_ledger_nothing_is_known(tmp_path):
    settings = resolve_settings(tmp_path, {})
    assert read_costs(settings, on_cpu=False).basis == REFERENCE
    (tmp_path / "ledger.db").write_bytes(b"rubbish" * 1000)
    assert read_costs(settings, on_cpu=True).basis == CORE
