"""A real Ray head with its dashboard, for tests: loopback, a token, a PATH without our Python.

It ends by its own handle: ``ray start --block`` ends what it has started when it is told to.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 90.0


@dataclass(frozen=True)
class RayHead:
    """Where it is, and what a laptop's shell needs to reach it.

    Attributes:
        address: of the dashboard. home: the head's ``HOME``. laptop: environment of a client.
    """

    address: str
    home: Path
    laptop: Mapping[str, str]

    def raybench(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command on the laptop."""
        return subprocess.run(
            self.command(*arguments), env={**self.laptop, **environment},
            capture_output=True, text=True, timeout=150,
        )  # fmt: skip

    def command(self, verb: object, *arguments: object) -> list[str]:
        given = [str(verb), *map(str, arguments), "--address", self.address]
        return [sys.executable, "-m", "raybench.cli", *given]


@contextmanager
def ray_head(cpus: int = 2) -> Iterator[RayHead]:
    """Started when it answers; gone, with every process of it, at the end."""
    # Sockets live below, and their paths are limited to some 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    token = secrets.token_hex(16)
    home, laptop = (_home_with_token(folder / name, token) for name in ("head", "laptop"))
    port, agent_port = _free_port(), _free_port()
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0",
        f"--num-cpus={cpus}", "--num-gpus=0", "--include-dashboard=true",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={port}",
        f"--dashboard-agent-listen-port={agent_port}", f"--temp-dir={folder / 't'}",
        "--node-ip-address=127.0.0.1", "--object-store-memory=100000000",
    ]  # fmt: skip
    shared = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": _repository()}
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**shared, "HOME": str(home), "PATH": "/usr/bin:/bin"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    head = RayHead(address, home, {**os.environ, **shared, "HOME": str(laptop)})
    try:
        _wait_until_it_answers(head, process, folder / "head.log")
        yield head
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _repository() -> str:
    return str(Path(__file__).resolve().parents[1])


def _home_with_token(home: Path, token: str) -> Path:
    (home / ".ray").mkdir(parents=True)
    place = home / ".ray" / "auth_token"
    place.write_text(token)
    place.chmod(0o600)
    return home


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(head: RayHead, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until jobs are listed, which needs more than an open port."""
    until = time.monotonic() + START_S
    while True:
        asked = head.raybench("logs", "none-such")
        if asked.returncode == 2:
            return
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"Ray did not start: {asked.stderr}\n{log.read_text()[-2000:]}")
        time.sleep(0.5)
