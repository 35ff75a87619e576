"""Short jobs: a raybench command that runs on the cluster's head and brings back what it says."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from raybench.cluster.entrypoint import entrypoint
from raybench.cluster.jobs import Job, jobs_of, list_jobs, read_job
from raybench.cluster.lines import parse_line
from raybench.cluster.settings import job_variables
from raybench.cluster.submitting import why_ended
from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.snapshot_json import unpack

ANSWER_S = 300.0
_POLL_S = 0.3


def read_snapshot(client: Any, sweep: str | None, home: str | None = None) -> SweepSnapshot:
    """A sweep as the cluster's ledger has it now; without a name, the home's only one.

    Raises:
        UserInputError: no such sweep there. ResourceError: no answer, or another version's.
    """
    output = run_there(client, ["status", *([sweep] if sweep else []), "--packed"], sweep, home)
    for line in output.splitlines():
        found = parse_line(line)
        if found is not None and found[0] == "snapshot":
            return unpack(found[1])
    raise ResourceError("the cluster has answered without a snapshot; is raybench there older?")


def run_there(
    client: Any, arguments: Sequence[str], sweep: str | None, home: str | None = None
) -> str:
    """The output of ``raybench <arguments>`` on the head, in the sweep's newest job's home.

    Raises:
        UserInputError, SetupError: what that raybench says of the matter.
    """
    like = _like(client, sweep, home)
    place = home or like.home
    given = [*arguments, *(["--home", place] if place else [])]
    env = _environment(like.runtime_env)
    job_id = f"raybench-{arguments[0]}-{uuid.uuid4().hex[:12]}"
    client.submit_job(
        entrypoint=entrypoint(given, like.python, env), submission_id=job_id, runtime_env=env
    )
    try:
        return _answer(client, job_id)
    except BaseException:
        client.stop_job(job_id)
        raise
    finally:
        _forget(client, job_id)


def _like(client: Any, sweep: str | None, home: str | None) -> Job:
    """The newest job of the sweep: its home, Python and environment are those to look with."""
    found = jobs_of(list_jobs(client), sweep, home) if sweep else []
    return found[0] if found else Job("", home=home or "")


def _environment(of_job: Mapping[str, Any]) -> dict[str, Any]:
    """Of the sweep's job, without its folder, which may be gone; settings of this machine first."""
    env = {key: value for key, value in of_job.items() if key not in ("working_dir", "env_vars")}
    return {**env, "env_vars": {**of_job.get("env_vars", {}), **job_variables(os.environ)}}


def _answer(client: Any, job_id: str) -> str:
    until = time.monotonic() + ANSWER_S
    while not (job := read_job(client, job_id)).is_over:
        if time.monotonic() > until:
            raise ResourceError(f"no answer within {ANSWER_S:.0f} s: {job.message}")
        time.sleep(_POLL_S)
    output = str(client.get_job_logs(job_id))
    if job.status != "SUCCEEDED":
        raise why_ended(job, output)
    return output


def _forget(client: Any, job_id: str) -> None:
    """Nobody wants to see errands in the list of jobs; Ray keeps those that have not ended."""
    if read_job(client, job_id).is_over:
        client.delete_job(job_id)
