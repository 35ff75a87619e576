"""How the ledger's database is reached: its driver, its pool, its limits of time.

SQLite, a file of the home, or PostgreSQL, for several drivers and readers on other hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from raybench.errors import HomeError
from raybench.redaction import redact

BUSY_TIMEOUT_S = 60.0
_SCHEMA_LOCK = 7233278
_DRIVERS = ("psycopg2", "psycopg")
# One driver: main thread, Tune's, the lease's, tracking's; and as many of Optuna's engine.
_POOL = {"pool_size": 3, "max_overflow": 7, "pool_pre_ping": True, "pool_recycle": 1800}
# A server that is cut off must not be waited for without end: a minute, as libpq counts it.
_LIMITS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "raybench",
}


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def database_url(url: str) -> str:
    """``url`` with its driver named: which one ``postgresql://`` means depends on SQLAlchemy.

    Raises:
        HomeError: no driver for PostgreSQL is installed.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres") or not separator:
        return url
    driver = next((name for name in _DRIVERS if find_spec(name)), None)
    if driver is None:
        raise HomeError(
            f"the ledger {redact(url)} needs a driver that is not installed: "
            "pip install 'raybench[cluster]'"
        )
    return f"postgresql+{driver}://{rest}"


def engine_options(url: str) -> dict[str, object]:
    """Arguments for ``create_engine``, the same for Optuna's engine and ours."""
    if is_sqlite(url):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    asked = sa.make_url(url).query  # what the user's URL says stays
    return _POOL | {"connect_args": {k: v for k, v in _LIMITS.items() if k not in asked}}


def make_engine(url: str) -> Engine:
    """An engine for ``url``; connects to nothing yet.

    Raises:
        HomeError: no URL of a database that can hold a ledger, or its driver is missing.
    """
    hint = "give a URL such as sqlite:////folder/ledger.db or postgresql://user@host/name"
    try:
        engine = sa.create_engine(database_url(url), **engine_options(url))
    except (sa.exc.ArgumentError, ValueError) as error:
        raise HomeError(
            f"RAYBENCH_LEDGER_URL is no database URL ({redact(str(error))}); {hint}"
        ) from None
    except ImportError as error:
        raise HomeError(
            f"the ledger {redact(url)} needs a driver that is not installed: {error}"
        ) from None
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise HomeError(f"no ledger can be kept in {engine.dialect.name} ({redact(url)}); {hint}")
    if engine.dialect.name == "sqlite" and not engine.url.database:
        raise HomeError(
            f"the ledger {redact(url)} would live in memory; give sqlite:////folder/ledger.db"
        )
    return engine


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds SQLite's write lock from its start.

    sqlite3 begins a transaction at the first write only, so that what was read before it could be
    out of date by then. On PostgreSQL rows are locked as they are read (``FOR UPDATE``).
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


@contextmanager
def schema_lock(engine: Engine) -> Iterator[None]:
    """On PostgreSQL, one process of all at a time; held by a transaction that holds nothing else.

    Other connections may create tables within. SQLite has no lock that would let them.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
        yield
