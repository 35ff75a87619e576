"""One empty MLflow store, made once (its migrations take seconds) and copied for each test."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raybench.tracking.client import connect
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(tmp_path: Path, empty_database: Path) -> Iterator[Callable[[str], Store]]:
    """Makes an empty store by name; closes its connections at the end."""
    stores: list[Store] = []

    def make(name: str) -> Store:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(empty_database, folder / "mlflow.db")
        stores.append(Store(folder, tmp_path / "checkpoints"))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = MlflowServer(Store(folder, folder), port)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def store(new_store: Callable[[str], Store]) -> Store:
    return new_store("home")
