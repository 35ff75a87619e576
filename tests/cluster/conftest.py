"""A stand-in cluster for every test here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.standin import JobsServer, jobs_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsServer]:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with jobs_server() as server:
        yield server
