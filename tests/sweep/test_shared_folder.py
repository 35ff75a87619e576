"""A home on a network file system, pretended by a list of mounts: lease, journal, readers' copy."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import raybench
from raybench.cli import main
from raybench.errors import HomeError, LeaseHeldError
from raybench.sweep import file_system, lease_files, reader_copy
from raybench.sweep import lease as lease_module
from raybench.sweep.file_system import network_type
from raybench.sweep.holder import Owner
from raybench.sweep.lease import LeaseLostError, acquire
from raybench.sweep.lease_files import LeaseFiles
from raybench.sweep.reader import SweepReader
from raybench.sweep.reader_copy import copy_of, renewed_copy
from raybench.sweep.tables import open_engine
from tests.specs import tiny_data, write_sweep

ELSEWHERE = replace(Owner.this_process(), host="node7", boot_id="another")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is NFS by the list of mounts."""
    folder = tmp_path / "shared home"
    folder.mkdir()
    mounts = tmp_path / "mountinfo"
    point = str(folder).replace(" ", "\\040")
    mounts.write_text(
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"90 21 0:60 / {point} rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2\n"
    )
    monkeypatch.setattr(file_system, "MOUNTINFO", mounts)
    return folder


def journal(ledger: Path) -> str:
    with closing(sqlite3.connect(ledger)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def pretend_elsewhere(ledger: Path, sweep: str, engine: sa.Engine) -> None:
    """The newest lease is that of a driver on another machine."""
    folder = ledger.parent / "leases" / sweep
    newest = max(folder.glob("*.json"))
    newest.write_text(json.dumps(asdict(ELSEWHERE)))
    with engine.begin() as connection:
        owner = json.dumps(asdict(ELSEWHERE))
        connection.execute(sa.text("UPDATE raybench_leases SET owner = :o"), {"o": owner})


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / /data rw - nfs4 b rw", "nfs4"),
        ("1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / /data/x rw - nfs4 b rw", None),
        ("1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / /dat rw - nfs4 b rw", None),
        ("1 0 0:1 / / rw - nfs a rw\n2 1 8:1 / /data rw shared:7 master:1 - xfs b rw", None),
        ("1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / /data rw - fuse.sshfs b rw", "fuse.sshfs"),
        ("1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / /data rw - fuse.fuse-overlayfs b rw", None),
        ("2 1 0:1 / /data rw - cifs b rw\n3 2 8:2 / /data rw - ext4 a rw", None),
        ("2 1 8:2 / /data rw - ext4 a rw\n3 2 0:1 / /data rw - lustre b rw", "lustre"),
        ("rubbish\n\n2 1 0:1 / /data rw\n", None),
    ],
)
def test_the_nearest_mount_counts_and_of_several_the_last(
    tmp_path: Path, mounts: str, kind: str | None
) -> None:
    (tmp_path / "mountinfo").write_text(mounts)
    assert network_type(Path("/data/home/ledger.db"), tmp_path / "mountinfo") == kind


def test_without_a_list_of_mounts_all_is_local(tmp_path: Path) -> None:
    assert network_type(tmp_path, tmp_path / "none") is None


def test_a_run_on_a_shared_folder(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No log beside the ledger, one lease file per attempt, a copy that is equal at the end."""
    file = write_sweep(shared / "tiny.yaml", tiny_data(final={"seeds": [0]}))
    for _ in range(2):
        raybench.run(file, home=shared / "home", inline=True, tracking=False)
    ledger = shared / "home" / "ledger.db"
    assert journal(ledger) == "delete"
    assert not list(ledger.parent.glob("*-wal"))
    names = sorted(path.name for path in (shared / "home" / "leases" / "tiny").iterdir())
    assert names == ["000001.json", "000001.released", "000002.json", "000002.released"]
    original = raybench.open("tiny", shared / "home").snapshot()
    shutil.move(copy_of(ledger), shared / "copied.db")
    engine = open_engine(f"sqlite:///{shared / 'copied.db'}", create=False)
    assert SweepReader(engine, "tiny").snapshot() == original
    assert original.lease is None and original.attempt == 2
    engine.dispose()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_readers_elsewhere_get_the_copy(
    shared: Path,
    finished_home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = shared / "home" / "ledger.db"
    ledger.parent.mkdir()
    with closing(sqlite3.connect(finished_home / "ledger.db")) as source:
        source.execute("VACUUM INTO ?", (str(ledger),))
    engine = open_engine(f"sqlite:///{ledger}", create=True)
    lease = acquire(engine, "tiny")
    pretend_elsewhere(ledger, "tiny", engine)
    assert main(["status", "--home", str(shared / "home")]) == 3
    assert "a driver on node7 writes the ledger" in capsys.readouterr().err
    monkeypatch.setattr(reader_copy, "RENEW_S", 0.05)
    with renewed_copy(ledger):
        pass
    with engine.begin() as connection:  # not in the copy any more
        connection.execute(sa.text("UPDATE raybench_sweeps SET attempt = 7"))
    seen = raybench.open("tiny", shared / "home").snapshot()
    assert seen.attempt == 1 and len(seen.pairs[0].trials) == 4
    assert main(["report", "--json", "--home", str(shared / "home")]) == 0
    lease.release()
    assert raybench.open("tiny", shared / "home").snapshot().attempt == 7
    engine.dispose()


def test_the_copy_follows_and_is_whole(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed when something has happened, and never half of it."""
    monkeypatch.setattr(reader_copy, "RENEW_S", 0.02)
    ledger = shared / "ledger.db"
    engine = open_engine(f"sqlite:///{ledger}", create=True)
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("CREATE TABLE trials (state TEXT)")
        connection.execute("CREATE TABLE trial_user_attributes (trial_user_attribute_id INTEGER)")
        copier = reader_copy._Copier(ledger)
        copier._renew()
        first = copy_of(ledger).stat().st_ino
        copier._renew()
        assert copy_of(ledger).stat().st_ino == first
        connection.execute("INSERT INTO trials VALUES ('RUNNING')")
        connection.commit()
    copier._renew()
    with closing(sqlite3.connect(copy_of(ledger))) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert copy.execute("SELECT state FROM trials").fetchall() == [("RUNNING",)]
    assert [p.name for p in shared.iterdir() if p.name.startswith(".")] == []
    engine.dispose()


def test_a_ledger_with_a_log_is_converted_where_nobody_uses_it(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, finished_home: Path
) -> None:
    """A home that came from a local disk, its log with committed rows beside it."""
    local = tmp_path / "local"
    local.mkdir()
    with closing(sqlite3.connect(finished_home / "ledger.db")) as source:
        source.execute("VACUUM INTO ?", (str(local / "ledger.db"),))
    with closing(sqlite3.connect(local / "ledger.db")) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("UPDATE raybench_sweeps SET attempt = 41")
        writer.commit()
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(local / name, shared / name)
    with closing(sqlite3.connect(shared / "ledger.db")) as user:
        user.execute("SELECT * FROM raybench_sweeps").fetchone()
        with pytest.raises(HomeError, match="written on a local disk.*nfs4.*end what uses it"):
            raybench.open("tiny", shared)
    assert raybench.open("tiny", shared).snapshot().attempt == 41
    assert journal(shared / "ledger.db") == "delete"
    assert not (shared / "ledger.db-wal").exists()


def test_who_has_the_next_file_has_the_lease(shared: Path) -> None:
    """Even where the row says otherwise, as with locks that do not hold between hosts."""
    engine = open_engine(f"sqlite:///{shared / 'ledger.db'}", create=True)
    lease = acquire(engine, "s")
    other = LeaseFiles(shared / "leases" / "s")
    assert other.take(2, json.dumps(asdict(ELSEWHERE)))
    with engine.begin() as connection, pytest.raises(LeaseLostError):
        lease.fence(connection)
    lease.release()
    with pytest.raises(LeaseHeldError, match="node7"):
        acquire(engine, "s", lambda said: lease._engine and beat(engine), silence_s=0.1)
    third = acquire(engine, "s", silence_s=0.1)
    assert third.attempt == 3
    third.release()
    engine.dispose()


def beat(engine: sa.Engine) -> None:
    """As the holder elsewhere does, whose row is written by now."""
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE raybench_leases SET sequence = sequence + 1"))


def test_a_file_taken_meanwhile_is_a_refusal(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the row and the taking."""
    engine = open_engine(f"sqlite:///{shared / 'ledger.db'}", create=True)
    monkeypatch.setattr(LeaseFiles, "newest", lambda self: (0, json.dumps(asdict(ELSEWHERE))))
    LeaseFiles(shared / "leases" / "s").take(1, "{}")
    with pytest.raises(LeaseHeldError, match="node7"):
        acquire(engine, "s", silence_s=0.0)
    engine.dispose()


def stale(*arguments: object) -> None:
    raise OSError(errno.ESTALE, "Stale file handle")


def test_a_file_server_that_stumbles_does_not_end_the_renewal(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be written meanwhile is refused, in words."""
    monkeypatch.setattr(lease_module, "RENEW_S", 0.01)
    engine = open_engine(f"sqlite:///{shared / 'ledger.db'}", create=True)
    lease = acquire(engine, "s")
    asked = threading.Event()

    def stumble(*arguments: object) -> None:
        asked.set()
        stale()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", stumble)
        assert asked.wait(10)
        with engine.begin() as connection, pytest.raises(HomeError, match="Stale file handle"):
            lease.fence(connection)
        with pytest.raises(HomeError, match="give the same command again"):
            acquire(engine, "another")
    assert not lease.lost
    stood_at, until = sequence(engine), time.monotonic() + 10
    while sequence(engine) == stood_at and time.monotonic() < until:
        time.sleep(0.01)
    assert sequence(engine) > stood_at
    lease.release()
    engine.dispose()


def sequence(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.text("SELECT sequence FROM raybench_leases")) or 0)


def test_one_that_stumbles_at_the_end_leaves_the_lease(
    shared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(f"sqlite:///{shared / 'ledger.db'}", create=True)
    lease = acquire(engine, "s")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", stale)
        lease.release()
    assert "its lease was not given back" in caplog.text and "Stale file handle" in caplog.text
    second = acquire(engine, "s")
    assert second.attempt == 2
    second.release()
    engine.dispose()


def test_a_name_that_was_missing_is_looked_for_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS remembers for a minute that there was no such name; the list of them is asked for."""
    files = LeaseFiles(tmp_path / "s")
    assert files.is_newest(0) and files.newest() == (0, None)
    assert files.take(1, "{}") and files.holder() == "{}"
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert files.is_newest(1) and files.take(2, "{}")
    assert not files.is_newest(1) and files.is_newest(2)
    files.release(2)
    assert files.holder() is None


RACE = """
import sys
from pathlib import Path
from raybench.sweep import lease_files
from raybench.sweep.lease_files import LeaseFiles
if sys.argv[2] == "no links":
    def refuse(*paths):
        raise PermissionError("Operation not permitted")
    lease_files.os.link = refuse
files = LeaseFiles(Path(sys.argv[1]))
for line in sys.stdin:
    print(int(files.take(int(line), '{"number": %s}' % sys.argv[3])), flush=True)
"""


@pytest.mark.parametrize("links", ["links", "no links"])
def test_of_many_processes_one_makes_each_file(tmp_path: Path, links: str) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), links, str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(8)
    ]  # fmt: skip
    for attempt in range(1, 21):
        for racer in racers:
            racer.stdin.write(f"{attempt}\n")  # type: ignore[union-attr]
        for racer in racers:
            racer.stdin.flush()  # type: ignore[union-attr]
        won = [int(racer.stdout.readline()) for racer in racers]  # type: ignore[union-attr]
        assert sum(won) == 1
        owner = json.loads((tmp_path / f"{attempt:06d}.json").read_text())
        assert won[owner["number"]] == 1
    for racer in racers:
        racer.communicate(timeout=10)
    assert len(list(tmp_path.iterdir())) == 20


def test_an_answer_that_the_file_server_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS repeats a request: the link was made by the first, and the second says it exists."""
    link: Callable[..., None] = lease_files.os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(lease_files.os, "link", twice)
    assert LeaseFiles(tmp_path).take(1, "{}")
