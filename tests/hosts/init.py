"""The first process of a host: python init.py NAME FOLDER VISIBLE...

Runs as pid 1 of new pid, mount, uts and ipc namespaces. It gives the host its name and folders,
says so, and then adopts and buries orphans, as an init does, until its standard input closes: so
the kernel ends the whole host whenever its owner dies, however that dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path

_BIND, _REC, _NOSUID = 4096, 16384, 2
_SHM = b"mode=1777,size=1g"
_CRON = "/var/spool/cron"  # `ray up` may ask for a restart at boot: not of this machine
READY = b"ready\n"

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, options: bytes = b"") -> None:
    Path(target).mkdir(parents=True, exist_ok=True) if kind else None
    args = (source.encode(), target.encode(), kind.encode() or None, flags, options or None)
    if _libc.mount(*args):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {source} on {target}: {os.strerror(error)}")


def bind(source: str | Path, target: str | Path) -> None:
    mount(str(source), str(target), "", _BIND | _REC)


def make_host(name: str, folder: Path, visible: list[str]) -> None:
    """Own places over the machine's, under which the ``visible`` folders would be hidden."""
    kept = {path: os.open(path, os.O_PATH) for path in visible}
    socket.sethostname(name)
    mount("proc", "/proc", "proc", _NOSUID)
    for own in ("tmp", "root"):
        bind(folder / own, f"/{own}")
    mount("shm", "/dev/shm", "tmpfs", _NOSUID, _SHM)
    mount("run", "/run", "tmpfs", _NOSUID, b"mode=755")
    if Path(_CRON).is_dir():
        mount("cron", _CRON, "tmpfs", _NOSUID)
    bind(folder / "hosts", "/etc/hosts")
    for path, descriptor in kept.items():
        if path.startswith(("/tmp/", "/root/", "/run/")):
            Path(path).mkdir(parents=True, exist_ok=True)
            bind(f"/proc/self/fd/{descriptor}", path)
        os.close(descriptor)


def bury_orphans(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    name, folder, *visible = sys.argv[1:]
    make_host(name, Path(folder), visible)
    signal.signal(signal.SIGCHLD, bury_orphans)
    os.write(1, READY)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
