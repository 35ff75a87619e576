"""``raybench run`` as a user starts it: a process in a session of its own, and its sweep."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.chaos.failpoints import VARIABLE
from tests.chaos.ledgers import epochs_done
from tests.chaos.processes import of_sessions

TIMEOUT_S = 300.0
_SITE = Path(__file__).parent / "site"
ENVIRON = {
    "RAY_AUTH_MODE": "disabled",
    # How long what is left of a dead private Ray looks for its head; a minute by default.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
}


@dataclass
class Stage:
    """One sweep in one home, and all drivers that were started on it; none outlives the context.

    Attributes:
        folder: for the sweep file and logs. spec: the sweep, as a file gives it.
        options: of every ``raybench run`` here. armed: where failpoints are armed, the folder's own
        unless given.
    """

    folder: Path
    spec: dict[str, Any]
    options: tuple[str, ...] = ()
    armed: Path = Path()
    _drivers: list[Driver] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.armed == Path():
            self.armed = self.folder / "failpoints"
        self.armed.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.spec))  # JSON is YAML

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for driver in self._drivers:
            if driver.code is None:
                driver.kill()
        for pid in of_sessions(self.sessions):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def sweep(self) -> str:
        return str(self.spec["name"])

    @property
    def file(self) -> Path:
        return self.folder / f"{self.sweep}.yaml"

    @property
    def sessions(self) -> list[int]:
        """Of the drivers so far; whatever they have started stays in them."""
        return [driver.pid for driver in self._drivers]

    def epochs(self) -> int:
        return epochs_done(self.home, self.sweep)

    def start(self, *options: str) -> Driver:
        driver = Driver(self, [*self.options, *options])
        self._drivers.append(driver)
        return driver


def failpoints_environ(folder: Path) -> dict[str, str]:
    """Lets failpoints be armed in ``folder`` for processes that get these variables."""
    path = os.pathsep.join(p for p in (str(_SITE), os.environ.get("PYTHONPATH")) if p)
    return {VARIABLE: str(folder), "PYTHONPATH": path}


class Driver:
    """One life of ``raybench run``."""

    def __init__(self, stage: Stage, options: list[str]) -> None:
        self._stage = stage
        command = [sys.executable, "-m", "raybench.cli", "run", str(stage.file)]
        self._log = stage.folder / f"log-{time.monotonic_ns()}.txt"
        self._results = self._log.with_suffix(".stdout")
        environ = os.environ | ENVIRON | {"HOME": str(stage.folder)}
        with self._log.open("w") as log, self._results.open("w") as results:
            self._process = subprocess.Popen(
                [*command, "--home", str(stage.home), *options],
                stdout=results,
                stderr=log,
                env=environ | failpoints_environ(stage.armed),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it has ended; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        return self._process.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and back at once: whatever it has started may still live."""
        self._process.kill()
        self._process.wait()

    def output(self) -> str:
        """What it has said on both streams so far."""
        return self._log.read_text() + self._results.read_text()

    def until(self, happened: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> bool:
        """Wait for it; False where the driver ends before it happens."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            if self.code is not None:
                return happened()
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing happened in {timeout_s:.0f} s:\n{self.output()}")
            time.sleep(0.01)
        return True

    def until_epochs(self, more: int) -> bool:
        """Wait until so many more epochs are committed."""
        wanted = self._stage.epochs() + more
        return self.until(lambda: self._stage.epochs() >= wanted)


@dataclass(frozen=True)
class Rerun:
    """A further ``run`` of a finished sweep: exit code, wall and processor seconds."""

    code: int
    wall_s: float
    processor_s: float


def rerun(stage: Stage) -> Rerun:
    """Run the sweep once more, to its end."""
    before, started = processor_s(), time.monotonic()
    code = stage.start().wait()
    return Rerun(code, time.monotonic() - started, processor_s() - before)


def processor_s() -> float:
    """Of all children that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
