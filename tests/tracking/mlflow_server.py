"""A real ``mlflow server`` on loopback, as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from raybench.tracking.client import prepare_environment
from tests.tracking.mlflow_state import Store

START_S = 120.0


@dataclass
class MlflowServer:
    """Serves a store; can be killed and started again on its port."""

    store: Store
    port: int
    _child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers a real call (``/health`` is too early)."""
        prepare_environment()
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        artifacts = (self.store.folder / "artifacts").absolute().as_uri()
        command += ["--artifacts-destination", artifacts]
        with Path(self.store.folder / "server.log").open("ab") as log:
            self._child = subprocess.Popen(
                command,
                env=os.environ | self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._child.poll() is None and time.monotonic() < deadline, "it did not start"
            time.sleep(0.1)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return (self.store.folder / "server.log").read_text(errors="replace")

    def _environ(self) -> dict[str, str]:
        """A database's address may hold a password, and a command line is everybody's to read."""
        return {
            "MLFLOW_BACKEND_STORE_URI": self.store.uri,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }

    def kill(self) -> None:
        """With its workers, by the group that it leads."""
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    def _answers(self) -> bool:
        address = f"{self.address}/api/2.0/mlflow/experiments/search"
        request = Request(address, b'{"max_results": 1}', {"Content-Type": "application/json"})
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=5):
                return True
        except (URLError, OSError):
            return False
