"""The tracking thread: keeps up, survives anything, delays nobody."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raybench.records import SweepSnapshot
from raybench.tracking.client import open_projection
from raybench.tracking.worker import TrackingThread
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_state import Store

PATIENCE_S = 20.0


class Sink:
    """A projection that keeps what it was given, and fails or hangs on request."""

    def __init__(self) -> None:
        self.applied: list[SweepSnapshot] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def apply(self, snapshot: SweepSnapshot) -> None:
        self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.applied.append(snapshot)

    def trials(self) -> list[list[str]]:
        return [[t.key for p in s.pairs for t in p.trials] for s in self.applied]


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger(pair(trial(0, (0.5,))))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def worker(ledger: FakeLedger, sink: Sink) -> Iterator[TrackingThread]:
    thread = TrackingThread(lambda: ledger, lambda: sink, poll_s=0.01)
    thread.start()
    yield thread
    sink.gate.set()
    thread.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_sends_all_then_only_what_changed(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    assert worker.flush(PATIENCE_S)
    ledger.put(trial(1, (0.6,)))
    wait_until(lambda: ["p/search/1"] in sink.trials())
    assert sink.trials()[0] == ["p/search/0"]
    assert sum("p/search/1" in keys for keys in sink.trials()) == 1


def test_without_changes_nothing_is_sent(worker: TrackingThread, sink: Sink) -> None:
    assert worker.flush(PATIENCE_S)
    sent = len(sink.applied)
    time.sleep(0.1)
    assert len(sink.applied) == sent


def test_a_new_winner_is_sent_with_the_finals_that_it_replaces(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    """``superseded`` is derived: the old final's own rows do not change."""
    ledger.put(final(0, 0.9))
    assert worker.flush(PATIENCE_S)
    ledger.put(trial(1, (0.99,)))
    assert worker.flush(PATIENCE_S)
    assert any({"p/search/1", "p/final/0"} <= set(keys) for keys in sink.trials())


def test_flush_sends_a_pair_whose_state_alone_changed(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    assert worker.flush(PATIENCE_S)
    ledger.put(trial(0, (0.5,)), state="incomplete")
    assert worker.flush(PATIENCE_S)
    assert sink.applied[-1].pairs[0].state == "incomplete"


def test_an_outage_is_told_once_and_made_up_for(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "raybench.tracking.worker")
    assert worker.flush(PATIENCE_S)
    sink.error = ConnectionError("http://anna:secret@mlflow.example:5000 refused")
    ledger.put(trial(1, (0.6,)))
    for _ in range(3):
        assert not worker.flush(PATIENCE_S)
    assert worker.problem is not None and "raybench sync" in worker.problem
    assert "secret" not in worker.problem + caplog.text
    sink.error = None
    wait_until(lambda: worker.problem is None)
    assert worker.flush(PATIENCE_S)
    assert "p/search/1" in sink.trials()[-2] + sink.trials()[-1]
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]


def test_a_hanging_server_holds_up_neither_flush_nor_stop(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    assert worker.flush(PATIENCE_S)
    sink.gate.clear()
    ledger.put(trial(1, (0.6,)))
    began = time.monotonic()
    assert not worker.flush(0.1)
    worker.stop(0.1)
    assert time.monotonic() - began < PATIENCE_S / 2


def test_factories_run_in_the_thread_and_may_fail(ledger: FakeLedger, sink: Sink) -> None:
    threads: list[str] = []

    def factory() -> Sink:
        threads.append(threading.current_thread().name)
        if len(threads) == 1:
            raise OSError("disk full")
        return sink

    worker = TrackingThread(lambda: ledger, factory, poll_s=0.01)
    worker.start()
    wait_until(lambda: bool(sink.applied))
    worker.stop()
    assert threads == ["raybench-tracking"] * 2


def test_stop_without_start_returns() -> None:
    TrackingThread(lambda: FakeLedger(), Sink).stop()


def test_a_refused_connection_is_a_problem_then_recovers(
    ledger: FakeLedger, store: Store, tmp_path: Path
) -> None:
    """The real client against a dead port, then the store is back."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uris = [f"http://127.0.0.1:{closed.getsockname()[1]}"]
    worker = TrackingThread(
        lambda: ledger, lambda: open_projection(uris[-1], None, tmp_path), poll_s=0.05
    )
    worker.start()
    assert not worker.flush(PATIENCE_S)
    assert worker.problem is not None
    uris.append(store.uri)
    ledger.put(final(0, 0.9))
    wait_until(lambda: worker.problem is None)
    assert worker.flush(PATIENCE_S)
    worker.stop()
    assert set(store.runs()) == {"p", "p/search/0", "p/final/0"}
