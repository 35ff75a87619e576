"""Where a trial stands between two batches: plain values, JSON in every checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raybench.records import EpochRecord, from_dict, is_better, to_dict


@dataclass(slots=True)
class Progress:
    """What the next batch depends on, weights, optimizer and random generators aside.

    Attributes:
        epoch: finished epochs, over all stages.
        batch: training batches done of the epoch after those.
        stage / stage_epoch: 0-based stage, and its finished epochs.
        epochs_without_gain: finished epochs of this stage since the best one so far.
        steps: optimizer steps of the whole trial.
        best_epoch: the epoch whose weights count; None before the first.
        best_value: its ``config.metric``; None where that is undefined (AUROC of one class).
        oracle_value / oracle: best test value seen and the test metrics of its epoch.
        loss_sum / correct / seen: partial sums of the unfinished epoch's training batches.
        train_s / val_s: seconds that the unfinished epoch took so far.
        history: records of the finished epochs.
    """

    epoch: int = 0
    batch: int = 0
    stage: int = 0
    stage_epoch: int = 0
    epochs_without_gain: int = 0
    steps: int = 0
    best_epoch: int | None = None
    best_value: float | None = None
    oracle_value: float | None = None
    oracle: dict[str, float] = field(default_factory=dict)
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    train_s: float = 0.0
    val_s: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)

    def finish_epoch(self, record: EpochRecord, metric: str, refit: bool) -> None:
        """Books a finished epoch; a refit has no validation, so its last weights count."""
        value = record.metrics.get(metric)
        improved = refit or gains(metric, value, self.best_value) or self.best_epoch is None
        if improved:
            self.best_epoch, self.best_value = record.epoch, value
        self.epochs_without_gain = 0 if improved else self.epochs_without_gain + 1
        self.epoch, self.stage_epoch, self.batch = record.epoch, self.stage_epoch + 1, 0
        self.loss_sum, self.correct, self.seen = 0.0, 0, 0
        self.train_s, self.val_s = 0.0, 0.0
        self.history.append(record)

    def stage_is_over(self, length: int, patience: int | None) -> bool:
        """Whether the stage ran its epochs, or ``patience`` epochs in a row gained nothing."""
        exhausted = patience is not None and self.epochs_without_gain >= patience
        return self.stage_epoch >= length or exhausted

    def next_stage(self) -> None:
        self.stage, self.stage_epoch, self.epochs_without_gain = self.stage + 1, 0, 0

    def best_metrics(self) -> dict[str, float]:
        """The best epoch's ``val/...`` metrics."""
        if self.best_epoch is None:
            return {}
        metrics = self.history[self.best_epoch - 1].metrics
        return {name: value for name, value in metrics.items() if name.startswith("val/")}

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return data | {"history": [to_dict(record) for record in self.history]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress:
        return cls(**{**data, "history": history_from(data["history"])})


def history_from(items: list[Any]) -> list[EpochRecord]:
    """Epoch records from their JSON objects."""
    records = [from_dict(item) for item in items]
    return [record for record in records if isinstance(record, EpochRecord)]


def gains(metric: str, value: float | None, best: float | None) -> bool:
    """Whether ``value`` beats ``best``; an undefined one beats nothing and loses to any number."""
    if value is None:
        return False
    return best is None or is_better(metric, value, best)
