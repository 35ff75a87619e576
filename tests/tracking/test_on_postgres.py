"""The projection's contract once more: a real MLflow server, and MLflow's tables, on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from raybench.sweep.database import database_url
from raybench.tracking.client import _let_go, connect
from raybench.tracking.sync import sync
from tests.postgres_server import PostgresServer
from tests.tracking.conftest import addresses_on_postgres
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store
from tests.tracking.test_projection import *  # noqa: F403 - the contract
from tests.tracking.test_sync import test_sync_fills_the_store_and_counts  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kept_weights")]


@pytest.fixture
def addresses(
    served_by_postgres: MlflowServer, postgres: PostgresServer, empty_on_postgres: str
) -> Iterator[str]:
    return addresses_on_postgres(served_by_postgres, postgres, empty_on_postgres)


def test_several_homes_at_once(store: Store, new_store: Callable[[str], Store]) -> None:
    """Six sweeps from six threads through one server; each holds what it would alone."""
    store.own = False
    ledgers = [
        FakeLedger(pair(trial(0, (0.5, n / 10)), trial(1, (0.6,)), final(0, 0.9)), sweep=f"s{n}")
        for n in range(6)
    ]
    homes = [
        threading.Thread(target=sync, args=(ledger, store.projection()), daemon=True)
        for ledger in ledgers
    ]
    for home in homes:
        home.start()
    deadline = time.monotonic() + 90
    for home in homes:
        home.join(max(0.0, deadline - time.monotonic()))
    assert not any(home.is_alive() for home in homes)
    alone = new_store("alone")
    alone.own = False
    for ledger in ledgers:
        alone.send(ledger)
        assert store.state(ledger.sweep) == alone.state(ledger.sweep)


def test_first_starts_at_once_make_the_tables_once(postgres: PostgresServer) -> None:
    url = database_url(postgres.new_database())
    failed: list[Exception] = []

    def start() -> None:
        try:
            connect(url).search_experiments()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failed.append(error)

    drivers = [threading.Thread(target=start) for _ in range(4)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(120)
    assert failed == []
    _let_go(url)


def test_the_server_gets_over_a_database_that_was_restarted(
    store: Store, postgres: PostgresServer
) -> None:
    """Its pool holds connections that are dead by then."""
    ledger = FakeLedger(pair(trial(0, (0.5,))))
    sync(ledger, store.projection())
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    postgres.execute(kill)
    ledger.put(trial(1, (0.7, 0.8)))
    sync(ledger, store.projection(), pauses_s=(0.2, 1.0, 3.0))
    assert set(store.runs()) == {"p", "p/search/0", "p/search/1"}
