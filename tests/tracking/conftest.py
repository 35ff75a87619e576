"""One empty MLflow store, made once (its migrations take seconds) and copied for each test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.sweep.database import database_url
from raybench.tracking.client import _let_go, connect
from tests.postgres_server import PostgresServer, free_port
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def addresses() -> Iterator[str]:
    """Of empty stores, one after the other; empty ones stand for a SQLite file of a home's own."""
    return itertools.repeat("")


@pytest.fixture
def new_store(
    tmp_path: Path, empty_database: Path, addresses: Iterator[str]
) -> Iterator[Callable[[str], Store]]:
    """Makes an empty store by name; closes its connections at the end."""
    stores: list[Store] = []

    def make(name: str) -> Store:
        folder = tmp_path / name
        folder.mkdir()
        address = next(addresses)
        if not address:
            shutil.copy(empty_database, folder / "mlflow.db")
        stores.append(Store(folder, tmp_path / "checkpoints", address=address))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="session")
def empty_on_postgres(postgres: PostgresServer) -> str:
    """Name of a database with MLflow's tables, to be copied: to make them takes seconds."""
    url = database_url(postgres.new_database())
    connect(url)
    _let_go(url)
    return url.rsplit("/", 1)[1]


@pytest.fixture(scope="session")
def served_by_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, empty_on_postgres: str
) -> Iterator[MlflowServer]:
    """A real server on PostgreSQL; no request has failed in it by the end."""
    folder = tmp_path_factory.mktemp("served-by-postgres")
    url = database_url(postgres.new_database(template=empty_on_postgres))
    server = MlflowServer(Store(folder, folder, address=url), free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()
    assert "Traceback" not in server.log()


def addresses_on_postgres(
    server: MlflowServer, postgres: PostgresServer, template: str
) -> Iterator[str]:
    """The server, whose earlier experiments make room; then databases beside it."""
    engine = sa.create_engine(server.store.uri)
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = '20s'"))
        connection.execute(sa.text("UPDATE experiments SET name = name || '-' || experiment_id"))
    engine.dispose()
    yield server.address
    while True:
        yield database_url(postgres.new_database(template=template))


@pytest.fixture
def kept_weights(tmp_path: Path) -> Path:
    """The checkpoints' folder with best weights of trials 0 and 1."""
    root = tmp_path / "checkpoints"
    for number in (0, 1):
        (root / "p" / str(number)).mkdir(parents=True)
        (root / "p" / str(number) / "best.safetensors").write_bytes(b"w")
    return root


@pytest.fixture(scope="module")
def mlflow_server(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> Iterator[MlflowServer]:
    """A real server (its start takes some eight seconds); its experiments are the tests' own."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(empty_database, folder / "mlflow.db")
    server = MlflowServer(Store(folder, folder), free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def store(new_store: Callable[[str], Store]) -> Store:
    return new_store("home")
