"""MLflow's own pages on a home's store: a child server on loopback, ended with its whole group."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from raybench.errors import ResourceError
from raybench.redaction import redact
from raybench.storage import is_url
from raybench.sweep.database import database_url
from raybench.tracking.client import prepare_environment

_START_S = 120.0
_END_S = 10.0


def serve_ui(
    tracking_uri: str,
    artifact_root: str | None,
    on_ready: Callable[[str], None],
    host: str = "127.0.0.1",
    port: int = 5000,
) -> None:
    """Serve until the server ends or Ctrl-C; ``on_ready`` gets the address once it answers.

    A store behind a server has its pages there: ``on_ready`` gets that address, and nothing starts.

    Args:
        tracking_uri: database URL of the store, or the address of a server.
        artifact_root: folder of the home's artefacts.
        on_ready: called with the address, before this function starts to wait.
        host: loopback, unless the caller knows who can reach it.
        port: 0 takes any free one.

    Raises:
        ResourceError: the port is taken, or the server does not start.
    """
    if tracking_uri.startswith(("http://", "https://")):
        on_ready(redact(tracking_uri))
        return
    port = _free_port(host, port)
    address = f"http://{host}:{port}"
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with _server(tracking_uri, artifact_root, host, port, log) as child:
            _wait_until_ready(address, child, log)
            on_ready(address)
            child.wait()


def _free_port(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ResourceError(
                f"cannot serve on {host}:{port} ({error.strerror}); give another port, or 0 for any"
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def _server(
    tracking_uri: str, artifact_root: str | None, host: str, port: int, log: IO[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """The child in a process group of its own, so that its workers end with it."""
    prepare_environment()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", host, "--port", str(port)]
    if artifact_root is not None:
        is_folder = not is_url(artifact_root)
        place = Path(artifact_root).absolute().as_uri() if is_folder else artifact_root
        command += ["--artifacts-destination", place]
    # By variable: a database URL may hold a password, and a command line is everybody's to read.
    env = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": database_url(tracking_uri),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    child = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        with _terminated_as_exit():
            yield child
    except KeyboardInterrupt:
        return
    finally:
        _end(child)


@contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, else it would leave the server behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: signals are the caller's
        yield
        return
    # A shell starts what it puts in the background with SIGINT ignored.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _wait_until_ready(address: str, child: subprocess.Popen[bytes], log: IO[str]) -> None:
    """A real API call, because ``/health`` answers before the store does."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        if _answers(address):
            return
        time.sleep(0.2)
    log.seek(0)
    last = redact(" ".join(log.read().strip().splitlines()[-1:]))
    raise ResourceError(f"MLflow's server did not start at {address}: {last or 'no answer'}")


def _answers(address: str) -> bool:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 1}).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, never a proxy
    try:
        with opener.open(request, timeout=5) as response:
            return "experiments" in json.load(response)
    except (OSError, urllib.error.HTTPError, ValueError):
        return False


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the whole group, then insist."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            continue
    child.wait()
