"""Brings a sweep home: python -m tests.hosts.evidence FOLDER LEDGER TRACKING STORAGE

Two databases of a PostgreSQL server become ``ledger.db`` and ``mlflow.db`` in the folder, and an
object store's checkpoints become files there, so that the invariants of ``tests.chaos``, which read
a home by plain SQL, hold for a cluster without servers and with them. Runs on the head, which alone
can reach the databases.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any


def bring_home(folder: Path, ledger: str, tracking: str, storage: str) -> None:
    """``ledger`` and ``tracking`` are libpq's addresses, ``storage`` a URL."""
    from pyarrow.fs import LocalFileSystem, copy_files

    folder.mkdir()
    copy_database(ledger, folder / "ledger.db")
    copy_database(tracking, folder / "mlflow.db")
    local = LocalFileSystem()
    local.create_dir(str(folder / "checkpoints"))
    copy_files(f"{storage}/checkpoints", str(folder / "checkpoints"), destination_filesystem=local)


def copy_database(source: str, target: Path) -> None:
    """All tables with their rows; columns without types take values as they come."""
    import psycopg2

    with closing(psycopg2.connect(source)) as server, closing(sqlite3.connect(target)) as file:
        cursor = server.cursor()
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT * FROM "{table}"')
            names = [f'"{column.name}"' for column in cursor.description]
            file.execute(f'CREATE TABLE "{table}" ({", ".join(names)})')
            marks = ", ".join("?" * len(names))
            rows = ([_plain(value) for value in row] for row in cursor.fetchall())
            file.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
        file.commit()


def _plain(value: Any) -> Any:
    """As SQLite holds it."""
    if isinstance(value, datetime):
        return str(value)
    if isinstance(value, memoryview):
        return bytes(value)
    return json.dumps(value) if isinstance(value, (dict, list)) else value


if __name__ == "__main__":
    bring_home(Path(sys.argv[1]), *sys.argv[2:])
