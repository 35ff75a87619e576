"""How the driver itself ends a trial: stopped, failed, or never run."""

from __future__ import annotations

import time

from raybench.records import EndRecord, EpochRecord, FailureClass, TrialRow


def pruned_end(
    row: TrialRow, metric: str, reason: str, weights: tuple[str, str] | None
) -> EndRecord:
    """A trial that is stopped after its last epoch: its best one, and where its weights are.

    ``weights``: path and SHA-256 of the best weights, where there are any.
    """
    value = row.best_value(metric)
    best = next((r for r in row.epochs if r.metrics.get(metric) == value), None)
    return EndRecord(
        state="pruned",
        finished_at=time.time(),
        reason=reason,
        best_epoch=None if best is None else best.epoch,
        best={} if best is None else _validation(best),
        weights_path=None if weights is None else weights[0],
        weights_sha256=None if weights is None else weights[1],
    )


def failed_end(failure: FailureClass, reason: str) -> EndRecord:
    """A trial that cannot say it itself: its actor has died."""
    return EndRecord("failed", time.time(), failure=failure, reason=reason)


def skipped_end(reason: str) -> EndRecord:
    """A trial that is recorded without having run."""
    return EndRecord(state="failed", finished_at=time.time(), failure="pair_failed", reason=reason)


def _validation(record: EpochRecord) -> dict[str, float]:
    return {name: value for name, value in record.metrics.items() if name.startswith("val/")}
