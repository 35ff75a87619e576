"""MLflow against the ledger, on a real SQLite store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from raybench.records import EndRecord, TrialRow
from tests.tracking.fake_ledger import START, FakeLedger, epoch, final, pair, trial, with_weights
from tests.tracking.mlflow_state import Store

NewStore = Callable[[str], Store]
pytestmark = pytest.mark.usefixtures("kept_weights")


def life_of_a_sweep() -> list[tuple[TrialRow, str]]:
    """Trials as they are committed one after the other, with the pair's state."""
    whole = with_weights(trial(0, (0.5, 0.7, 0.6)))
    failed = trial(2)
    assert failed.end is not None
    end = dataclasses.replace(failed.end, state="failed", failure="diverged", reason="loss is NaN")
    return [
        (dataclasses.replace(whole, state="waiting", epochs=(), end=None), "searching"),
        (dataclasses.replace(whole, state="running", epochs=(), end=None), "searching"),
        (
            dataclasses.replace(whole, state="running", epochs=whole.epochs[:1], end=None),
            "searching",
        ),
        (
            dataclasses.replace(whole, state="waiting", epochs=whole.epochs[:2], end=None),
            "searching",
        ),
        (
            dataclasses.replace(whole, state="running", epochs=whole.epochs[:2], end=None),
            "searching",
        ),
        (whole, "searching"),
        (trial(1, (0.4,), state="pruned"), "searching"),
        (dataclasses.replace(failed, state="failed", end=end), "final"),
        (final(0, 0.90), "final"),
        (final(1, 0.94), "done"),
    ]


def full_ledger() -> FakeLedger:
    ledger = FakeLedger(pair())
    for row, state in life_of_a_sweep():
        ledger.put(row, state=state)
    return ledger


def test_twice_is_once(store: Store) -> None:
    ledger = full_ledger()
    session = store.session(ledger)
    session.project(to_the_end=False)
    once = store.state()
    session.project(to_the_end=True)
    store.send(ledger)  # as a driver that was started again would
    assert store.state() == once
    assert len(once) == 6


def test_step_by_step_equals_a_rebuild(new_store: NewStore) -> None:
    live, rebuilt = new_store("live"), new_store("rebuilt")
    ledger = FakeLedger(pair())
    session = live.session(ledger)
    session.project(to_the_end=False)
    for row, state in life_of_a_sweep():
        ledger.put(row, state=state)
        session.project(to_the_end=False)
    rebuilt.send(ledger)
    assert live.state() == rebuilt.state()


def test_a_driver_that_dies_at_every_step_leaves_the_same(new_store: NewStore) -> None:
    live, rebuilt = new_store("live"), new_store("rebuilt")
    ledger = FakeLedger(pair())
    for row, state in life_of_a_sweep():
        ledger.put(row, state=state)
        live.send(ledger)
    rebuilt.send(ledger)
    assert live.state() == rebuilt.state()


def test_one_point_per_metric_and_step(store: Store) -> None:
    ledger = full_ledger()
    for _ in range(2):
        store.send(ledger)
    for run in store.runs().values():
        places = [(key, step) for key, _, _, step in store.points(run)]
        assert len(places) == len(set(places))


def test_a_request_that_died_halfway_is_completed(store: Store) -> None:
    """Points and weights were sent, the status was not: nothing is doubled."""
    ledger = full_ledger()
    store.send(ledger)
    wanted = store.state()
    for key in ("p/search/0", "p"):
        store.client.update_run(store.runs()[key].info.run_id, "RUNNING")
    store.send(ledger)
    assert store.state() == wanted


def test_runs_hang_under_their_pair_and_name_their_data(store: Store) -> None:
    store.send(full_ledger())
    runs = store.runs()
    parent = runs.pop("p")
    assert {r.data.tags["mlflow.parentRunId"] for r in runs.values()} == {parent.info.run_id}
    for run in (parent, *runs.values()):
        (dataset,) = run.inputs.dataset_inputs
        assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", "d" * 36)


def test_a_trial_taken_up_again_goes_on_in_its_run(store: Store) -> None:
    """Its disk was full, the next attempt finishes it: what the failure left is taken back."""
    whole = with_weights(trial(0, (0.5, 0.7, 0.6)))
    assert whole.end is not None
    end = EndRecord(
        "failed", START + 50, "disk", "no space left", best_epoch=2, best={"val/nll": 1}
    )
    lives: list[tuple[TrialRow, str]] = [
        (dataclasses.replace(whole, state="failed", epochs=whole.epochs[:2], end=end), "FAILED"),
        (
            dataclasses.replace(whole, state="waiting", epochs=whole.epochs[:2], end=None),
            "SCHEDULED",
        ),
        (dataclasses.replace(whole, state="running", epochs=whole.epochs[:2], end=None), "RUNNING"),
        (whole, "FINISHED"),
    ]
    ledger, ids = FakeLedger(pair()), set()
    for row, status in lives:
        ledger.put(row)
        store.send(ledger)
        run = store.runs()["p/search/0"]
        ids.add(run.info.run_id)
        assert run.info.status == status
        assert ("raybench.reason" in run.data.tags) == (status == "FAILED")
    assert len(ids) == 1
    places = [(key, step) for key, _, _, step in store.points(store.runs()["p/search/0"])]
    assert len(places) == len(set(places))
    assert "best/nll" in store.runs()["p/search/0"].data.metrics


def test_a_parameter_is_sent_once_and_a_later_one_added(store: Store) -> None:
    row = trial(0, (0.5,))
    store.send(FakeLedger(pair(row)))
    more = dataclasses.replace(row, params={**row.params, "weight_decay": 0.1})
    store.send(FakeLedger(pair(more)))
    params = store.runs()["p/search/0"].data.params
    assert (params["lr"], params["weight_decay"]) == ("0.001", "0.1")


def test_a_larger_budget_reopens_the_pair_and_may_choose_anew(store: Store) -> None:
    ledger = full_ledger()
    store.send(ledger)
    ledger.put(trial(3, (0.99,)), state="searching")
    store.send(ledger)
    assert store.runs()["p"].info.status == "RUNNING"
    ledger.put(dataclasses.replace(final(0, 0.90), superseded=True))
    ledger.put(dataclasses.replace(final(1, 0.94), superseded=True))
    again = dataclasses.replace(final(0, 0.99), number=2, source=3)
    ledger.put(again, state="done")
    store.send(ledger)
    parent, old = store.runs()["p"], store.runs()["p/final/0"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["chosen/trial"] == 3
    assert parent.data.metrics["test/accuracy"] == 0.99
    assert old.data.tags["raybench.superseded"] == "true"


def test_a_second_run_of_a_trial_is_dropped(store: Store) -> None:
    ledger = full_ledger()
    store.send(ledger)
    wanted = store.state()
    twin = store.runs()["p/search/0"]
    store.client.create_run(twin.info.experiment_id, tags={"raybench.trial": "p/search/0"})
    store.send(ledger)
    assert store.state() == wanted


def test_an_experiment_deleted_by_hand_comes_back(store: Store) -> None:
    ledger = full_ledger()
    store.send(ledger)
    wanted = store.state()
    store.client.delete_experiment(store.client.get_experiment_by_name("demo").experiment_id)
    store.send(ledger)
    assert store.state() == wanted


def test_long_texts_are_cut_not_refused(store: Store) -> None:
    row = trial(0)
    assert row.end is not None
    end = dataclasses.replace(row.end, state="failed", failure="user", reason="x" * 20_000)
    failed = dataclasses.replace(row, state="failed", end=end)
    store.send(FakeLedger(pair(failed)))
    assert len(store.runs()["p/search/0"].data.tags["raybench.reason"]) == 5000


def test_many_epochs_fit_into_one_request(store: Store) -> None:
    long = trial(0, (0.5,))
    epochs = tuple(epoch(n, 0.5, metrics=10) for n in range(1, 121))
    row = dataclasses.replace(long, epochs=epochs)
    store.send(FakeLedger(pair(row)))
    history = [p for p in store.points(store.runs()["p/search/0"]) if p[0] == "val/extra_9"]
    assert len(history) == 120


def test_nothing_is_printed(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.send(full_ledger())
    assert capfd.readouterr() == ("", "")
