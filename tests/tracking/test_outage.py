"""Sweeps beside an MLflow that is slow, silent, forgetful, refusing or gone. Real servers.

Whatever it does, the sweep ends as without it, and in the end MLflow holds each run once, equal to
what an undisturbed store is given from the same ledger.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raybench.library import run_sweep_file, sync
from raybench.records import EpochRecord
from raybench.sweep import run as sweep_run
from raybench.sweep.inline import run_trial
from raybench.sweep.run import RunResult
from tests.specs import tiny_data, write_sweep
from tests.tracking.faulty_proxy import FaultyProxy, faulty_proxy
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store

pytestmark = pytest.mark.slow
RUNS = 5  # a pair, two search trials, two finals
NewStore = Callable[[str], Store]


@pytest.fixture
def proxy(mlflow_server: MlflowServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(mlflow_server.port) as proxy:
        yield proxy


@dataclass
class Bench:
    """One home with a sweep of its own name."""

    folder: Path
    name: str
    served: Store
    undisturbed: Store
    monkeypatch: pytest.MonkeyPatch

    def run(self, uri: str, flush_s: float = 30.0) -> RunResult:
        self.monkeypatch.setenv("RAYBENCH_TRACKING_URI", uri)
        self.monkeypatch.setattr(sweep_run, "FLUSH_S", flush_s)
        file = write_sweep(self.folder / "sweep.yaml", tiny_data(name=self.name))
        return run_sweep_file(file, home=self.folder / "home", inline=True)

    def sync(self, uri: str) -> None:
        self.monkeypatch.setenv("RAYBENCH_TRACKING_URI", uri)
        sync(self.name, self.folder / "home")

    def check_arrived(self) -> None:
        """Each run once, and all of it as an undisturbed store gets it."""
        self.sync(self.undisturbed.uri)
        arrived = self.served.state(self.name)
        assert len(arrived) == RUNS
        assert arrived == self.undisturbed.state(self.name)
        assert len(self.served.models(self.name)) == len(self.undisturbed.models(self.name))


@pytest.fixture
def bench(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    new_store: NewStore,
    mlflow_server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    monkeypatch.chdir(tmp_path)  # a database that is no home's: MLflow puts files into ./mlruns
    return Bench(tmp_path, name, mlflow_server.store, new_store("undisturbed"), monkeypatch)


def test_a_silent_server_delays_no_step(bench: Bench, proxy: FaultyProxy) -> None:
    """Not one answer before the last trial has ended: a driver that waited would never end."""
    proxy.answering.clear()
    result = bench.run(proxy.uri, flush_s=0.5)
    assert result.exit_code == 0
    assert result.tracking_problem is not None
    assert "not up to date: it has not answered yet" in result.tracking_problem
    assert "'raybench sync' sends the rest" in result.tracking_problem
    proxy.answering.set()
    for _ in range(2):
        bench.sync(proxy.uri)
    bench.check_arrived()


def test_down_for_good(bench: Bench, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    proxy.down()
    result = bench.run(proxy.uri)
    assert result.exit_code == 0
    assert f"{proxy.uri} cannot be reached; start the server" in (result.tracking_problem or "")
    told = [r for r in caplog.records if "MLflow" in r.getMessage()]
    assert len(told) == 1, caplog.text
    proxy.up()
    for _ in range(2):
        bench.sync(proxy.uri)
    bench.check_arrived()


@pytest.mark.parametrize("retries", [None, "5"])
def test_lost_answers_double_nothing(bench: Bench, proxy: FaultyProxy, retries: str | None) -> None:
    """The server has heard the request; MLflow's own client would repeat it."""
    if retries is not None:
        bench.monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    proxy.forget = ["runs/create", "runs/create", "logged-models"]
    result = bench.run(proxy.uri)
    assert proxy.forget == []
    assert (result.exit_code, result.tracking_problem) == (0, None)
    assert proxy.count("runs/create") == RUNS
    bench.check_arrived()


def test_a_slow_server_is_not_waited_for_without_end(bench: Bench, proxy: FaultyProxy) -> None:
    proxy.delay_s = 0.2
    result = bench.run(proxy.uri, flush_s=0.2)
    assert result.exit_code == 0
    assert "MLflow is not up to date" in (result.tracking_problem or "")
    bench.sync(proxy.uri)
    bench.check_arrived()


def test_a_server_that_refuses_the_hosts_name(bench: Bench, proxy: FaultyProxy) -> None:
    """MLflow's own middleware answers 403; its ``/health`` would not."""
    proxy.host = "mlflow.internal:5000"
    result = bench.run(proxy.uri)
    assert result.exit_code == 0
    assert "mlflow server --allowed-hosts 127.0.0.1" in (result.tracking_problem or "")
    proxy.host = None
    bench.sync(proxy.uri)
    bench.check_arrived()


def test_killed_and_started_again_while_the_sweep_runs(
    bench: Bench, mlflow_server: MlflowServer
) -> None:
    uri = f"http://127.0.0.1:{mlflow_server.port}"
    trials = 0

    def fragile(*arguments: Any, **options: Any) -> Iterator[EpochRecord]:
        nonlocal trials
        trials += 1
        if trials == 2:
            mlflow_server.kill()
        if trials == 4:
            mlflow_server.start()
        return run_trial(*arguments, **options)

    bench.monkeypatch.setattr("raybench.sweep.inline.run_trial", fragile)
    result = bench.run(uri)
    assert trials == 4
    assert (result.exit_code, result.tracking_problem) == (0, None)
    bench.check_arrived()


def test_a_locked_database_holds_up_only_tracking(
    bench: Bench, new_store: NewStore, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow waits 5 s for it when it opens the store, 20 s later on; and logs tracebacks."""
    bench.served = new_store("locked")
    place = bench.served.folder / "mlflow.db"
    with closing(sqlite3.connect(place)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        result = bench.run(bench.served.uri)
    assert result.exit_code == 0
    assert f"another program holds MLflow's database {place} locked" in str(result.tracking_problem)
    assert "Traceback" not in caplog.text
    bench.sync(bench.served.uri)
    bench.check_arrived()
