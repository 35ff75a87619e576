"""A PostgreSQL server of the tests' own: Debian's, as user ``postgres``, on a private folder.

One per test session, a fresh database per test. It is stopped by its own pid.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.sweep.database import database_url

START_S = 30.0
REQUIRED = "RAYBENCH_TEST_SERVERS"
"""Where it is 1, as in CI, a missing server is a failure and no reason to skip."""
_USER = "postgres"
# Nothing of it outlives the machine, so nothing needs to reach the disk; what is committed does
# outlive the server (``synchronous_commit`` stays on).
_OPTIONS = ("fsync=off", "full_page_writes=off")


def missing(what: str) -> None:
    """Skip with a reason, or fail where CI has promised the server."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{what}, and {REQUIRED}=1 says that it must be here")
    pytest.skip(what)


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: the newest that Debian has installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    onpath = shutil.which("postgres")
    return None if onpath is None else Path(onpath).parent


@dataclass
class PostgresServer:
    """A running server; ``password`` is that of its only user."""

    folder: Path
    port: int
    password: str
    _programs: Path
    _child: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database, over loopback and with the password in it."""
        return f"postgresql://{_USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """URL of an empty database, or of a copy of one that nobody uses."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        """One statement outside any transaction, on the server's own database."""
        address = database_url(self.url("postgres"))
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
        engine.dispose()

    def start(self) -> None:
        """Returns once it answers."""
        data = str(self.folder / "data")
        command = [str(self._programs / "postgres"), "-D", data, "-k", str(self.folder)]
        command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        for option in _OPTIONS:
            command += ["-c", option]
        with (self.folder / "server.log").open("ab") as log:
            self._child = subprocess.Popen(
                [*_as_postgres(), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._child.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """Cut off whoever is connected (SIGINT, ``fast``); what is committed stays."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a machine that goes down: recovery at the next start."""
        self._end(signal.SIGQUIT)

    def _end(self, number: int) -> None:
        if self._child is not None:
            self._child.send_signal(number)
            self._child.wait(START_S)
            self._child = None

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A new server; skips where PostgreSQL is not installed."""
    found = programs()
    if found is None:
        missing("PostgreSQL is not installed (apt-get install postgresql)")
        return
    # Not pytest's folder: user postgres must be able to pass through, and sockets' paths be short.
    folder = Path(tempfile.mkdtemp(prefix="rbpg-"))
    server = PostgresServer(folder, free_port(), f"canary-{uuid.uuid4().hex}", found)
    try:
        _make_cluster(server)
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _make_cluster(server: PostgresServer) -> None:
    password = server.folder / "password"
    password.write_text(server.password)
    if os.geteuid() == 0:
        for path in (server.folder, password):
            shutil.chown(path, _USER)
    initdb = [str(server._programs / "initdb"), "-D", str(server.folder / "data"), "-U", _USER]
    initdb += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "--encoding=UTF8"]
    done = subprocess.run(
        [*_as_postgres(), *initdb, "--locale=C"], cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _as_postgres() -> list[str]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--"]


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
