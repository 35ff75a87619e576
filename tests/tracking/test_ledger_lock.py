"""Tracking never holds what the driver needs: the ledger takes writes while a reader is stuck."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.sweep.reader import SweepReader
from raybench.sweep.tables import open_engine
from raybench.tracking.worker import TrackingThread
from tests.tracking.test_worker import PATIENCE_S, Sink, wait_until


@pytest.fixture
def ledger_file(finished_home: Path, tmp_path: Path) -> Path:
    with (
        closing(sqlite3.connect(finished_home / "ledger.db")) as source,
        closing(sqlite3.connect(tmp_path / "ledger.db")) as copy,
    ):
        source.backup(copy)
    return tmp_path / "ledger.db"


@pytest.fixture
def engine(ledger_file: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{ledger_file}", create=True)
    yield engine
    engine.dispose()


def write_without_waiting(ledger_file: Path) -> None:
    """As the driver does, but with no patience at all: whoever holds a lock makes it fail."""
    with closing(sqlite3.connect(ledger_file, timeout=0, isolation_level=None)) as driver:
        driver.execute("BEGIN IMMEDIATE")
        driver.execute("UPDATE raybench_sweeps SET active_s = active_s + 1")
        driver.execute("COMMIT")


def test_a_stuck_projection_holds_nothing_of_the_ledger(
    ledger_file: Path, engine: sa.Engine
) -> None:
    sink, stuck = Sink(), threading.Event()

    def stall(key: str) -> None:
        stuck.set()
        sink.gate.clear()
        sink.gate.wait(PATIENCE_S)

    sink.between = stall
    worker = TrackingThread(lambda: SweepReader(engine, "tiny"), lambda: sink, poll_s=0.01)
    worker.start()
    wait_until(stuck.is_set)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    for _ in range(20):
        write_without_waiting(ledger_file)
    sink.between = lambda key: None
    sink.gate.set()
    worker.stop()


def test_a_reader_stuck_in_the_middle_lets_the_driver_write(
    ledger_file: Path, engine: sa.Engine
) -> None:
    """Write-ahead logging: the reader goes on with what was there when it began."""
    with engine.connect() as reading:
        rows = reading.execution_options(stream_results=True, yield_per=1).execute(
            sa.text("SELECT key FROM trial_user_attributes")
        )
        rows.fetchone()
        write_without_waiting(ledger_file)
        assert rows.fetchone() is not None


def test_the_driver_calls_tracking_at_its_start_and_its_end_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between them no call of the driver can wait, as there is none."""
    from raybench import library
    from raybench.sweep.ledger import Ledger
    from tests.specs import tiny_data, write_sweep

    order: list[str] = []
    write = Ledger.write_epoch

    class Spy:
        def start(self) -> None:
            order.append("start")

        def finish(self, allowed_s: object) -> str | None:
            return order.append("finish")

        def stop(self) -> None:
            order.append("stop")

    def written(*arguments: object) -> None:
        order.append("epoch")
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "write_epoch", written)
    factory = lambda settings: lambda reader: Spy()  # noqa: E731
    monkeypatch.setattr("raybench.publishing.tracker_factory", factory)
    file = write_sweep(tmp_path / "tiny.yaml", tiny_data(final={"seeds": [0]}))
    assert library.run_sweep_file(file, home=tmp_path / "home", inline=True).exit_code == 0
    assert order == ["start", *["epoch"] * 6, "finish", "stop"]
