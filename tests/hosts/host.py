"""One host: commands inside it, and its processes as they are seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.hosts import init

_INIT = Path(init.__file__).resolve()
_ISOLATED = ("--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child")
_PATH = (
    f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
ENVIRON = {"HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "PATH": _PATH}


class Host:
    """A booted host.

    Attributes:
        name: also its host name. address: its only one besides loopback.
        folder: holds its ``tmp`` and ``root``, as seen from outside.
        environ: of every command in it.
    """

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.environ = dict(ENVIRON)
        self._init: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._started: list[subprocess.Popen[bytes]] = []

    def boot(self, namespace: str, hosts_file: str, visible: Sequence[str]) -> None:
        """Make the folders and start the init; back when the host stands."""
        for own in ("tmp", "root"):
            (self.folder / own).mkdir(parents=True)
        (self.folder / "tmp").chmod(0o1777)
        (self.folder / "hosts").write_text(hosts_file)
        command = ["nsenter", f"--net=/run/netns/{namespace}", "unshare", *_ISOLATED]
        command += [sys.executable, "-IS", str(_INIT), self.name, str(self.folder), *visible]
        self._init = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._init.stdout is not None
        if self._init.stdout.readline() != init.READY:
            raise OSError(f"the host {self.name} did not start")
        self._pid = _children(self._init.pid)[0]

    def shut_down(self) -> None:
        """Its init leaves, and the kernel ends whatever runs in it."""
        if self._init is not None:
            self._init.communicate(timeout=30)
            self._init = None
        for process in self._started:
            process.wait(30)

    def run(
        self,
        *command: str,
        timeout_s: float = 60,
        check: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with ``check`` an exit code but 0 is an AssertionError."""
        bounded = ("timeout", "--kill-after=5", str(timeout_s), *command)
        done = subprocess.run(
            self._enter(bounded, environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        said = f"{self.name}: {' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def start(
        self, *command: str, log: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Run a command beside us, in a session of its own; it says what it says in ``/tmp/<log>``.

        The process that is returned stands for the command: to kill it kills the command.
        """
        with (self.folder / "tmp" / log).open("ab") as output:
            process = subprocess.Popen(
                self._enter(("setpriv", "--pdeathsig", "KILL", *command), environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def _enter(self, command: Sequence[str], environ: Mapping[str, str] | None) -> list[str]:
        spaces = ("--net", "--pid", "--mount", "--uts", "--ipc", "--wdns=/root")
        variables = [f"{k}={v}" for k, v in (self.environ | dict(environ or {})).items()]
        return ["nsenter", f"--target={self._pid}", *spaces, "env", "-i", *variables, *command]

    def path(self, inside: str) -> Path:
        """Of a file below its /tmp or home, as seen from outside."""
        return self.folder / inside.removeprefix("/")

    def processes(self, words: str = "") -> list[int]:
        """Pids, as seen from outside, of its processes whose command line has ``words``."""
        space = _space(self._pid)
        pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in pids if _space(pid) == space and words in _command_line(pid)]

    def kill(self, words: str) -> int:
        """SIGKILL its processes whose command line has ``words``; how many there were."""
        pids = self.processes(words)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def until(self, happened: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait for it; an AssertionError names ``what`` where it does not come."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            assert time.monotonic() < deadline, f"{self.name}: {timeout_s:.0f} s without {what}"
            time.sleep(0.1)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:  # gone
        return ""


def _command_line(pid: int) -> str:
    """Its words; nothing of one that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
