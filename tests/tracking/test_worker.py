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
        self.failures: list[Exception] = []  # of the next calls of apply
        self.between = lambda key: None  # called after each run
        self.tracking_uri = "http://anna:secret@mlflow.example:5000"
        self.looks: list[bool] = []  # what the next looks find; then all is as it was left

    def look(self, header: SweepSnapshot) -> bool:
        self._answer()
        return self.looks.pop(0) if self.looks else True

    def apply(self, snapshot: SweepSnapshot, sent: Callable[[str], None]) -> None:
        self._answer()
        if self.failures:
            raise self.failures.pop(0)
        self.applied.append(snapshot)
        for pair_row in snapshot.pairs:
            for row in pair_row.trials:
                sent(row.key)
                self.between(row.key)
            sent(pair_row.id)
            self.between(pair_row.id)

    def _answer(self) -> None:
        self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error

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


def test_each_kind_of_trouble_is_told_once_however_often_it_comes(
    worker: TrackingThread, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    for words in ["Connection refused", "Read timed out"] * 3:
        sink.error = ConnectionError(words)
        assert not worker.flush(PATIENCE_S)
        sink.error = None
        assert worker.flush(PATIENCE_S)
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == 2
    assert "cannot be reached" in told[0] and "takes too long" in told[1]


def test_a_store_that_answers_is_asked_again_before_anybody_is_told(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost answer, or a run that another writer has deleted: a new look mends it."""
    assert worker.flush(PATIENCE_S)
    sink.failures = [ConnectionError("the connection was closed"), KeyError("run is deleted")]
    ledger.put(trial(1, (0.6,)))
    assert worker.flush(PATIENCE_S)
    assert sink.failures == []
    assert {"p/search/0", "p/search/1"} <= set(sink.trials()[-1])
    assert not caplog.records


def test_what_a_look_finds_changed_is_sent_anew(worker: TrackingThread, sink: Sink) -> None:
    assert worker.flush(PATIENCE_S)
    sent, sink.looks = len(sink.applied), [False]
    assert worker.flush(PATIENCE_S)
    assert sink.trials()[sent:][-1] == ["p/search/0"]


def test_the_end_says_how_much_a_slow_server_has_not_taken(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    assert worker.flush(PATIENCE_S)
    reached = threading.Event()

    def stall(key: str) -> None:
        if key == "p/search/2":
            reached.set()
            sink.gate.clear()
            sink.gate.wait(PATIENCE_S)

    sink.between = stall
    for number in (1, 2, 3):
        ledger.put(trial(number, (0.6,)))
    wait_until(reached.is_set)
    said = worker.finish(lambda: 0.1)
    assert said is not None
    assert "2 of 5 runs have not been sent" in said  # trial 3 and the pair
    assert "'raybench sync' sends the rest" in said


def test_all_sent_but_not_looked_at_again_is_said_so(worker: TrackingThread, sink: Sink) -> None:
    assert worker.flush(PATIENCE_S)
    sink.between = lambda key: sink.gate.clear()  # the next look hangs
    said = worker.finish(lambda: 0.1)
    assert said is not None and "the last look at it is not done" in said


def test_a_store_that_is_back_at_the_end_gets_all(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    sink.error = ConnectionError("Connection refused")
    assert not worker.flush(PATIENCE_S)
    ledger.put(trial(1, (0.6,)))
    sink.error, sink.between = None, lambda key: time.sleep(0.05)  # slower than one look
    assert worker.finish(lambda: PATIENCE_S) is None
    assert {"p/search/0", "p/search/1"} <= set(sink.trials()[-1])


def test_a_thread_left_behind_ends_at_the_next_run(
    worker: TrackingThread, ledger: FakeLedger, sink: Sink
) -> None:
    """Else it writes beside the next driver's."""
    assert worker.flush(PATIENCE_S)
    sink.gate.clear()
    ledger.put(trial(1, (0.6,)))
    assert worker.finish(lambda: 0.05) is not None
    worker.stop(0.0)
    counted: list[str] = []
    sink.between = counted.append
    sink.gate.set()
    wait_until(lambda: not worker._thread.is_alive())
    assert counted == []


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
        lambda: ledger,
        lambda: open_projection(uris[-1], None, tmp_path, own_store=False),
        poll_s=0.05,
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
