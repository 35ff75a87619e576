"""The ledger's database: raybench's own tables beside Optuna's, opening it, refusing a damaged one.

Optuna owns studies and trials. What has no place there (sweep, pairs, lease) stands in
``raybench_*`` tables of the same database, so that one transaction can fence both.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from raybench.errors import HomeError
from raybench.version import LEDGER_SCHEMA, RESULT_VERSION, __version__

BUSY_TIMEOUT_S = 60.0

metadata = sa.MetaData()

meta = sa.Table(
    "raybench_meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

sweeps = sa.Table(
    "raybench_sweeps",
    metadata,
    sa.Column("sweep", sa.String(64), primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),  # the whole spec as JSON
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("active_s", sa.Float, nullable=False),  # wall clock spent, summed over attempts
    sa.Column("deadline", sa.Boolean, nullable=False),  # the last attempt ended at wall_clock
)

pairs = sa.Table(
    "raybench_pairs",
    metadata,
    sa.Column("sweep", sa.String(64), primary_key=True),
    sa.Column("pair", sa.String(160), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),  # the sweep file still names it
    sa.Column("definition", sa.Text, nullable=False),  # JSON: what the plan says of it
    sa.Column("facts", sa.Text, nullable=False),  # JSON: what the preflight found
)

manifests = sa.Table(
    "raybench_manifests",
    metadata,
    sa.Column("sweep", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),  # datasets.manifest.Manifest.to_bytes
)

leases = sa.Table(
    "raybench_leases",
    metadata,
    sa.Column("sweep", sa.String(64), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # JSON: host, boot, pid namespace, pid, start
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("released", sa.Boolean, nullable=False),
)

# Of the whole home, not of one sweep; keys are digests of what was measured.
footprints = sa.Table(
    "raybench_footprints",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),  # records.Footprint as JSON
    sa.Column("least_share", sa.Float, nullable=False),  # larger than what ran out of memory
    sa.Column("accumulation", sa.Integer, nullable=False),  # micro-batches per step that fit
)

profiles = sa.Table(
    "raybench_profiles",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),  # records.Profile as JSON
)


def engine_options(url: str) -> dict[str, object]:
    """Arguments for ``create_engine``, the same for Optuna's engine and ours."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    return {"pool_pre_ping": True}


def sqlite_path(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def open_engine(url: str, create: bool) -> Engine:
    """Check what is there, create tables where asked, return an engine.

    Raises:
        HomeError: no ledger (and not ``create``), damaged, unreachable, or of another version.
    """
    path = sqlite_path(url)
    if path is not None:
        _check_file(path, create)
    engine = _create_engine(url)
    try:
        if not create or sa.inspect(engine).has_table(meta.name):
            _check_version(engine, url)  # before anything is written to it
        if create:
            _use_wal(engine)
            _create_tables(engine)
    except sa.exc.SQLAlchemyError as error:
        raise HomeError(f"the ledger {_redacted(url)} cannot be opened: {_reason(error)}") from None
    return engine


def _create_engine(url: str) -> Engine:
    try:
        engine = sa.create_engine(url, **engine_options(url))
    except (sa.exc.ArgumentError, ValueError) as error:
        hint = "give a URL such as sqlite:////folder/ledger.db or postgresql://user@host/name"
        raise HomeError(f"RAYBENCH_LEDGER_URL is no database URL ({error}); {hint}") from None
    except ImportError as error:
        raise HomeError(
            f"the ledger {_redacted(url)} needs a driver that is not installed: {error}"
        ) from None
    if engine.dialect.name == "sqlite" and not engine.url.database:
        raise HomeError(f"the ledger {url} would live in memory; give sqlite:////folder/ledger.db")
    return engine


def _check_file(path: Path, create: bool) -> None:
    """A SQLite file must be sound before anything is written to it."""
    if not path.exists():
        if not create:
            raise HomeError(f"no ledger at {path}; run a sweep first, or give its --home")
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        with sqlite3.connect(path, timeout=BUSY_TIMEOUT_S) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # rubbish may stand in SQLite's own words
        raise HomeError(_damaged(path, str(error))) from None
    if verdict != "ok":
        raise HomeError(_damaged(path, verdict))


def _use_wal(engine: Engine) -> None:
    """Readers then never wait for the driver, nor it for them; kept in the file."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _damaged(path: Path, reason: str) -> str:
    copies = sorted((path.parent / "backups").glob("ledger-*.db"))
    way_out = f"put back {copies[-1]}" if copies else "put back a copy of yours"
    return (
        f"the ledger {path} is damaged or not readable ({reason}); {way_out}, or use another --home"
    )


@contextmanager
def telling_damage(engine: Engine) -> Iterator[None]:
    """Rows that cannot be decoded: a page that SQLite's own check takes for sound may hold rubbish.

    Raises:
        HomeError: instead of what the decoder raises.
    """
    try:
        yield
    except (ValueError, KeyError, sa.exc.DatabaseError) as error:
        if "locked" in str(error):
            raise
        path = sqlite_path(str(engine.url))
        place = Path(_redacted(str(engine.url))) if path is None else path
        raise HomeError(_damaged(place, _reason(error))) from error


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds the write lock from its start.

    sqlite3 begins a transaction at the first write only, so that what was read before it could be
    out of date by then.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def _create_tables(engine: Engine) -> None:
    """Under the database's write lock: drivers that start at once must not both create."""
    values = {"schema": LEDGER_SCHEMA, "result_version": RESULT_VERSION, "raybench": __version__}
    with write_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7233278)")
        metadata.create_all(connection)
        known = {row.key for row in connection.execute(sa.select(meta.c.key))}
        for key, value in values.items():
            if key not in known:
                connection.execute(meta.insert().values(key=key, value=str(value)))


def _check_version(engine: Engine, url: str) -> None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(meta.name):
            raise HomeError(f"{_redacted(url)} is no raybench ledger; give the --home of a sweep")
        found = {row.key: row.value for row in connection.execute(sa.select(meta))}
    for key, ours in (("schema", LEDGER_SCHEMA), ("result_version", RESULT_VERSION)):
        if found.get(key) != str(ours):
            raise HomeError(
                f"the ledger {_redacted(url)} was written by raybench {found.get('raybench', '?')} "
                f"({key} {found.get(key, '?')}, this version reads {ours}); use that version, or a "
                "new --home"
            )


def _redacted(url: str) -> str:
    return sa.engine.make_url(url).render_as_string(hide_password=True)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0][:120]
