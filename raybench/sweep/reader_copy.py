"""A ledger on a network file system: one host at a time opens it, the others read a copy.

SQLite's write-ahead log needs memory that all its users share, so it is not used there. Without it
readers lock writers out, and locks between hosts are what such file systems are worst at. So the
driver renews ``ledger-snapshot.db`` beside the ledger, whole and by renaming, and that is what
``status``, ``report``, ``sync`` and ``ui`` open on another host while it runs.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from raybench.errors import HomeError
from raybench.settings import private_files
from raybench.sweep.database import BUSY_TIMEOUT_S
from raybench.sweep.file_system import network_type
from raybench.sweep.holder import Owner
from raybench.sweep.lease_files import FOLDER, LeaseFiles
from raybench.whole_files import sync_folder

RENEW_S = 30.0
_WAL = b"\x02\x02"  # read and write version in the file's header
_logger = logging.getLogger(__name__)
_STATE = """
SELECT (SELECT max(trial_user_attribute_id) FROM trial_user_attributes),
       (SELECT group_concat(n) FROM (SELECT count(*) AS n FROM trials GROUP BY state)),
       (SELECT group_concat(current || facts) FROM raybench_pairs),
       (SELECT sum(attempt * 2 + released) FROM raybench_leases)
"""


def copy_of(ledger: Path) -> Path:
    """Where the copy for other hosts' readers stands."""
    return ledger.with_name(f"{ledger.stem}-snapshot.db")


def to_be_read(ledger: Path) -> Path:
    """The ledger, or its copy while a driver on another host writes it.

    Raises:
        HomeError: there is none yet.
    """
    if network_type(ledger) is None:
        return ledger
    host = _driver_elsewhere(ledger)
    if host is None:
        return ledger
    copy = copy_of(ledger)
    if not copy.exists():
        raise HomeError(
            f"a driver on {host} writes the ledger {ledger}, and its first copy for readers is not "
            f"there yet; try again in {RENEW_S:.0f} s"
        )
    return copy


def _driver_elsewhere(ledger: Path) -> str | None:
    """The host of a driver that has a lease of this home and is not on this machine."""
    here = Owner.this_process().boot_id
    for folder in (ledger.parent / FOLDER).glob("*"):
        holder = LeaseFiles(folder).holder()
        owner = None if holder is None else Owner(**json.loads(holder))
        if owner is not None and owner.boot_id != here:
            return owner.host
    return None


def leave_wal(ledger: Path) -> None:
    """A ledger that was written on a local disk, and lies on a network file system now.

    Raises:
        HomeError: it is in use, or may not be written.
    """
    kind = network_type(ledger)
    if kind is None or not ledger.is_file() or not _is_wal(ledger):
        return
    try:
        with closing(sqlite3.connect(ledger, timeout=1.0)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # no shared memory is needed then
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise HomeError(
            f"the ledger {ledger} was written on a local disk (with a log, {ledger.name}-wal) and "
            f"is on {kind} now, where it must be converted first, which cannot be done ({error}); "
            "end what uses it, see that you may write to it, and give the same command again"
        ) from None


def _is_wal(ledger: Path) -> bool:
    with ledger.open("rb") as file:
        return file.read(20)[18:] == _WAL


@contextmanager
def renewed_copy(ledger: Path | None) -> Iterator[None]:
    """Within, the copy is renewed every half minute in which something happened, and at the end.

    For the holder of a lease. ``ledger``: None for a server, which needs none.
    """
    if ledger is None or network_type(ledger) is None:
        yield
        return
    copier = _Copier(ledger)
    copier.start()
    try:
        yield
    finally:
        copier.stop()


class _Copier:
    def __init__(self, ledger: Path) -> None:
        self._ledger, self._state = ledger, ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raybench-copy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Renew it a last time."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(RENEW_S if self._state else 1.0):
            self._renew()
        self._renew()

    def _renew(self) -> None:
        """One that fails is tried again the next time; what readers have stays whole."""
        try:
            with closing(sqlite3.connect(self._ledger, timeout=BUSY_TIMEOUT_S)) as ledger:
                state = repr(ledger.execute(_STATE).fetchone())
                if state != self._state or not copy_of(self._ledger).exists():
                    _copy(ledger, copy_of(self._ledger))
                    self._state = state
        except (OSError, sqlite3.Error) as error:
            _logger.warning("readers on other hosts see an older state: no copy (%s)", error)


def _copy(ledger: sqlite3.Connection, target: Path) -> None:
    aside = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        with private_files(target.parent):
            aside.touch()
            with closing(sqlite3.connect(aside)) as copy:
                ledger.backup(copy)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
        sync_folder(target.parent)
    finally:
        aside.unlink(missing_ok=True)
