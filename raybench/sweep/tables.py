"""The ledger's database: raybench's own tables beside Optuna's, opening it, refusing a damaged one.

Optuna owns studies and trials. What has no place there (sweep, pairs, lease) stands in
``raybench_*`` tables of the same database, so that one transaction can fence both.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from raybench.errors import HomeError
from raybench.redaction import redact
from raybench.sweep.database import BUSY_TIMEOUT_S, make_engine, schema_lock, write_transaction
from raybench.sweep.file_system import network_type
from raybench.sweep.reader_copy import leave_wal, to_be_read
from raybench.sweep.soundness import (
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


_OF_MLFLOW = frozenset({"experiments", "runs", "latest_metrics"})
_SERVER_HINT = "see that it runs, that the database is there, and that its user owns it"
REQUIRED = (meta, sweeps, pairs, manifests, leases)
"""What every ledger has; the other tables came later, and are made where they are missing."""


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
        if not create:
            path = to_be_read(path)
            url = f"sqlite:///{path}"
        leave_wal(path)
        check_file(path, create)
    engine = make_engine(url)
    try:
        _check_content(engine, create)
        if create:
            if path is not None and network_type(path) is None:
                _use_wal(engine)
            _create_tables(engine)
    except sa.exc.SQLAlchemyError as error:
        raise HomeError(_not_opened(url, error)) from None
    return engine


def _not_opened(url: str, error: Exception) -> str:
    reason = reason_of(error)
    if sqlite_path(url) is None:
        return f"the ledger {redact(url)} cannot be used: {reason}; {_SERVER_HINT}"
    if isinstance(error, sa.exc.DatabaseError) and not isinstance(error, sa.exc.OperationalError):
        return damaged(url, reason)
    return f"the ledger {redact(url)} cannot be opened: {reason}"


def _use_wal(engine: Engine) -> None:
    """Readers then never wait for the driver, nor it for them; kept in the file.

    SQLite does not wait for its turn here as it does elsewhere, when several begin at once.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except sa.exc.OperationalError as error:
            if "locked" not in reason_of(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _create_tables(engine: Engine) -> None:
    """Under a lock: drivers that start at once must not both create."""
    values = {
        "schema": LEDGER_SCHEMA,
        "result_version": RESULT_VERSION,
        "raybench": __version__,
        "ledger_id": uuid.uuid4().hex,  # tells homes apart that share an MLflow server
    }
    with schema_lock(engine), write_transaction(engine) as connection:
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
        if found >= _OF_MLFLOW:  # both keep their schema's version in the same table
            raise HomeError(
                f"{redact(url)} is MLflow's database; give the ledger one of its own "
                "(CREATE DATABASE raybench), on the same server if you like"
            )
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
