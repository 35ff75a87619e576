"""Which process holds a lease, and whether this host can tell that it is gone."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """Names a process so that a reused pid is not mistaken for it."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str
    since: float = 0.0
    """Unix seconds when it took the lease: for people, nothing is decided by it."""

    @classmethod
    def this_process(cls) -> Owner:
        return cls(
            host=socket.gethostname(),
            boot_id=_read("/proc/sys/kernel/random/boot_id"),
            pid_namespace=_link("/proc/self/ns/pid"),
            pid=os.getpid(),
            started=_start_time(os.getpid()),
            since=time.time(),
        )

    def is_dead_here(self) -> bool:
        """True only when this host can tell that the process is gone."""
        me = Owner.this_process()
        here = (self.host, self.boot_id, self.pid_namespace) == (
            me.host,
            me.boot_id,
            me.pid_namespace,
        )
        if not (self.boot_id and here) or _start_time(self.pid) == self.started:
            return False
        return not _is_hidden(self.pid)

    def is_alive_here(self) -> bool:
        """Only what this host can see; a holder elsewhere is watched."""
        me = Owner.this_process()
        here = self.boot_id == me.boot_id and self.pid_namespace == me.pid_namespace
        return bool(self.boot_id) and here and _start_time(self.pid) == self.started


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks after boot at which ``pid`` started; empty for one that is gone or a zombie."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return "" if not fields or fields[0] == "Z" else fields[19]


def _is_hidden(pid: int) -> bool:
    """Whether it is another user's, of whom this /proc does not tell (mounted with hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not _start_time(pid)
    except ProcessLookupError:
        return False
    return False
