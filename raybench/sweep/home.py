"""A home as a run finds and leaves it: announced when new, backed up when not, never half-made."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from raybench.errors import UserInputError
from raybench.settings import Settings, create_home
from raybench.sweep.backups import back_up, backups
from raybench.sweep.database import write_transaction
from raybench.sweep.reader import SweepReader, sweep_names
from raybench.sweep.tables import leases, meta, open_engine, sweeps

_PLACE = "place"  # where the ledger lay at its last run


@contextmanager
def open_home(settings: Settings, sweep: str, tell: Callable[[str], None]) -> Iterator[sa.Engine]:
    """The home's ledger, for one run.

    A new home says where it is and names nearby ones that hold this sweep. When the user's input
    is refused, a new ledger is taken away again.

    Raises:
        HomeError: not writable, damaged, or of another version.
    """
    path = settings.ledger_file
    is_new = path is not None and not path.exists() and not backups(path)
    if is_new:
        tell(f"new home: {settings.home}")
        for other in _nearby_homes(settings.home):
            if _holds(other / "ledger.db", sweep):
                tell(f"  another home holds sweep '{sweep}': --home {other}")
    create_home(settings)
    engine = open_engine(settings.ledger_url, create=True)
    try:
        yield engine
    except UserInputError:
        alone = is_new and _is_alone(engine, sweep)
        engine.dispose()
        if alone and path is not None:
            _remove_ledger(path)
        raise
    finally:
        engine.dispose()


def tell_copies_apart(engine: sa.Engine, ledger: Path, tell: Callable[[str], None]) -> None:
    """A copied home that goes on beside the first is another ledger from now on.

    Else both would write their trials to the same runs of a shared MLflow server, by turns. Only
    once nothing refuses the run any more: a copy that was refused is still the same ledger.
    """
    with write_transaction(engine) as connection:
        rows = connection.execute(sa.select(meta.c.key, meta.c.value))
        known = {key: value for key, value in rows}
        if known.get(_PLACE) == str(ledger):
            return
        values = {_PLACE: str(ledger)}
        first = Path(known.get(_PLACE, ledger))
        if _is_other(first, ledger, known.get("ledger_id", "")):
            values["ledger_id"] = uuid.uuid4().hex
            tell(f"this home is a copy of {first.parent}: from now on its runs in MLflow are apart")
        for key, value in values.items():
            connection.execute(meta.delete().where(meta.c.key == key))
            connection.execute(meta.insert().values(key=key, value=value))


def _is_other(first: Path, ledger: Path, identity: str) -> bool:
    """Whether the ledger is still where it was before, so that this one is no moved one."""
    query = "SELECT 1 FROM raybench_meta WHERE key = 'ledger_id' AND value = ?"
    same = first.exists() and first.samefile(ledger)
    return not same and _says(first, query, identity)


def keep_copy(settings: Settings, reader: SweepReader) -> None:
    """A dated copy of a ledger that has sweeps, once nothing stands in the way of this run.

    ``reader``: of this sweep; what it knows is not read again. Everything is decoded before, since
    a copy of what cannot be read would be named as the way out.

    Raises:
        HomeError: something cannot be decoded, or no copy be made.
    """
    read_everything(reader.engine, reader)
    if settings.ledger_file is not None and sweep_names(reader.engine):
        back_up(settings.ledger_file)


def read_everything(engine: sa.Engine, known: SweepReader | None = None) -> None:
    """Decode every row of every sweep, but those that ``known`` has decoded.

    Raises:
        HomeError: one cannot be.
    """
    for name in sweep_names(engine):
        if known is None or name != known.sweep:
            SweepReader(engine, name).snapshot()


def _is_alone(engine: sa.Engine, sweep: str) -> bool:
    """Whether no other sweep has been here meanwhile, and this one has not been registered."""
    with engine.connect() as connection:
        others = connection.scalars(sa.select(leases.c.sweep).where(leases.c.sweep != sweep))
        return not others.all() and not connection.scalars(sa.select(sweeps.c.sweep)).all()


def _remove_ledger(path: Path) -> None:
    """Only what this run has made; decoded images stay, they are not wrong."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _nearby_homes(home: Path) -> list[Path]:
    """Folders with a ledger beside this home, in the working folder and in its parents."""
    folders = {home.parent, Path.cwd(), *list(Path.cwd().parents)[:2]}
    ledgers = {path.parent for folder in folders for path in folder.glob("*/ledger.db")}
    return sorted(ledgers - {home})


def _holds(ledger: Path, sweep: str) -> bool:
    return _says(ledger, "SELECT 1 FROM raybench_sweeps WHERE sweep = ?", sweep)


def _says(ledger: Path, query: str, value: str) -> bool:
    """Whether a file is a ledger of ours, in which the query finds something."""
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            return connection.execute(query, (value,)).fetchone() is not None
    except sqlite3.Error:
        return False
