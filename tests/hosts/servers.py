"""Servers inside a host: PostgreSQL reached by its socket, and a stand-in for S3 (moto's)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.hosts.host import Host

BUCKET = "raybench-test"
_S3_PORT = 9000
_DATA = "/tmp/postgres"
# Nothing of it outlives the test, so nothing needs to reach the disk.
_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def start_postgres(host: Host, databases: tuple[str, ...]) -> None:
    """Debian's, as user ``postgres``, without any password.

    On the socket the host's root is let in as himself (``peer``), and owns the ``databases``; the
    network is not listened on.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    host.run("install", "-d", "-o", "postgres", "/run/postgresql", _DATA)
    initdb = [str(programs / "initdb"), "-D", _DATA, "--no-sync", "--locale=C", "--encoding=UTF8"]
    host.run(*_as_postgres(), *initdb, "--auth-local=peer", "--auth-host=reject")
    serve = [str(programs / "postgres"), "-D", _DATA, "-k", "/run/postgresql"]
    for option in ("listen_addresses=", *_OPTIONS):
        serve += ["-c", option]
    host.start(*_as_postgres(), *serve, log="postgres.txt")
    create = (*_as_postgres(), str(programs / "createuser"), "root")
    host.until(lambda: host.run(*create, check=False).returncode == 0, "its PostgreSQL")
    for name in databases:
        host.run(*_as_postgres(), str(programs / "createdb"), "--owner=root", name)


def _as_postgres() -> tuple[str, ...]:
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")


def start_object_store(host: Host) -> Mapping[str, str]:
    """Serves an empty bucket ``BUCKET``; the variables by which other hosts' processes find it."""
    address = f"http://{host.address}:{_S3_PORT}"
    moto = ("-m", "moto.server", "-H", host.address, "-p", str(_S3_PORT))
    host.start("python", *moto, log="object-store.txt")
    put = f"import urllib.request as r; r.urlopen(r.Request('{address}/{BUCKET}', method='PUT'))"
    make = ("python", "-c", put)
    host.until(lambda: host.run(*make, check=False).returncode == 0, "its object store")
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
