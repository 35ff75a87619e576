"""Metrics of a whole split: what validation, the test and the oracle have in common."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from raybench.trial.batches import Indices, cut
from raybench.trial.failures import DivergedError, DrainRequested
from raybench.trial.metrics import classification_metrics
from raybench.trial.progress import gains
from raybench.trial.recipe import training_loss
from raybench.trial.session import Session

ShouldStop = Callable[[], bool]


def evaluate(
    session: Session, indices: Indices, split: str, should_stop: ShouldStop
) -> tuple[dict[str, float], Tensor, Tensor]:
    """Metrics (``<split>/...``), logits (N, C) float32 and labels (N,) of one split, on the CPU.

    Raises:
        DivergedError: a prediction is not finite.
    """
    learner, progress = session.learner, session.progress
    started = time.perf_counter()
    learner.evaluated.eval()
    parts = []
    for batch in cut(indices, learner.micro_batch):
        if should_stop():
            progress.val_s += time.perf_counter() - started if split == "val" else 0.0
            raise DrainRequested
        parts.append(learner.predict(session.loader.normalise(session.loader.fetch(batch)[0])))
    logits, labels = torch.cat(parts).cpu(), torch.from_numpy(session.task.labels[indices])
    if not bool(logits.isfinite().all()):
        raise DivergedError(
            f"the model's predictions on the {split} split were not finite after epoch "
            f"{progress.epoch + (split == 'val')}; lower the learning rate"
        )
    weight = None if learner.class_weight is None else learner.class_weight.cpu()
    metrics = split_metrics(logits, labels, split, weight, session.recipe.smoothing)
    progress.val_s += time.perf_counter() - started if split == "val" else 0.0
    return metrics, logits, labels


def split_metrics(
    logits: Tensor, labels: Tensor, split: str, weight: Tensor | None, smoothing: float
) -> dict[str, float]:
    """``<split>/...`` of logits (N, C) float32 and labels (N,), the training loss among them."""
    loss = training_loss(logits, labels, weight, smoothing)
    values = classification_metrics(logits, labels) | {"loss": float(loss)}
    return {f"{split}/{name}": value for name, value in values.items()}


def evaluate_oracle(session: Session, should_stop: ShouldStop) -> None:
    """Keeps the test metrics of the best *test* epoch (``final.selection: oracle`` only)."""
    progress = session.progress
    metrics, _, _ = evaluate(session, session.task.test, "test", should_stop)
    name = session.config.metric.replace("val/", "test/", 1)
    if not progress.oracle or gains(name, metrics.get(name), progress.oracle_value):
        progress.oracle, progress.oracle_value = metrics, metrics.get(name)
