"""A stand-in for S3 (moto's server) on loopback, as a child process with invented credentials."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from tests.postgres_server import missing

START_S = 60.0
BUCKET = "raybench-test"


@dataclass(frozen=True)
class ObjectStore:
    """``environ``: what a process needs to find it. ``bucket``: is there, and empty at first."""

    address: str
    bucket: str = BUCKET

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def object_store(folder: Path, host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """Runs one while the block lasts; its log goes to ``folder``. Skips where moto is missing."""
    if importlib.util.find_spec("moto") is None:
        missing("moto is not installed (pip install 'raybench[test]')")
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    store = ObjectStore(f"http://{host}:{port}")
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    with (folder / "object-store.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            env=os.environ | store.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while not _make_bucket(store):
            assert child.poll() is None and time.monotonic() < deadline, "it did not start"
            time.sleep(0.1)
        yield store
    finally:
        child.kill()
        child.wait()


def _make_bucket(store: ObjectStore) -> bool:
    request = Request(f"{store.address}/{store.bucket}", method="PUT")
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=5):
            return True
    except (URLError, OSError):
        return False
