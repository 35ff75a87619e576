"""cluster/backup.sh: a new head has what the old one knew."""

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

pytestmark = pytest.mark.slow

# A dump is one line, and a database a file; one that is cut can still be listed.
STANDINS = {
    "pg_dump": "file=${2#--file=}; if [ -e ~/broken ]; then : > $file; else echo $3 > $file; fi",
    "pg_restore": "test -s ${@: -1} || exit 1; test $1 = --list || cp ${@: -1} ~/restored",
    "psql": "echo 0",
}


class Head:
    """A head of a cluster: the script, its settings and, unless PostgreSQL is real, stand-ins."""

    def __init__(self, home: Path, storage: Path, cluster: str, path: Path | None = None) -> None:
        self.home, self.folder = home, home / "raybench"
        self.copies = storage / "backups" / cluster
        binaries = self.folder / "venv" / "bin"
        binaries.mkdir(parents=True)
        programs = {"python": f'exec {sys.executable} "$@"'} | ({} if path else STANDINS)
        for name, text in programs.items():
            (binaries / name).write_text(f"#!/bin/bash\n{text}\n")
            (binaries / name).chmod(0o755)
        shutil.copy(ROOT / "cluster" / "backup.sh", self.folder)
        (self.folder / "env").write_text(f"RAYBENCH_STORAGE={storage}\n")
        (home / "ray_bootstrap_config.yaml").write_text(f'{{"cluster_name": "{cluster}"}}')
        self.path = path or binaries

    def __call__(self, verb: str, code: int = 0) -> str:
        """What it says on both streams."""
        ours = {"HOME": str(self.home), "PATH": f"{self.path}:{os.environ['PATH']}"}
        command = [str(self.folder / "backup.sh"), verb]
        done = subprocess.run(
            command, env=os.environ | ours, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        return f"{done.stdout}{done.stderr}"

    def names(self, database: str = "raybench") -> list[str]:
        return sorted(path.name for path in self.copies.glob(f"{database}-*"))


def _earlier(head: Head, count: int) -> list[str]:
    """Whole copies of days gone by."""
    head("save")
    (now,) = head.names()
    text = (head.copies / now).read_bytes()
    (head.copies / now).unlink()
    made = [f"raybench-2001010{day + 1}T000000Z-{now[-69:]}" for day in range(count)]
    for name in made:
        (head.copies / name).write_bytes(text)
    return made


def test_the_newest_eight_are_kept(tmp_path: Path) -> None:
    head = Head(tmp_path / "head", tmp_path / "store", "mine")
    before = _earlier(head, 9)
    head("save")
    assert len(head.names()) == 8
    assert head.names()[:7] == before[2:]
    assert head.names("mlflow"), "each database has its own"


def test_a_dump_that_failed_takes_no_good_ones_place(tmp_path: Path) -> None:
    head = Head(tmp_path / "head", tmp_path / "store", "mine")
    before = _earlier(head, 8)
    (head.home / "broken").touch()
    head("save", code=1)
    assert head.names() == before


def test_the_one_before_is_taken_where_the_newest_is_cut(tmp_path: Path) -> None:
    head = Head(tmp_path / "head", tmp_path / "store", "mine")
    *_, before, newest = _earlier(head, 3)
    (head.copies / newest).write_bytes((head.copies / newest).read_bytes()[:-3])
    (head.copies / f"raybench-29990101T000000Z-{newest[-69:]}").write_bytes(b"")
    said = head("restore")
    assert f"{newest} is damaged; on to the one before" in said
    assert f"raybench: restored from {head.copies / before}" in said


def test_with_no_whole_one_nothing_begins_anew(tmp_path: Path) -> None:
    """An empty ledger would be saved, and soon be all that is there."""
    head = Head(tmp_path / "head", tmp_path / "store", "mine")
    (newest,) = _earlier(head, 1)
    (head.copies / newest).write_bytes(b"")
    assert "none of the copies of raybench is whole" in head("restore", code=1)


def test_two_clusters_on_one_storage_do_not_meet(tmp_path: Path) -> None:
    one, other = (Head(tmp_path / name, tmp_path / "store", name) for name in ("one", "other"))
    one("save")
    assert other("restore") == ""
    assert not (other.home / "restored").exists()
    assert len(one.names()) == 1 and other.names() == []
    assert "raybench: restored from" in one("restore")


def test_saved_and_restored(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real PostgreSQL."""
    found = programs()
    if found is None or not (found / "pg_dump").exists():
        missing("backups need pg_dump")
    assert found is not None
    head = Head(tmp_path / "head", tmp_path / "store", "mine", found)
    for name, value in {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGUSER": "postgres",
        "PGPASSWORD": postgres.password,
    }.items():
        monkeypatch.setenv(name, value)
    postgres.execute("create database raybench")
    postgres.execute("create database mlflow")
    assert head("restore") == ""  # nothing was ever saved
    engine = sa.create_engine(database_url(postgres.url("raybench")))
    with engine.begin() as connection:
        connection.execute(sa.text("create table trials as select 42 as number"))
    engine.dispose()
    head("save")
    assert len(head.names()) == len(head.names("mlflow")) == 1

    assert "raybench: restored" not in head("restore")  # never over what is there
    postgres.execute("drop database raybench")
    postgres.execute("create database raybench")
    assert "raybench: restored from" in head("restore")
    engine = sa.create_engine(database_url(postgres.url("raybench")))
    with engine.connect() as connection:
        assert connection.execute(sa.text("select number from trials")).scalar() == 42
    engine.dispose()
    postgres.execute("drop database raybench")
    postgres.execute("drop database mlflow")
