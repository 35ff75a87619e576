"""Runs that the ledger does not have: deleted where they are its own past, else left alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from raybench.records import TrialRow
from tests.tracking.fake_ledger import FakeLedger, epoch, pair, trial, with_weights
from tests.tracking.mlflow_state import Store

NewStore = Callable[[str], Store]
pytestmark = pytest.mark.usefixtures("kept_weights")


def restored(row: TrialRow, change: str) -> FakeLedger:
    """A ledger whose backup was put back, and that went another way from there."""
    epochs = row.epochs
    if change == "unknown":
        return FakeLedger(pair())
    if change == "params":
        return FakeLedger(pair(dataclasses.replace(row, params={"lr": 0.5})))
    if change == "epochs":
        later = dataclasses.replace(epochs[1], finished_at=epochs[1].finished_at + 999)
        return FakeLedger(pair(dataclasses.replace(row, epochs=(epochs[0], later))))
    assert row.end is not None
    end = dataclasses.replace(row.end, finished_at=row.end.finished_at + 999)
    return FakeLedger(pair(dataclasses.replace(row, end=end)))


@pytest.mark.parametrize("change", ["unknown", "params", "epochs", "end"])
def test_runs_of_a_past_that_the_ledger_has_lost_make_room(
    new_store: NewStore, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    live, rebuilt = new_store("live"), new_store("rebuilt")
    row = with_weights(trial(0, (0.5, 0.7)))
    live.send(FakeLedger(pair(row)))
    before = live.runs()
    for _ in range(2):
        live.send(restored(row, change))
    rebuilt.send(restored(row, change))
    assert live.state() == rebuilt.state()
    assert len(live.models()) == len(rebuilt.models())
    assert not {r.info.run_id for r in before.values()} & {
        r.info.run_id for r in live.runs().values()
    }
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "held 1 run that" in caplog.text


def test_a_ledger_without_identity_deletes_nothing(store: Store) -> None:
    store.send(FakeLedger(pair(trial(0, (0.5,))), ledger_id=""))
    store.send(FakeLedger(pair(), ledger_id=""))
    assert "p/search/0" in store.runs()


@pytest.fixture
def shared(store: Store) -> Store:
    """A server, as far as this is about: nobody's own store."""
    store.own = False
    return store


def test_a_copied_home_leaves_the_originals_runs_on_a_shared_store(
    shared: Store, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [trial(number, (0.5, 0.7)) for number in range(3)]
    shared.send(FakeLedger(pair(*rows)))
    before = shared.runs()
    session = shared.session(FakeLedger(pair(rows[0])))
    for _ in range(2):
        session.project(to_the_end=True)
    assert {key: run.info.run_id for key, run in shared.runs().items()} == {
        key: run.info.run_id for key, run in before.items()
    }
    (told,) = caplog.records
    assert told.getMessage() == (
        "MLflow holds 2 runs of this sweep that this ledger does not have; they are left alone"
    )


def test_it_is_told_once_however_often_all_is_compared(
    shared: Store, caplog: pytest.LogCaptureFixture
) -> None:
    shared.send(FakeLedger(pair(trial(0, (0.5,)), trial(1, (0.6,)))))
    session = shared.session(FakeLedger(pair(trial(0, (0.5,)))))
    session.project(to_the_end=True)
    for _ in range(2):
        shared.client.delete_run(shared.runs()["p/search/0"].info.run_id)
        session.project(to_the_end=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert set(shared.runs()) == {"p", "p/search/0", "p/search/1"}


def test_what_a_copied_home_adds_stands_beside_the_originals(shared: Store) -> None:
    mine, hers = trial(1, (0.6,)), dataclasses.replace(trial(2, (0.7,)), params={"lr": 0.3})
    for row in (mine, hers, mine):
        shared.send(FakeLedger(pair(trial(0, (0.5,)), row)))
    assert set(shared.runs()) == {"p", "p/search/0", "p/search/1", "p/search/2"}


@pytest.mark.parametrize("change", ["params", "epochs", "end"])
def test_a_known_trials_run_of_another_past_is_replaced_on_a_shared_store(
    shared: Store, new_store: NewStore, change: str
) -> None:
    rebuilt = new_store("rebuilt")
    row = with_weights(trial(0, (0.5, 0.7)))
    shared.send(FakeLedger(pair(row)))
    shared.send(restored(row, change))
    rebuilt.send(restored(row, change))
    assert shared.state() == rebuilt.state()


def test_a_trial_asked_for_while_its_run_was_left_alone_gets_its_own(
    shared: Store, new_store: NewStore
) -> None:
    """The ledger was put back from a copy, on a server: trial 1 comes again, and otherwise."""
    rebuilt = new_store("rebuilt")
    shared.send(FakeLedger(pair(trial(0, (0.5,)), trial(1, (0.6, 0.7)))))
    ledger = FakeLedger(pair(trial(0, (0.5,))))
    session = shared.session(ledger)
    session.project(to_the_end=True)
    again = dataclasses.replace(trial(1), params={"lr": 0.4}, epochs=(epoch(9, 0.9),))
    ledger.put(dataclasses.replace(again, state="running", end=None))
    session.project(to_the_end=False)
    ledger.put(again)
    session.project(to_the_end=True)
    rebuilt.send(ledger)
    assert shared.state() == rebuilt.state()
