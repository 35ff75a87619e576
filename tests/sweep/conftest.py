"""The ledger's two databases: one contract, which the tests that ask for ``database`` hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.sweep.tables import open_engine
from tests.sweep import simulation

Database = Callable[[Path], str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    """URL of the ledger of a folder's home; ``simulation.Home`` takes it too."""
    if request.param == "sqlite":
        return simulation.ledger_url
    server, urls = request.getfixturevalue("postgres"), {}

    def url(folder: Path) -> str:
        if folder not in urls:
            urls[folder] = server.new_database()
        return str(urls[folder])

    monkeypatch.setattr(simulation, "ledger_url", url)
    return url


@pytest.fixture
def engine(database: Database, tmp_path: Path) -> Iterator[sa.Engine]:
    """Of a new ledger."""
    engine = open_engine(database(tmp_path), create=True)
    yield engine
    engine.dispose()
