"""Space is reckoned before the first trial, and a disk that is full all the same loses nothing."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybench.errors import ResourceError
from raybench.estimate import estimate_plan
from raybench.plan import make_plan
from raybench.records import SweepSnapshot
from raybench.settings import Settings, resolve_settings
from raybench.spec import SweepSpec
from raybench.sweep import disk
from raybench.sweep.assignment import Capacity
from raybench.sweep.disk import Need, check_space, space_needed
from raybench.sweep.options import RunOptions
from raybench.sweep.run import run_sweep
from tests.factories import final_trial, make_pair, make_snapshot, search_trial
from tests.specs import pairs_spec, tiny_data, tiny_spec
from tests.sweep.simulation import Home, Simulation

FACTS = {
    "parameters": 1_000_000,
    "classes": 10,
    "train_images": 800,
    "val_images": 100,
    "test_images": 100,
}
WEIGHTS = 4e6
NOTHING = SweepSnapshot("tiny", "", 0, "val/accuracy", {}, ())
INLINE = RunOptions(inline=True)


def settings_of(folder: Path, **environ: str) -> Settings:
    return resolve_settings(folder / "home", environ)


def needed(spec: SweepSpec, folder: Path, before: SweepSnapshot = NOTHING, **options: Any) -> Need:
    """What comes to the checkpoint root."""
    plan = make_plan(spec)
    facts = {pair.id: FACTS for pair in plan.pairs}
    chosen = RunOptions(**({"inline": True} | options))
    return space_needed(plan, settings_of(folder), before, facts, chosen)[0]


# -- reckoned ---------------------------------------------------------------------------------


def test_weights_that_are_kept_and_one_checkpoint_are_needed(tmp_path: Path) -> None:
    """2 searches and 2 finals; a checkpoint is the model, the best one and AdamW's two moments."""
    need = needed(tiny_spec(), tmp_path)
    assert need.place == tmp_path / "home" / "checkpoints"
    assert need.least == 4 * WEIGHTS + 4 * WEIGHTS
    assert need.most == 4 * WEIGHTS + 3 * 4 * WEIGHTS + 2 * 100 * (40 + disk.PREDICTION_BYTES)


def test_only_the_finals_weights_stay_of_winners(tmp_path: Path) -> None:
    need = needed(tiny_spec(keep="winners"), tmp_path)
    assert need.least == 2 * WEIGHTS + 4 * WEIGHTS


@pytest.mark.parametrize(
    ("recipe", "models"),
    [
        ({"stages": [{"optimizer": "sgd"}]}, 3),
        ({"stages": [{"optimizer": "adamw"}, {"optimizer": "sgd"}]}, 4),
        ({"model_ema": 0.9}, 5),
    ],
)
def test_a_checkpoint_is_as_large_as_the_recipe_makes_it(
    tmp_path: Path, recipe: dict[str, Any], models: int
) -> None:
    spec = tiny_spec(recipe=tiny_data()["recipe"] | recipe)
    assert needed(spec, tmp_path).least == 4 * WEIGHTS + models * WEIGHTS


def test_probes_need_next_to_nothing(tmp_path: Path) -> None:
    probe = {"method": "linear_probe", "image_size": 32}
    space = {"l2": {"default": 1e-4, "low": 1e-6, "high": 1.0, "log": True}}
    spec = tiny_spec(recipe=probe, space=space)
    assert needed(spec, tmp_path).least == 2 * WEIGHTS  # the finals' whole networks
    plan = make_plan(spec)
    facts = {pair.id: FACTS for pair in plan.pairs}
    cache = space_needed(plan, settings_of(tmp_path), NOTHING, facts, INLINE)[2]
    assert cache.most == 1000 * disk.FEATURE_BYTES


def test_what_has_ended_needs_no_more(tmp_path: Path) -> None:
    """One search is complete and one waits; one of two finals is there."""
    spec = tiny_spec()
    (pair,) = make_plan(spec).pairs
    trials = [
        search_trial(pair.id, 0),
        search_trial(pair.id, 1, state="waiting"),
        final_trial(pair.id, 0, 0, 0.9),
    ]
    row = replace(make_pair("x", trials, quota=2), id=pair.id)
    assert needed(spec, tmp_path, make_snapshot(row)).least == 2 * WEIGHTS + 4 * WEIGHTS
    done = replace(row, trials=(*(search_trial(pair.id, n) for n in (0, 1)),
                                *(final_trial(pair.id, n, n, 0.9) for n in (0, 1))))  # fmt: skip
    assert needed(spec, tmp_path, make_snapshot(done)) == Need(
        tmp_path / "home" / "checkpoints", 0.0, 0.0
    )


def test_trials_that_the_budget_may_end_are_not_certain(tmp_path: Path) -> None:
    """A hundred thousand trials within half an hour will not all keep their weights."""
    spec = tiny_spec(budget={"trials": 100_000, "wall_clock": "30m"})
    need = needed(spec, tmp_path)
    assert need.least == 2 * WEIGHTS + 4 * WEIGHTS and need.most > 100_000 * WEIGHTS


def test_more_trials_at_once_have_more_checkpoints(tmp_path: Path) -> None:
    spec = tiny_spec(budget={"trials": 50})
    one = needed(spec, tmp_path)
    four = needed(spec, tmp_path, inline=False, num_cpus=4)
    assert four.least == one.least and four.most - one.most == 3 * 3 * 4 * WEIGHTS
    gpu = spec.model_copy(update={"device": "auto", "resources": tiny_spec(
        resources={"cpus": 1, "gpus": 0.5}, device="auto").resources})  # fmt: skip
    two = needed(gpu, tmp_path, inline=False, num_cpus=16, num_gpus=1)
    assert two.most - one.most == 3 * 4 * WEIGHTS
    many = needed(tiny_spec(), tmp_path, inline=False, num_cpus=64)
    assert many.most - needed(tiny_spec(), tmp_path).most == 3 * 3 * 4 * WEIGHTS  # four are owed


def test_the_plan_names_the_gigabytes_that_are_kept(tmp_path: Path) -> None:
    def gigabytes(**changes: Any) -> float:
        spec = tiny_spec(
            backbones=["torchvision:resnet50"], recipe={"image_size": 224}, budget={"trials": 8},
            **changes,
        )  # fmt: skip
        found = estimate_plan(spec, settings_of(tmp_path)).as_json()
        assert found["checkpoint_gb"] == found["pairs"][0]["checkpoint_gb"]
        return float(found["checkpoint_gb"])

    assert gigabytes() == pytest.approx(10 * 25.6e6 * 4 / 1e9, rel=0.01)
    assert gigabytes(keep="winners") == pytest.approx(2 * 25.6e6 * 4 / 1e9, rel=0.01)


# -- compared ---------------------------------------------------------------------------------


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_free(size: float) -> None:
        usage = SimpleNamespace(free=size)
        monkeypatch.setattr(disk, "shutil", SimpleNamespace(disk_usage=lambda place: usage))

    return set_free


def check(spec: SweepSpec, settings: Settings, options: RunOptions = INLINE) -> list[str]:
    plan, said = make_plan(spec), list[str]()
    facts = {pair.id: FACTS for pair in plan.pairs}
    check_space(plan, settings, NOTHING, facts, options, said.append)
    return said


def test_what_cannot_fit_is_refused_with_every_way_out(
    tmp_path: Path, free: Callable[[float], None]
) -> None:
    free(30e6)
    with pytest.raises(ResourceError) as refused:
        check(tiny_spec(), settings_of(tmp_path))
    (words,) = refused.value.sentences
    assert words == (
        f"the sweep needs at least 0.032 GB at {tmp_path / 'home' / 'checkpoints'} (weights that "
        "are kept, and a checkpoint), and 0.03 GB are free there; free some, or move "
        "checkpoints/ to a place with more and set RAYBENCH_STORAGE to it, or give 'keep: winners' "
        "in the sweep file, which needs 0.024 GB"
    )
    free(20e6)
    with pytest.raises(ResourceError) as refused:
        check(tiny_spec(keep="winners"), settings_of(tmp_path))
    assert "keep: winners" not in refused.value.sentences[0]


def test_little_room_is_told_and_plenty_is_not(
    tmp_path: Path, free: Callable[[float], None]
) -> None:
    free(40e6)
    (words,) = check(tiny_spec(), settings_of(tmp_path))
    assert words.startswith("little room: ") and "0.04 GB are free at" in words
    free(1e9)
    assert check(tiny_spec(), settings_of(tmp_path)) == []


def test_places_on_one_disk_are_summed_and_others_are_not(
    tmp_path: Path, free: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = replace(INLINE, tracker=lambda reader: pytest.fail("not here"))
    spec, settings = tiny_spec(), settings_of(tmp_path)
    together = sum(
        need.most
        for need in space_needed(
            make_plan(spec), settings, NOTHING,
            {pair.id: FACTS for pair in make_plan(spec).pairs}, tracked,
        )
    )  # fmt: skip
    assert together > needed(spec, tmp_path).most + WEIGHTS  # the winner's copy, and records
    free(together - 1)
    assert len(check(spec, settings, tracked)) == 1
    free(together)
    assert check(spec, settings, tracked) == []
    free(together - 1)
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    apart = settings_of(tmp_path, RAYBENCH_STORAGE=str(elsewhere / "nothing-is-made-here"))
    assert check(spec, apart, tracked) == []


def test_with_an_object_store_only_the_scratch_counts(
    tmp_path: Path, free: Callable[[float], None]
) -> None:
    """And on a cluster not even that: trials run on other machines."""
    spec, settings = tiny_spec(), settings_of(tmp_path, RAYBENCH_STORAGE="s3://bucket/x")
    free(4 * WEIGHTS - 1)
    with pytest.raises(ResourceError, match="0.016 GB at .*/cache/scratch .*set RAYBENCH_CACHE to"):
        check(spec, settings)
    assert check(spec, settings, RunOptions(address="auto")) == []
    free(3 * 4 * WEIGHTS + 1e6)  # a little for records; the weights that stay are elsewhere
    assert check(spec, settings) == []


def test_a_run_that_cannot_fit_starts_nothing(
    tmp_path: Path, free: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, settings = tiny_spec(), settings_of(tmp_path)
    free(1e6)
    with pytest.raises(ResourceError, match="the sweep needs at least"):
        run_sweep(spec, settings, INLINE)
    assert not list(settings.checkpoint_root.iterdir())
    free(1e12)
    assert run_sweep(spec, settings, INLINE).exit_code == 0
    free(0)  # nothing is owed, so nothing is needed
    assert run_sweep(spec, settings, INLINE).exit_code == 0


# -- full all the same (in a real one: test_full_disk) -----------------------------------------


def test_weights_that_the_driver_cannot_write_are_that_trials_failure_and_owed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial is stopped for its budget, and the disk is full: the sweep must not end in that."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spec = tiny_spec(budget={"trials": 2, "device_hours": 0.5 / 3600}, final={"seeds": [0]})
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with monkeypatch.context() as patch:
        patch.setattr("raybench.sweep.trial_files.collect", full)
        with home.attempt() as searcher:
            Simulation(searcher, random.Random(0), 2).run()
    (first,) = home.snapshot().pairs[0].search_trials()
    assert first.state == "failed" and first.end is not None
    assert (first.end.failure, len(first.epochs)) == ("disk", 1)
    assert "its best weights cannot be written: [Errno 28]" in first.end.reason
    with home.attempt() as searcher:
        Simulation(searcher, random.Random(0), 2).run()
    (again,) = home.snapshot().pairs[0].search_trials()
    assert again.state == "pruned" and again.epochs == first.epochs and again.end is not None
    assert again.end.reason == "budget" and again.failures[0].startswith(
        "taken up again after disk: "
    )


def test_three_full_disks_in_a_row_end_the_asking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else one configuration after another would be asked for, and fail."""
    home = Home(tmp_path, pairs_spec(2, 20))
    with home.attempt() as searcher:
        always = Simulation(searcher, random.Random(0), 2, lambda rng: "disk")
        assert always.run()
    assert len(always.starts) in (3, 4)  # two run at once
    assert caplog.text.count("the disk is full, say 3 trials in a row") == 1
    failed = [trial for pair in home.snapshot().pairs for trial in pair.trials]
    assert {(t.state, t.end and t.end.failure) for t in failed} == {("failed", "disk")}
    with home.attempt() as searcher:
        rest = Simulation(searcher, random.Random(0), 2)
        assert rest.run()
    assert set(always.starts) <= set(rest.starts)
    trials = [trial for pair in home.snapshot().pairs for trial in pair.search_trials()]
    assert len(trials) == 40 and {trial.state for trial in trials} == {"complete"}
    params = {trial.key: trial.params for trial in trials}
    assert all(params[trial.key] == trial.params for trial in failed)
