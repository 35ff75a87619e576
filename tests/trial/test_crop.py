"""Random crops through a whole trial: other places every time, the same again after a resume."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from raybench.datasets.cache.frames import Frames
from raybench.datasets.task import Task, load_task
from raybench.spec import DatasetSpec
from raybench.trial import session
from raybench.trial.batches import BatchLoader
from tests.trial.conftest import MakeConfig, run, stop_at, timeless


@pytest.fixture
def frames_task(
    make_config: MakeConfig, digits: Task, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Task:
    """The digits of ``make_config``, in a size that 12 pixels can be cut from."""
    task = load_task(DatasetSpec(name="digits"), 12, "full", 0, tmp_path / "c", "random")
    parts = {name: getattr(digits, name) for name in ("train", "val", "test")}
    task = dataclasses.replace(task, **parts)
    monkeypatch.setattr(session, "load_task", lambda *_, **__: task)
    return task


def test_training_draws_anew_for_each_batch_and_evaluation_takes_the_centre(
    make_config: MakeConfig, frames_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(frames_task.images, Frames) and frames_task.images[0].shape == (14, 14, 3)
    seeds: list[int | None] = []
    real = BatchLoader.fetch

    def fetch(self: BatchLoader, indices: Any, crop_seed: int | None = None) -> Any:
        seeds.append(crop_seed)
        pixels, labels = real(self, indices, crop_seed)
        assert pixels.shape[1:] == (3, 12, 12)
        return pixels, labels

    monkeypatch.setattr(BatchLoader, "fetch", fetch)
    _, end = run(make_config(crop="random", epochs=2, config={"read_test": True}))
    assert end.state == "complete"
    drawn = [seed for seed in seeds if seed is not None]
    # 27 images in batches of 8: 4 a training epoch; 30 of validation twice, 30 of test once.
    assert len(drawn) == len(set(drawn)) == 8 and len(seeds) - len(drawn) == 12


@pytest.mark.parametrize("poll", [0, 2, 10, 13])
def test_interrupted_and_resumed_cuts_the_same_places(
    make_config: MakeConfig, frames_task: Task, poll: int
) -> None:
    recipe: dict[str, Any] = {"crop": "random", "augment": "flip", "epochs": 2}
    whole, end = run(make_config(folder="whole", **recipe))
    config = make_config(folder="pieces", **recipe)
    before, stopped = run(config, stop_at(poll))
    assert stopped.state == "interrupted"
    resumed = dataclasses.replace(config, attempt=2, known_epochs=len(before))
    after, same_end = run(resumed)
    assert timeless(before + after) == timeless(whole)
    assert same_end.weights_sha256 == end.weights_sha256
