"""cluster/backup.sh on a real PostgreSQL: a new head has what the old one knew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.sweep.database import database_url
from tests.cluster_files.files import ROOT
from tests.postgres_server import PostgresServer, missing, programs


@pytest.mark.slow
def test_saved_and_restored(postgres: PostgresServer, tmp_path: Path) -> None:
    found = programs()
    if found is None or not (found / "pg_dump").exists():
        missing("backups need pg_dump")
    assert found is not None
    folder = tmp_path / "raybench"
    (folder / "venv" / "bin").mkdir(parents=True)
    python = folder / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    shutil.copy(ROOT / "cluster" / "backup.sh", folder)
    (tmp_path / "store" / "backups").mkdir(parents=True)
    environ = os.environ | {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGUSER": "postgres",
        "PGPASSWORD": postgres.password,
        "PATH": f"{found}:{os.environ['PATH']}",
    }
    (folder / "env").write_text(f"RAYBENCH_STORAGE={(tmp_path / 'store').as_uri()}\n")

    def run(verb: str) -> str:
        command = [folder / "backup.sh", verb]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    postgres.execute("create database raybench")
    postgres.execute("create database mlflow")
    assert run("restore") == ""  # nothing was ever saved
    engine = sa.create_engine(database_url(postgres.url("raybench")))
    with engine.begin() as connection:
        connection.execute(sa.text("create table trials as select 42 as number"))
    engine.dispose()
    run("save")
    assert len(list((tmp_path / "store" / "backups").iterdir())) == 2

    assert "raybench: restored" not in run("restore")  # never over what is there
    postgres.execute("drop database raybench")
    postgres.execute("create database raybench")
    assert "raybench: restored from" in run("restore")
    engine = sa.create_engine(database_url(postgres.url("raybench")))
    with engine.connect() as connection:
        assert connection.execute(sa.text("select number from trials")).scalar() == 42
    engine.dispose()
    postgres.execute("drop database raybench")
    postgres.execute("drop database mlflow")
