"""The ledger's database: raybench's own tables beside Optuna's, opening it, refusing a damaged one.

Optuna owns studies and trials. What has no place there (sweep, pairs, lease) stands in
``raybench_*`` tables of the same database, so that one transaction can fence both.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from raybench.errors import HomeError
from raybench.redaction import redact
from raybench.sweep.soundness import (
    BUSY_TIMEOUT_S,
    check_file,
    check_optuna,
    check_tables,
    damaged,
    reason_of,
    sqlite_path,
)
from raybench.version import LEDGER_SCHEMA, RESULT_VERSION, __version__

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


REQUIRED = (meta, sweeps, pairs, manifests, leases)
"""What every ledger has; the other tables came later, and are made where they are missing."""


def engine_options(url: str) -> dict[str, object]:
    """Arguments for ``create_engine``, the same for Optuna's engine and ours."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    return {"pool_pre_ping": True}


def open_engine(url: str, create: bool) -> Engine:
    """Check what is there, create tables where asked, return an engine.

    Raises:
        HomeError: no ledger (and not ``create``), damaged, unreachable, or of another version.
    """
    path = sqlite_path(url)
    if path is not None and "?" in url:  # the driver would open another file than is checked
        raise HomeError(
            f"the ledger {redact(url)}: what stands behind the ? is no part of a SQLite file's "
            "name; give a --home, or sqlite:////folder/ledger.db, without one"
        )
    if path is not None:
        check_file(path, create)
    engine = _create_engine(url)
    try:
        _check_content(engine, create)
        if create:
            _use_wal(engine)
            _create_tables(engine)
    except sa.exc.SQLAlchemyError as error:
        raise HomeError(_not_opened(url, error)) from None
    return engine


def _not_opened(url: str, error: Exception) -> str:
    reason = reason_of(error)
    if isinstance(error, sa.exc.DatabaseError) and not isinstance(error, sa.exc.OperationalError):
        return damaged(url, reason)
    return f"the ledger {redact(url)} cannot be opened: {reason}"


def _create_engine(url: str) -> Engine:
    try:
        engine = sa.create_engine(url, **engine_options(url))
    except (sa.exc.ArgumentError, ValueError) as error:
        hint = "give a URL such as sqlite:////folder/ledger.db or postgresql://user@host/name"
        raise HomeError(
            f"RAYBENCH_LEDGER_URL is no database URL ({redact(str(error))}); {hint}"
        ) from None
    except ImportError as error:
        raise HomeError(
            f"the ledger {redact(url)} needs a driver that is not installed: {error}"
        ) from None
    if engine.dialect.name == "sqlite" and not engine.url.database:
        raise HomeError(
            f"the ledger {redact(url)} would live in memory; give sqlite:////folder/ledger.db"
        )
    return engine


def _use_wal(engine: Engine) -> None:
    """Readers then never wait for the driver, nor it for them; kept in the file."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


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
    values = {
        "schema": LEDGER_SCHEMA,
        "result_version": RESULT_VERSION,
        "raybench": __version__,
        "ledger_id": uuid.uuid4().hex,  # tells homes apart that share an MLflow server
    }
    with write_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7233278)")
        metadata.create_all(connection)
        known = {row.key for row in connection.execute(sa.select(meta.c.key))}
        for key, value in values.items():
            if key not in known:
                connection.execute(meta.insert().values(key=key, value=str(value)))


def _check_content(engine: Engine, create: bool) -> None:
    """Version and tables, before anything is written.

    Raises:
        HomeError: of another version, no ledger at all, or one of which parts are missing.
    """
    url = engine.url.render_as_string(hide_password=True)
    with engine.connect() as connection:
        found = set(sa.inspect(connection).get_table_names())
        if meta.name in found:
            _check_version({row.key: row.value for row in connection.execute(sa.select(meta))}, url)
        check_tables(found, [table.name for table in REQUIRED], url)
        if meta.name not in found:
            if not create:
                raise HomeError(f"{redact(url)} is no raybench ledger; give the --home of a sweep")
            return
        has_sweeps = connection.execute(sa.select(sweeps.c.sweep)).first() is not None
        check_optuna(found, has_sweeps, url)


def _check_version(found: Mapping[str, str], url: str) -> None:
    for key, ours in (("schema", LEDGER_SCHEMA), ("result_version", RESULT_VERSION)):
        if found.get(key) != str(ours):
            raise HomeError(
                f"the ledger {redact(url)} was written by raybench {found.get('raybench', '?')} "
                f"({key} {found.get(key, '?')}, this version reads {ours}); use that version, or a "
                "new --home"
            )
