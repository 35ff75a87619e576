"""Who descends from whom, by /proc; never by name across the machine.

Every driver is started in a session of its own, which Ray's processes and workers stay in.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

_TRIAL = re.compile(rb"ray::\w*(TrialActor|Trainable)")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # gone, or somebody else's
        return b""


def _all() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _facts(pid: int) -> tuple[str, int, int]:
    """State, parent, session; X of a process that is gone."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1]), int(fields[3])) if fields else ("X", 0, 0)


def is_alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    return _facts(pid)[0] not in "XZ"


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, of this moment."""
    children = defaultdict(list)
    for other in _all():
        children[_facts(other)[1]].append(other)
    found, todo = [], [pid]
    while todo:
        below = children[todo.pop()]
        found += below
        todo += below
    return found


def running_trials(pids: Iterable[int]) -> list[int]:
    """Those of ``pids`` that Ray has made to run trials."""
    return [pid for pid in pids if _TRIAL.match(_read(f"/proc/{pid}/cmdline")) and is_alive(pid)]


def of_sessions(sessions: Collection[int]) -> list[int]:
    """Living processes of these sessions, their leaders included."""
    found = ((pid, _facts(pid)) for pid in _all())
    return [pid for pid, (state, _, session) in found if session in sessions and state not in "XZ"]


def left_over(sessions: Collection[int], patience_s: float) -> list[str]:
    """Processes that are still there after ``patience_s``, with their command lines."""
    deadline = time.monotonic() + patience_s
    while (pids := of_sessions(sessions)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"{pid} {_command_line(pid)}" for pid in pids]


def _command_line(pid: int) -> str:
    words = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ")
    return words.decode(errors="replace").strip()[:80]
