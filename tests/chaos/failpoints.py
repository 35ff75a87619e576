"""Failpoints from outside: a process kills itself with SIGKILL inside a write, at the n-th time.

The product has no hook. ``site/sitecustomize.py`` stands on the PYTHONPATH of the processes that
may die and calls ``install``, which wraps what every sound write goes through: ``os.fsync``,
``os.rename``, ``os.replace``, ``os.unlink`` and the commits of ``sqlite3``.

``RAYBENCH_CHAOS`` names a folder. A file ``armed`` in it, ``checkpoint.before-rename:3``, arms one
point in all processes that have inherited the variable, at any time of their lives: each counts its
own hits from then on, and the first to come to three takes the file away (``fired-<pid>``, the
proof) and dies. So a point fires once, and whoever resumes is not struck again.

Only the standard library is imported: this runs at the start of every Python process under chaos.
"""

from __future__ import annotations

import os
import shutil  # before os.unlink is wrapped: it looks at once which functions take a dir_fd
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "RAYBENCH_CHAOS"
_FOLDERS = {"checkpoint": "/checkpoints/", "cache": "/cache/"}
_DATABASES = {"ledger": "ledger.db", "tracking": "mlflow.db"}
_WRITES = ("half-written", "before-fsync", "after-fsync", "before-rename", "after-rename", "unlink")
_COMMITS = ("before-commit", "after-commit")
POINTS = (
    *(f"{place}.{moment}" for place in _FOLDERS for moment in _WRITES),
    *(f"{place}.{moment}" for place in _DATABASES for moment in _COMMITS),
)


def arm(folder: Path, point: str, hit: int) -> None:
    """Let the first process that comes to ``point`` for the ``hit``-th time from now on die."""
    if point not in POINTS:
        raise ValueError(f"no failpoint '{point}'; there are {', '.join(POINTS)}")
    aside = folder / "arming"
    aside.write_text(f"{point}:{hit}")
    aside.replace(folder / "armed")


def disarm(folder: Path) -> bool:
    """True where nothing had fired."""
    try:
        (folder / "armed").unlink()
    except FileNotFoundError:
        return False
    return True


def fired(folder: Path) -> int:
    """How many points have fired so far."""
    return len(list(folder.glob("fired-*")))


class _Failpoint:
    """What is armed in this process, and how often it was hit since."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._armed = folder, folder / "armed"
        self._text, self._hits = "", 0
        self._lock = threading.Lock()

    def hit(self, point: str, damage: Callable[[], None] | None = None) -> None:
        """Do ``damage`` and die if this is the armed point's time."""
        try:
            text = self._armed.read_text()
        except OSError:
            return
        name, _, nth = text.partition(":")
        if name != point:
            return
        with self._lock:
            self._hits = self._hits + 1 if text == self._text else 1
            self._text = text
            if self._hits < int(nth) or not self._claim():
                return
            if damage is not None:
                damage()
            os.kill(os.getpid(), signal.SIGKILL)

    def _claim(self) -> bool:
        """One process only; the file that it renames is the proof."""
        try:
            _rename(self._armed, self._folder / f"fired-{os.getpid()}")
        except FileNotFoundError:
            return False
        return True


def install() -> None:
    """Wrap the calls of this process, where ``RAYBENCH_CHAOS`` names a folder."""
    folder = os.environ.get(VARIABLE)
    if folder:
        failpoint = _Failpoint(Path(folder))
        _wrap_files(failpoint)
        _wrap_databases(failpoint)


_rename, _fsync, _unlink = os.rename, os.fsync, os.unlink
_connect = sqlite3.connect


def _place(path: str) -> str | None:
    return next((place for place, part in _FOLDERS.items() if part in path), None)


def _path_of(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""


def _wrap_files(failpoint: _Failpoint) -> None:
    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = _path_of(number)
        place = _place(path)
        if place is None:
            return _fsync(descriptor)
        if Path(path).is_file():
            half = os.fstat(number).st_size // 2
            failpoint.hit(f"{place}.half-written", lambda: os.ftruncate(number, half))
        failpoint.hit(f"{place}.before-fsync")
        _fsync(descriptor)
        failpoint.hit(f"{place}.after-fsync")

    def moving(real: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **options: Any) -> None:
            place = _place(os.fspath(target)) if isinstance(target, str | Path) else None
            if place is not None:
                failpoint.hit(f"{place}.before-rename")
            real(source, target, **options)
            if place is not None:
                failpoint.hit(f"{place}.after-rename")

        return move

    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        folder = "" if dir_fd is None else _path_of(dir_fd)
        place = _place(f"{folder}/{path}")
        if place is not None:
            failpoint.hit(f"{place}.unlink")
        _unlink(path, dir_fd=dir_fd)

    os.fsync, os.unlink = fsync, unlink  # type: ignore[assignment]
    os.rename, os.replace = moving(os.rename), moving(os.replace)
    assert shutil.rmtree.avoids_symlink_attacks, "the wrapped unlink must be the one it uses"


def _wrap_databases(failpoint: _Failpoint) -> None:
    class Connection(sqlite3.Connection):
        place: str | None = None

        def commit(self) -> None:
            if self.place is None or not self.in_transaction:
                return super().commit()
            failpoint.hit(f"{self.place}.before-commit")
            super().commit()
            failpoint.hit(f"{self.place}.after-commit")

    def connect(database: Any, *arguments: Any, **options: Any) -> Any:
        options.setdefault("factory", Connection)
        connection = _connect(database, *arguments, **options)
        if isinstance(connection, Connection):
            name = str(database)
            connection.place = next((p for p, part in _DATABASES.items() if part in name), None)
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = connect
