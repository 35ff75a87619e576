"""Sending a sweep to a cluster, one live job for each, and waiting until it has begun."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.cluster.client import RefusedError, connect
from raybench.cluster.entrypoint import entrypoint
from raybench.cluster.jobs import HOME, PYTHON, SWEEP, Job, jobs_of, list_jobs, next_id, read_job
from raybench.cluster.lines import Submitted, own_lines, parse_line, versions
from raybench.cluster.shipping import Parcel, make_parcel
from raybench.errors import LeaseHeldError, ResourceError, SetupError, UserInputError
from raybench.version import __version__

BEGIN_S = 60.0
"""Ray starts a job in seconds; a runtime environment that installs packages takes minutes."""

_POLL_S = 0.5
_RACES = 10
_TAKEN = "already exists"
_NOT_INSTALLED = "No module named raybench"


@dataclass(frozen=True)
class Order:
    """A sweep to be run on a cluster, as a user asks for it.

    Attributes:
        source: a sweep file, or the name of a shipped one. overrides: ``key.path=value`` strings.
        address: the cluster's, as it was given. home: folder there; None: its default.
        working_dir, runtime_env: see ``shipping.make_parcel``.
        python: absolute path there; None: the one that Ray runs on.
        max_gpus, accept_leaks: as ``run`` takes them.
    """

    source: str
    overrides: Sequence[str] = ()
    address: str | None = None
    home: str | None = None
    working_dir: str | Path | None = None
    runtime_env: str | Path | Mapping[str, Any] | None = None
    python: str | None = None
    max_gpus: float | None = None
    accept_leaks: bool = False

    def there(self, file: str) -> list[str]:
        """Arguments of ``raybench`` on the cluster."""
        submitted = Submitted(versions(), self.again(), self.address or "")
        given = ["run", file, "--submitted-by", submitted.to_text(), *self._options()]
        return given + [part for text in self.overrides for part in ("--set", text)]

    def again(self) -> str:
        """The command that sends the same."""
        given = ["raybench", "submit", self.source, *self._options()]
        env = self.runtime_env
        text = json.dumps(env) if isinstance(env, Mapping) else env
        for name, value in (
            ("--address", self.address),
            ("--working-dir", self.working_dir),
            ("--runtime-env", text),
            ("--python", self.python),
        ):
            given += [name, str(value)] if value else []
        return shlex.join(given + [part for text in self.overrides for part in ("--set", text)])

    def _options(self) -> list[str]:
        given = ["--home", self.home] if self.home else []
        given += [] if self.max_gpus is None else ["--max-gpus", f"{self.max_gpus:g}"]
        return given + (["--accept-leaks"] if self.accept_leaks else [])


def submit(order: Order, tell: Callable[[str], None] = lambda sentence: None) -> tuple[Any, Job]:
    """Check everything here, send it, and return the client and the job, which may not have begun.

    Raises:
        UserInputError: every mistake found. LeaseHeldError: the sweep has a live job in that home.
        ResourceError: the cluster cannot be reached, or refuses.
    """
    parcel = make_parcel(
        order.source, order.overrides, order.working_dir, order.runtime_env, tell=tell
    )
    client = connect(order.address)
    return client, submit_parcel(client, parcel, order)


def submit_parcel(client: Any, parcel: Parcel, order: Order) -> Job:
    """Send it under the next free id, unless the sweep is live.

    Two who submit at once choose the same id, which Ray takes once; the other then finds the job
    of the first.
    """
    for _ in range(_RACES):
        jobs = list_jobs(client)
        _refuse_second(jobs, parcel.sweep, order)
        job_id = next_id(jobs, parcel.sweep)
        if _send(client, parcel, order, job_id):
            return read_job(client, job_id)
    raise ResourceError(f"{_RACES} others were faster to submit '{parcel.sweep}'; try again")


def _refuse_second(jobs: Sequence[Job], sweep: str, order: Order) -> None:
    live = [job for job in jobs_of(jobs, sweep, order.home or "") if not job.is_over]
    if live:
        at = f" --address {order.address}" if order.address else ""
        raise LeaseHeldError(
            f"'{sweep}' is running already, as job {live[0].id} ({live[0].status.lower()}); look: "
            f"raybench logs {sweep}{at} -f    end it: raybench stop {sweep}{at}"
        )


def _send(client: Any, parcel: Parcel, order: Order, job_id: str) -> bool:
    """False where somebody else has just taken the id."""
    with parcel.opened() as runtime_env:
        line = entrypoint(order.there(parcel.file), order.python or "", runtime_env)
        metadata = {SWEEP: parcel.sweep, HOME: order.home or "", PYTHON: order.python or ""}
        metadata["raybench.version"] = __version__
        try:
            client.submit_job(
                entrypoint=line, submission_id=job_id, runtime_env=runtime_env, metadata=metadata
            )
        except RefusedError as error:
            if _TAKEN in error.said:
                return False
            raise
        except (TypeError, ValueError) as error:
            raise UserInputError(f"Ray refuses the runtime environment: {error}") from None
    return True


def wait_begun(
    client: Any, job: Job, tell: Callable[[str], None], allowed_s: float = BEGIN_S
) -> Mapping[str, Any]:
    """What raybench says there when it begins; empty where it has not within ``allowed_s``.

    Raises:
        SetupError, UserInputError: the job ended before, with its reason.
    """
    until = time.monotonic() + allowed_s
    while True:
        now = read_job(client, job.id)
        output = client.get_job_logs(job.id)
        for line in output.splitlines():
            found = parse_line(line)
            if found is not None and found[0] == "begun":
                return dict(found[1])
        if now.is_over:
            raise why_ended(now, output)
        if time.monotonic() > until:
            tell(f"{job.id} has not begun within {allowed_s:.0f} s: {now.message}")
            return {}
        time.sleep(_POLL_S)


def why_ended(job: Job, output: str) -> SetupError | UserInputError:
    """Why a job came to nothing, from its last words."""
    lines = own_lines(output)
    ours = [line.removeprefix("raybench: ") for line in lines if line.startswith("raybench: ")]
    if ours:
        return UserInputError(ours) if job.exit_code == 2 else SetupError(ours)
    if _NOT_INSTALLED in output.replace("'", ""):
        return ResourceError(
            f"raybench {__version__} is not installed in the Python that the cluster's Ray runs "
            "on; install it there, or give the one that has it with --python PATH"
        )
    if job.error_type == "RUNTIME_ENV_SETUP_FAILURE":
        return ResourceError(f"the cluster cannot make the runtime environment: {_gist(job)}")
    said = lines[-1] if lines else _gist(job)
    return ResourceError(f"{job.id} ended ({job.status.lower()}) before raybench began: {said}")


def _gist(job: Job) -> str:
    """The most telling line of Ray's message: pip's own error, else its last."""
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error:"))]
    return (errors or lines or ["no reason given"])[-1][:500]
