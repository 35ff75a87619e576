"""Ending a job: it drains, checkpoints what runs, and can go on later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from raybench.cluster.jobs import Job, read_job
from raybench.cluster.lines import parse_line
from raybench.cluster.settings import STOP_WAIT_S

_POLL_S = 0.5
_DRAINED = (130, 143)


def stop_job(client: Any, job: Job, tell: Callable[[str], None]) -> str:
    """Ask it to drain, wait until it is over, and say how it ended.

    Raises:
        ResourceError: the cluster cannot be reached any more.
    """
    if job.is_over:
        return f"{job.id} is over already: {how_ended(client, job)}"
    client.stop_job(job.id)
    tell(f"{job.id}: draining, running trials are being checkpointed")
    while not (job := read_job(client, job.id)).is_over:
        time.sleep(_POLL_S)
    return f"{job.id}: {how_ended(client, job)}"


def how_ended(client: Any, job: Job) -> str:
    """From the run's own last word; Ray does not keep the exit code of what it has stopped."""
    output = client.get_job_logs(job.id)
    said = [found[1] for line in output.splitlines() if (found := parse_line(line)) is not None
            and found[0] == "ended"]  # fmt: skip
    code = said[-1] if said else job.exit_code
    if code in _DRAINED or "interrupted before the first trial" in output:
        return "drained; nothing is lost, submit it again to go on"
    if code == 0:
        return "done"
    if code is None:
        return (
            f"killed, as it had not drained within {STOP_WAIT_S} s, or not yet begun; what its "
            "ledger holds stays, submit it again to go on"
        )
    return f"ended with exit code {code}; why: raybench logs {job.sweep or job.id}"
