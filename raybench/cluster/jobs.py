"""Which jobs a cluster knows, and which of them are ours, by their metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raybench.errors import UserInputError

SWEEP, HOME, PYTHON = "raybench.sweep", "raybench.home", "raybench.python"
_OVER = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_KILLED = 128


@dataclass(frozen=True)
class Job:
    """One submission.

    Attributes:
        id: Ray's submission id. sweep: empty where somebody else has sent it.
        home: as given with ``--home``; empty: the cluster's own default.
        status: Ray's word. message: Ray's sentence, with the last lines of a job that failed.
        started_ms: Unix milliseconds. driver_code: what the driver ended with; None while it runs,
            and where Ray has stopped it.
    """

    id: str
    sweep: str = ""
    home: str = ""
    python: str = ""
    status: str = "PENDING"
    message: str = ""
    error_type: str = ""
    started_ms: int = 0
    driver_code: int | None = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return self.status in _OVER

    @property
    def exit_code(self) -> int | None:
        """The driver's, as a shell would say it; None where it is not known."""
        code = self.driver_code
        return code if code is None or code >= 0 else _KILLED - code


def job_from(details: Any) -> Job:
    """From Ray's ``JobDetails``."""
    metadata = details.metadata or {}
    return Job(
        id=details.submission_id or "",
        sweep=metadata.get(SWEEP, ""),
        home=metadata.get(HOME, ""),
        python=metadata.get(PYTHON, ""),
        status=str(details.status),
        message=details.message or "",
        error_type=str(details.error_type or ""),
        started_ms=details.start_time or 0,
        driver_code=details.driver_exit_code,
        runtime_env=details.runtime_env or {},
    )


def list_jobs(client: Any) -> list[Job]:
    """Every submitted job, the newest first."""
    jobs = [job_from(details) for details in client.list_jobs() if details.submission_id]
    return sorted(jobs, key=lambda job: (job.started_ms, _number(job.id)), reverse=True)


def read_job(client: Any, job_id: str) -> Job:
    return job_from(client.get_job_info(job_id))


def jobs_of(jobs: Iterable[Job], sweep: str, home: str | None = None) -> list[Job]:
    """Those of one sweep, in one home or in any."""
    return [job for job in jobs if job.sweep == sweep and home in (None, job.home)]


def newest_job(client: Any, name: str, home: str | None = None) -> Job:
    """The newest job of a sweep, or the one of that submission id; a live one before all.

    Raises:
        UserInputError: the cluster knows none; or several live ones in different homes.
    """
    jobs = list_jobs(client)
    found = jobs_of(jobs, name, home) or [job for job in jobs if job.id == name]
    if not found:
        known = ", ".join(sorted({job.sweep for job in jobs if job.sweep})) or "none yet"
        where = f" in the home {home}" if home else ""
        raise UserInputError(
            f"no job of a sweep '{name}'{where} on this cluster; its sweeps: {known}"
        )
    live = [job for job in found if not job.is_over]
    if len(live) > 1:
        homes = ", ".join(sorted(job.home or "the cluster's default" for job in live))
        raise UserInputError(f"'{name}' runs in several homes: {homes}; say which with --home")
    return (live or found)[0]


def next_id(jobs: Iterable[Job], sweep: str) -> str:
    """``<sweep>-<k>``; Ray takes each id once."""
    taken = [_number(job.id) for job in jobs if re.fullmatch(rf"{re.escape(sweep)}-[0-9]+", job.id)]
    return f"{sweep}-{max(taken, default=0) + 1}"


def _number(job_id: str) -> int:
    last = job_id.rpartition("-")[2]
    return int(last) if last.isdecimal() else 0
