"""A tiny real task and configurations that train on it in a fraction of a second."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raybench.datasets.task import Task, load_task
from raybench.records import EndRecord, EpochRecord
from raybench.spec import DatasetSpec
from raybench.trial import session
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial

MakeConfig = Callable[..., TrialConfig]

# Everything that carries state from one batch to the next, at once.
RICH: dict[str, Any] = {
    "augment": "trivial",
    "model_ema": 0.8,
    "mixup": 0.2,
    "cutmix": 0.5,
    "smoothing": 0.1,
    "clip_grad": 1.0,
    "class_weights": "balanced",
    "epochs": 4,
    "stages": [{"optimizer": "adamw", "warmup_epochs": 0.5}, {"optimizer": "sgd", "lr": 0.01}],
}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """27 training, 30 validation and 30 test images of real handwritten digits, 12 pixels wide."""
    cache = tmp_path_factory.mktemp("cache")
    task = load_task(DatasetSpec(name="digits"), 12, "full", 0, cache)
    return dataclasses.replace(task, train=task.train[:27], val=task.val[:30], test=task.test[:30])


@pytest.fixture
def make_config(tmp_path: Path, digits: Task, monkeypatch: pytest.MonkeyPatch) -> MakeConfig:
    """``make_config(model="tiny", recipe keys..., config=dict(...))`` on ``digits``."""
    monkeypatch.setattr(session, "load_task", lambda *_, **__: digits)

    def make(
        model: str = "tiny",
        folder: str = "trial",
        config: dict[str, Any] | None = None,
        **recipe: Any,
    ) -> TrialConfig:
        defaults: dict[str, Any] = {"image_size": 12, "batch_size": 8, "epochs": 3, "lr": 0.01}
        base = TrialConfig(
            key="pair/search/0",
            phase="search",
            attempt=1,
            backbone={"name": f"python:tests.trial.models:{model}", "weights": "none"},
            dataset={"name": "digits"},
            subset="full",
            recipe=defaults | recipe,
            metric="val/accuracy",
            training_seed=0,
            split_seed=0,
            cache_dir=str(tmp_path),
            checkpoint_root=str(tmp_path / "checkpoints"),
            checkpoint_dir=folder,
        )
        return dataclasses.replace(base, **(config or {}))

    return make


def run(
    config: TrialConfig, should_stop: Callable[[], bool] = lambda: False
) -> tuple[list[EpochRecord], EndRecord]:
    """All records of one run; the contract's shape is checked on the way."""
    *epochs, end = run_trial(config, should_stop)
    assert isinstance(end, EndRecord)
    records = [record for record in epochs if isinstance(record, EpochRecord)]
    assert len(records) == len(epochs)
    return records, end


def timeless(records: list[EpochRecord]) -> list[tuple[Any, ...]]:
    """What must be equal, bit for bit, between two runs of one configuration."""
    return [
        (
            record.epoch,
            record.stage,
            record.lr,
            {k: v for k, v in record.metrics.items() if not k.startswith("perf/")},
        )
        for record in records
    ]


def stop_at(poll: int) -> Callable[[], bool]:
    """Says no ``poll`` times, then yes."""
    calls = iter(range(poll))
    return lambda: next(calls, None) is None
