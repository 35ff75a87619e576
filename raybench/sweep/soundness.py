"""Whether a ledger may be used: a damaged one is refused with the way out, never begun anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from raybench.errors import HomeError
from raybench.redaction import redact
from raybench.settings import private_files
from raybench.sweep.backups import FOLDER, backups, way_out
from raybench.sweep.database import BUSY_TIMEOUT_S

OPTUNA_TABLES = frozenset(
    {
        "studies",
        "study_directions",
        "trials",
        "trial_params",
        "trial_values",
        "trial_intermediate_values",
        "trial_user_attributes",
        "version_info",
    }
)
"""What a sweep's results stand in; Optuna makes others beside."""
DAMAGE = ("malformed", "not a database", "no such table", "no such column", "decode")
"""What SQLite says of a file that is not as it was; all else may pass: a full disk, a lock."""
_CANNOT_OPEN = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)


def sqlite_path(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def check_file(path: Path, create: bool) -> None:
    """A SQLite file must be sound before anything is written to it.

    Raises:
        HomeError: damaged, not readable, gone, or none (and not ``create``).
    """
    if path.is_dir():
        raise HomeError(f"the ledger {path} is a folder; {way_out(path)}")
    if not path.exists():
        if copies := backups(path):
            raise HomeError(
                f"no ledger at {path}, but copies of one: copy {copies[-1]} there, or move "
                f"{copies[-1].parent} away to begin anew"
            )
        if not create:
            raise HomeError(f"no ledger at {path}; run a sweep first, or give its --home")
        if _was_used(path.parent):
            raise HomeError(
                f"checkpoints of sweeps are in {path.parent}, but no ledger: put a copy of yours "
                f"at {path}, or set RAYBENCH_LEDGER_URL, or move checkpoints/ away to begin anew"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with private_files(path.parent):
            path.touch()
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError) as error:  # rubbish may stand in SQLite's own words
        raise HomeError(_unreadable(path, error)) from None
    if verdict != "ok":
        raise HomeError(damaged(path, verdict))
    if _is_cut(path):
        raise HomeError(damaged(path, "its last page is cut"))


def _is_cut(path: Path) -> bool:
    """Zeros would stand for the missing end. With a WAL beside it, it may be being written."""
    with path.open("rb") as file:
        page = int.from_bytes(file.read(18)[16:], "big") or 1  # of an empty file; 1 is for 64 kB
    wal = path.with_name(f"{path.name}-wal")
    return path.stat().st_size % page != 0 and not (wal.exists() and wal.stat().st_size)


def _unreadable(path: Path, error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _CANNOT_OPEN:
        return (
            f"the ledger {path} cannot be opened ({error}); see that you may write to it and to "
            "its folder, which SQLite needs for reading too"
        )
    return damaged(path, str(error))


def check_tables(found: Collection[str], ours: Collection[str], url: str) -> None:
    """Which tables there are must be what a ledger has, or nothing at all in a new one.

    Args:
        found: all tables.
        ours: those that every ledger of raybench has.
        url: of the ledger.

    Raises:
        HomeError: some are missing, or all of a home that was in use.
    """
    missing = sorted(set(ours) - set(found))
    if not missing:
        return
    path = sqlite_path(url)
    if len(missing) < len(ours):
        raise HomeError(damaged(url, f"no table {', '.join(missing)}"))
    if path is not None and _was_used(path.parent):
        raise HomeError(damaged(url, "it has no sweeps, in a home that was in use"))


def _was_used(home: Path) -> bool:
    """Whether trials have run here: by what nobody else leaves."""
    of_trials = (home / "checkpoints").glob("*/*/*-*/a[0-9]*")
    return any(True for _ in of_trials) or any((home / FOLDER).glob("ledger-*.db"))


def check_optuna(found: Collection[str], has_sweeps: bool, url: str) -> None:
    """Optuna would make missing tables anew, empty.

    Raises:
        HomeError: a sweep is registered, and its results are gone.
    """
    missing = sorted(OPTUNA_TABLES - set(found))
    if has_sweeps and missing:
        raise HomeError(damaged(url, f"no table {', '.join(missing)}"))


def damaged(ledger: str | Path, reason: str) -> str:
    """In words, for a path or a URL."""
    path = sqlite_path(ledger) if isinstance(ledger, str) else ledger
    if path is None:
        return f"the ledger {redact(str(ledger))} is damaged ({redact(reason)}); put back a copy"
    return f"the ledger {path} is damaged or not readable ({redact(reason)}); {way_out(path)}"


@contextmanager
def telling_damage(engine: Engine) -> Iterator[None]:
    """Rows that cannot be decoded: a page that SQLite's own check takes for sound may hold rubbish.

    Raises:
        HomeError: instead of what the decoder raises.
    """
    try:
        yield
    except sa.exc.OperationalError as error:
        reason = reason_of(error)
        if any(sign in reason for sign in DAMAGE):
            raise HomeError(damaged(_url(engine), reason)) from error
        raise HomeError(f"the ledger {_url(engine)} cannot be read now ({reason})") from error
    except (ValueError, KeyError, sa.exc.DatabaseError) as error:
        raise HomeError(damaged(_url(engine), reason_of(error))) from error


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def reason_of(error: BaseException) -> str:
    """One short line, without SQL and secrets."""
    lines = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
    return redact(lines[0])[:120]
