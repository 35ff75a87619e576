"""A stand-in for Ray's dashboard: the Jobs API over loopback HTTP, without Ray's processes.

with jobs_server() as server:
    server.plan(status="SUCCEEDED", logs="...", driver_exit_code=0)   # of the next job
    client = connect(server.url)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ray


@dataclass
class JobsServer:
    """What a cluster would know.

    Attributes:
        jobs: by submission id, as the API gives them. planned: what becomes of the next ones.
        refuse: status of every answer, where it is not 0. before_submit: called once, before a
            job is taken: another submitter.
        uploads: packages. stopped, deleted: ids.
        ending: what becomes of a stopped job, once it was looked at ``drains`` times.
    """

    url: str = ""
    ray_version: str = ray.__version__
    refuse: int = 0
    body: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    planned: list[dict[str, Any]] = field(default_factory=list)
    before_submit: Callable[[], None] | None = None
    uploads: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=lambda: {"status": "STOPPED"})
    drains: int = 0

    def plan(self, logs: str = "", **details: Any) -> None:
        """How the next job will look, from its submission on."""
        self.planned.append({"logs": logs, **details})

    def add(self, job_id: str, sweep: str = "", logs: str = "", **details: Any) -> None:
        """A job that is there already."""
        metadata = {"raybench.sweep": sweep} if sweep else {}
        metadata |= {"raybench.home": details.pop("home", "")} if sweep else {}
        self.logs[job_id] = logs
        self.jobs[job_id] = {
            "type": "SUBMISSION", "submission_id": job_id, "status": "RUNNING",
            "metadata": metadata, "entrypoint": "true", "start_time": 1000 + len(self.jobs),
            "runtime_env": {}, "message": "Job is currently running.", **details,
        }  # fmt: skip

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if self.refuse:
            return self.refuse, self.body
        if path == "/api/version":
            return 200, {"version": "4", "ray_version": self.ray_version, "ray_commit": "c",
                         "session_name": "s"}  # fmt: skip
        if path.startswith("/api/packages/"):
            self.uploads += [path] if method == "PUT" else []
            return (200, "") if path in self.uploads else (404, "no such package")
        if path == "/api/jobs/":
            return (200, list(self.jobs.values())) if method == "GET" else self._submit(body)
        return self._about_one(method, *path.removeprefix("/api/jobs/").partition("/")[::2])

    def _submit(self, body: bytes) -> tuple[int, Any]:
        if (interrupt := self.before_submit) is not None:
            self.before_submit = None
            interrupt()
        given = json.loads(body)
        job_id = given["submission_id"]
        if job_id in self.jobs:
            return (
                400,
                f"Traceback ...\nValueError: Job with submission_id {job_id} already exists.",
            )
        planned = self.planned.pop(0) if self.planned else {}
        self.add(job_id, **planned)
        self.jobs[job_id] |= {k: given[k] for k in ("entrypoint", "metadata", "runtime_env")}
        return 200, {"job_id": job_id, "submission_id": job_id}

    def _about_one(self, method: str, job_id: str, what: str) -> tuple[int, Any]:
        if job_id not in self.jobs:
            return 404, f"Job {job_id} does not exist"
        if what == "logs":
            return 200, {"logs": self.logs[job_id]}
        if what == "stop":
            self.stopped.append(job_id)
            return 200, {"stopped": True}
        if method == "DELETE":
            self.deleted.append(job_id)
            return 200, {"deleted": True}
        if job_id in self.stopped:
            self._drain(job_id)
        return 200, self.jobs[job_id]

    def _drain(self, job_id: str) -> None:
        self.drains -= 1
        if self.drains < 0 and self.jobs[job_id]["status"] in ("RUNNING", "PENDING"):
            self.logs[job_id] += self.ending.get("logs", "")
            self.jobs[job_id] |= {k: v for k, v in self.ending.items() if k != "logs"}


@contextmanager
def jobs_server() -> Iterator[JobsServer]:
    """Listening on a free port of the loopback."""
    state = JobsServer()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = state.answer(self.command, self.path, body)
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = do_DELETE = _reply

        def log_message(self, *arguments: object) -> None:
            """Not in a test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
