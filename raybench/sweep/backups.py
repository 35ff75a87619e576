"""Copies of a SQLite ledger, one made at each start: ``backups/ledger-000007-20260131T175000Z.db``.

Their order is that of the number. The date is for people: a clock that was set back must not throw
the newest copy away.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from raybench.errors import HomeError
from raybench.settings import private_files
from raybench.whole_files import sync_folder

KEPT = 5
FOLDER = "backups"
_DATED = re.compile(r"-(?:(\d{6,})-)?(\d{8}T\d{6}Z)\.db$")


def backups(ledger: Path) -> list[Path]:
    """The copies of ``ledger``, the oldest first."""
    found = [
        (int(match[1] or 0), match[2], path)
        for path in (ledger.parent / FOLDER).glob(f"{ledger.stem}-*.db")
        if (match := _DATED.fullmatch(path.name.removeprefix(ledger.stem)))
    ]
    return [path for *_, path in sorted(found)]


def back_up(ledger: Path) -> Path:
    """Copy a sound ledger; the newest five copies are kept.

    Raises:
        HomeError: it cannot be copied, e.g. because the disk is full.
    """
    known = backups(ledger)
    number = _number(known[-1]) + 1 if known else 1
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = ledger.parent / FOLDER / f"{ledger.stem}-{number:06d}-{stamp}.db"
    aside = target.with_name(f".tmp-{os.getpid()}.db")
    try:
        with private_files(ledger.parent):
            target.parent.mkdir(exist_ok=True)
            _copy(ledger, aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise HomeError(
            f"no copy of the ledger can be made in {target.parent} ({error}); make room there, "
            "or see that you may write to it"
        ) from None
    finally:
        aside.unlink(missing_ok=True)
    for old in [*backups(ledger)[:-KEPT], *_left_behind(target.parent)]:
        old.unlink(missing_ok=True)
    return target


def _left_behind(folder: Path) -> list[Path]:
    """Half copies of processes that are gone."""
    return [path for path in folder.glob(".tmp-*.db") if not _is_running(int(path.stem[5:]))]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _number(copy: Path) -> int:
    match = _DATED.search(copy.name)
    return int(match[1] or 0) if match else 0


def _copy(ledger: Path, aside: Path) -> None:
    """What is committed, in one file of its own, which is sound, and which nobody holds."""
    aside.touch()
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(aside)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("UPDATE raybench_leases SET released = 1")
        copy.commit()
        verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")


def way_out(ledger: Path) -> str:
    """What to do with a ledger that cannot be used: a clause for a sentence."""
    copies = backups(ledger)
    if not copies:
        return "put back a copy of yours, or use another --home"
    return (
        f"move {ledger.name}, {ledger.name}-wal and {ledger.name}-shm away, copy {copies[-1]} to "
        f"{ledger} and run again (what it lacks is run again), or use another --home"
    )
