"""What both runners promise: one contract, run inline in the default tier and on Ray in CI."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.settings import Settings, resolve_settings
from raybench.spec import SweepSpec
from raybench.sweep import run
from raybench.sweep.options import RunOptions, SilentObserver
from raybench.sweep.run import RunResult, run_sweep
from raybench.sweep.searcher import SweepSearcher
from tests.specs import TINY_BACKBONE, tiny_spec

USER_MODELS = """
import torch
from torch import nn


def tiny(classes, image_size):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, classes))


def broken(classes, image_size):
    raise KeyError("a bug in the user's code")


class Diverging(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, images):
        nan = float("nan") if self.training else 1.0
        return self.head(images.mean((2, 3))) * nan


def diverging(classes, image_size):
    return Diverging(classes)


class Greedy(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, images):
        if self.training and len(images) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return self.head(images.mean((2, 3)))


def greedy(classes, image_size):
    return Greedy(classes)
"""


@pytest.fixture
def user_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "user_models.py").write_text(USER_MODELS)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield
    sys.modules.pop("user_models", None)


def table(snapshot: SweepSnapshot) -> list[Any]:
    """Everything a result consists of, less times, rates, attempts and files' places."""
    rows = []
    for pair in snapshot.pairs:
        for trial in pair.trials:
            epochs = [(r.epoch, r.stage, r.lr, _numbers(r.metrics)) for r in trial.epochs]
            end = trial.end
            assert end is not None
            result = (end.state, end.failure, end.best_epoch, dict(end.best), dict(end.test))
            hashes = (end.weights_sha256, end.predictions_sha256)
            rows.append(
                (trial.key, trial.seed, trial.source, dict(trial.params), epochs, result, hashes)
            )
    return rows


def _numbers(metrics: Any) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("perf/")}


class DrainAfter(SilentObserver):
    """Asks for a drain once some trial has reported, as a signal would."""

    def __init__(self, ended: int) -> None:
        self._ended = ended

    def watch(self, searcher: SweepSearcher) -> None:
        progress = searcher.progress()
        if sum(p.search_done + p.final_done for p in progress) >= self._ended:
            searcher.drain()


class RunnerContract:
    """Set ``options`` in a subclass."""

    options: RunOptions

    def run(self, home: Path, spec: SweepSpec, observer: Any = None) -> RunResult:
        return run_sweep(spec, self.settings(home), self.options, observer)

    def settings(self, home: Path) -> Settings:
        return resolve_settings(home / "home", {})

    def test_every_trial_and_every_final_once(self, tmp_path: Path) -> None:
        result = self.run(tmp_path, tiny_spec())
        assert result.exit_code == 0
        (pair,) = result.snapshot.pairs
        assert [(t.phase, t.number, t.state) for t in pair.trials] == [
            ("search", 0, "complete"),
            ("search", 1, "complete"),
            ("final", 0, "complete"),
            ("final", 1, "complete"),
        ]
        for trial in pair.trials:
            assert trial.end is not None
            assert bool(trial.end.test) == (trial.phase == "final")
        assert pair.facts["train_images"] == 109

    def test_done_sweep_runs_nothing_again(self, tmp_path: Path) -> None:
        first = self.run(tmp_path, tiny_spec())
        again = self.run(tmp_path, tiny_spec())
        assert again.snapshot.attempt == first.snapshot.attempt + 1
        assert table(again.snapshot) == table(first.snapshot)

    def test_drained_and_resumed_equals_unbroken(self, tmp_path: Path) -> None:
        spec = tiny_spec(final={"seeds": [0]})
        unbroken = self.run(tmp_path / "unbroken", spec)
        drained = self.run(tmp_path / "broken", spec, DrainAfter(1))
        assert drained.exit_code == 1
        resumed = self.run(tmp_path / "broken", spec)
        assert resumed.exit_code == 0
        assert table(resumed.snapshot) == table(unbroken.snapshot)

    @pytest.mark.usefixtures("user_models")
    def test_failures_are_data_and_the_others_go_on(self, tmp_path: Path) -> None:
        names = (
            "python:user_models:broken",
            "python:user_models:diverging",
            "python:user_models:tiny",
        )
        backbones = [{"name": name, "weights": "none"} for name in names]
        result = self.run(tmp_path, tiny_spec(backbones=backbones, final={"seeds": [0]}))
        assert result.exit_code == 1
        broken, diverging, tiny = result.snapshot.pairs
        assert [p.state for p in (broken, diverging, tiny)] == ["failed", "failed", "done"]
        first = broken.trials[0].end
        assert first is not None
        assert first.failure == "user"
        assert "KeyError" in first.reason
        assert "a bug in the user's code" in first.reason
        second = diverging.trials[0].end
        assert second is not None
        assert second.failure == "diverged"

    @pytest.mark.usefixtures("user_models")
    def test_what_does_not_fit_is_trained_in_micro_batches(self, tmp_path: Path) -> None:
        """The next pair of the same backbone knows from the start what the first has learned."""
        spec = tiny_spec(
            backbones=[{"name": "python:user_models:greedy", "weights": "none"}],
            subsets=["10%", "20%"],
            final={"seeds": [0]},
        )
        result = self.run(tmp_path, spec)
        assert result.exit_code == 0
        first, second = (pair.trials for pair in result.snapshot.pairs)
        ends = [trial.end for trial in (*first, *second)]
        assert {end.facts["micro_batch"] for end in ends if end is not None} == {16}
        failures = [failure for trial in (*first, *second) for failure in trial.failures]
        assert failures
        assert all(failure.startswith("oom") for failure in failures)
        again = spec.model_copy(update={"name": "again"})
        (third, _) = self.run(tmp_path, again).snapshot.pairs
        assert [trial.failures for trial in third.trials] == [()] * len(third.trials)

    def test_early_stopping_spares_the_ladder(self, tmp_path: Path) -> None:
        spec = tiny_spec(
            recipe={"image_size": 32, "batch_size": 64, "epochs": 3, "augment": "none"},
            search={"sampler": "random", "ladder": 3, "early_stop": "asha"},
            budget={"trials": 6},
            final={"seeds": [0]},
        )
        (pair,) = self.run(tmp_path, spec).snapshot.pairs
        states = [t.state for t in pair.search_trials()]
        assert states[:3] == ["complete"] * 3
        assert "pruned" in states[3:]
        for trial in pair.search_trials():
            if trial.state == "pruned":
                assert trial.end is not None
                assert trial.end.reason == "early_stop"
                assert trial.end.weights_path is not None


class TestInline(RunnerContract):
    options = RunOptions(inline=True)


@pytest.mark.ray
class TestRay(RunnerContract):
    options = RunOptions(num_cpus=2)

    @pytest.mark.nightly
    @pytest.mark.usefixtures("user_models")
    def test_what_does_not_fit_is_trained_in_micro_batches(self, tmp_path: Path) -> None:
        super().test_what_does_not_fit_is_trained_in_micro_batches(tmp_path)

    def test_equals_inline(self, tmp_path: Path) -> None:
        spec = tiny_spec(backbones=[TINY_BACKBONE, {**TINY_BACKBONE, "kwargs": {"drop_rate": 0.1}}])
        on_ray = self.run(tmp_path / "ray", spec)
        settings = self.settings(tmp_path / "inline")
        inline = run_sweep(spec, settings, replace(self.options, inline=True))
        assert table(on_ray.snapshot) == table(inline.snapshot)

    @pytest.mark.nightly
    def test_fractional_gpus_run_eight_at_once(self, tmp_path: Path) -> None:
        """Two logical GPUs, a share of a quarter: eight trials hold it at the same time."""
        spec = tiny_spec(
            resources={"cpus": 1, "gpus": 0.25}, device="auto", budget={"trials": 8},
            final={"seeds": [0]},
        )  # fmt: skip
        most = 0

        class Watch(SilentObserver):
            def watch(self, searcher: SweepSearcher) -> None:
                nonlocal most
                most = max(most, _running_actors())

        options = RunOptions(num_cpus=8, num_gpus=2)
        result = run_sweep(spec, self.settings(tmp_path), options, Watch())
        assert result.exit_code == 0
        assert most == 8


def _running_actors() -> int:
    """Trials that hold their share right now, as Ray sees it."""
    import ray

    available = ray.available_resources().get("GPU", 0.0)
    return round((2 - available) / 0.25)


@pytest.mark.slow
def test_wall_clock_deadline_drains(tmp_path: Path) -> None:
    """The deadline ends a run that would take much longer, within an epoch; nothing is lost."""
    spec = tiny_spec(
        recipe={"image_size": 32, "batch_size": 16, "epochs": 500, "augment": "none"},
        budget={"trials": 2, "wall_clock": "6s"},
    )
    settings = resolve_settings(tmp_path / "home", {})
    started = time.monotonic()
    result = run_sweep(spec, settings, RunOptions(inline=True))
    assert time.monotonic() - started < 30
    (pair,) = result.snapshot.pairs
    assert (result.exit_code, pair.state, pair.owed) == (1, "incomplete", 2)
    assert [t.state for t in pair.trials] == ["waiting"]
    assert pair.trials[0].epochs


def test_runs_outside_the_main_thread(tmp_path: Path) -> None:
    """A notebook server runs cells in threads, where no signal handler can be set."""
    results: list[RunResult] = []
    settings = resolve_settings(tmp_path / "home", {})

    def work() -> None:
        spec = tiny_spec(budget={"trials": 1}, final={"seeds": [0]})
        results.append(run_sweep(spec, settings, RunOptions(inline=True)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [r.exit_code for r in results] == [0]


def test_ray_is_started_only_for_what_is_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further run of a sweep that is done takes seconds, most of which Ray would take."""
    settings = resolve_settings(tmp_path)
    run_sweep(tiny_spec(final={"seeds": [0]}), settings, RunOptions(inline=True))

    def refuse(options: RunOptions) -> None:
        raise ResourceError("no Ray here")

    monkeypatch.setattr(run, "ray_in_background", refuse)
    assert run_sweep(tiny_spec(final={"seeds": [0]}), settings).exit_code == 0
    with pytest.raises(ResourceError, match="no Ray here"):
        run_sweep(tiny_spec(final={"seeds": [0, 1]}), settings)
