"""Which failure is tried again, and how often: a rule and a budget for each class.

user, data           never: the same input fails again
diverged             never: the configuration is what it is
oom                  with more memory, or in smaller micro-batches (``packing``)
infrastructure       elsewhere, three times; again as often after every finished epoch
a lost node          not charged, unless a trial comes no further on one node after another
disk                 by the next attempt, when there is space again
"""

from __future__ import annotations

from raybench.records import EndRecord, FailureClass, TrialRow
from raybench.sweep.packing import Fit

INFRASTRUCTURE_RETRIES = 3
NODE_LOSSES = 10
DISK_FAILURES_END = 3
"""In a row; then the disk is full for all."""
TAKEN_UP_AGAIN = frozenset[FailureClass | None]({"disk", "infrastructure"})
"""The environment has failed, not the configuration: the next attempt goes on with the trial."""
TAKEN_UP_AT_MOST = 2
_TAKEN_UP = "taken up again after"


def may_go_elsewhere(row: TrialRow, node_lost: bool) -> bool:
    """Whether a trial whose process or node has died is started again in this attempt."""
    prefix, earlier = _infrastructure(row, node_lost), 0
    for text in row.failures:
        earlier = 0 if text.startswith(_TAKEN_UP) else earlier + text.startswith(prefix)
    return earlier < (NODE_LOSSES if node_lost else INFRASTRUCTURE_RETRIES)


def is_owed_again(row: TrialRow) -> bool:
    """Whether the next attempt takes up a trial that has failed."""
    failed_so = row.end is not None and row.end.failure in TAKEN_UP_AGAIN
    return failed_so and times_taken_up(row) < TAKEN_UP_AT_MOST


def times_taken_up(row: TrialRow) -> int:
    return sum(text.startswith(_TAKEN_UP) for text in row.failures)


def taken_up_text(end: EndRecord) -> str:
    return f"{_TAKEN_UP} {end.failure}: {end.reason}"


def failure_text(row: TrialRow, end: EndRecord, used: Fit, node_lost: bool) -> str:
    """A failure that is retried, for the ledger; an out of memory names what it had."""
    if end.failure != "oom":
        return f"{_infrastructure(row, node_lost)}: {end.reason}"
    shape = used.shape
    had = (
        f"share {shape.gpus:g}" if shape.gpus or not shape.memory_gb else f"{shape.memory_gb:g} GB"
    )
    parts = f" in {used.accumulation} micro-batches" if used.accumulation > 1 else ""
    return f"oom at {had}{parts}: {end.reason}"


def _infrastructure(row: TrialRow, node_lost: bool) -> str:
    """How such a failure begins; the same words twice mean that no epoch came in between."""
    return f"{'node lost' if node_lost else 'infrastructure'} after {len(row.epochs)} epochs"
