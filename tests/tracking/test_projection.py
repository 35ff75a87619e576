"""MLflow against the ledger, on a real SQLite store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from raybench.records import TrialRow
from tests.tracking.fake_ledger import FakeLedger, epoch, final, pair, trial
from tests.tracking.mlflow_state import Store

NewStore = Callable[[str], Store]


def with_weights(row: TrialRow) -> TrialRow:
    assert row.end is not None
    path = f"p/{row.number}/best.safetensors"
    return dataclasses.replace(
        row, end=dataclasses.replace(row.end, weights_path=path, weights_sha256="ab")
    )


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
    projection = store.projection()
    projection.apply(ledger.snapshot())
    once = store.state()
    projection.apply(ledger.snapshot())
    store.projection().apply(ledger.snapshot())  # as a driver that was started again would
    assert store.state() == once
    assert len(once) == 6


def test_step_by_step_equals_a_rebuild(new_store: NewStore) -> None:
    live, rebuilt = new_store("live"), new_store("rebuilt")
    projection, ledger = live.projection(), FakeLedger(pair())
    projection.apply(ledger.snapshot())
    for row, state in life_of_a_sweep():
        ledger.put(row, state=state)
        projection.apply(ledger.snapshot({row.key}))
    rebuilt.projection().apply(ledger.snapshot())
    assert live.state() == rebuilt.state()


def test_a_driver_that_dies_at_every_step_leaves_the_same(new_store: NewStore) -> None:
    live, rebuilt = new_store("live"), new_store("rebuilt")
    ledger = FakeLedger(pair())
    for row, state in life_of_a_sweep():
        ledger.put(row, state=state)
        live.projection().apply(ledger.snapshot())
    rebuilt.projection().apply(ledger.snapshot())
    assert live.state() == rebuilt.state()


def test_one_point_per_metric_and_step(store: Store) -> None:
    ledger = full_ledger()
    for _ in range(2):
        store.projection().apply(ledger.snapshot())
    for run in store.runs().values():
        places = [(key, step) for key, _, _, step in store.points(run)]
        assert len(places) == len(set(places))


def test_a_request_that_died_halfway_is_completed(store: Store) -> None:
    """Points and weights were sent, the status was not: nothing is doubled."""
    ledger = full_ledger()
    store.projection().apply(ledger.snapshot())
    wanted = store.state()
    for key in ("p/search/0", "p"):
        store.client.update_run(store.runs()[key].info.run_id, "RUNNING")
    store.projection().apply(ledger.snapshot())
    assert store.state() == wanted


def test_weights_that_were_registered_but_not_linked_are_found_again(store: Store) -> None:
    row = with_weights(trial(0, (0.5,)))
    running = dataclasses.replace(row, state="running", end=None)
    store.projection().apply(FakeLedger(pair(running)).snapshot())
    run = store.runs()["p/search/0"]
    orphan = store.client.create_logged_model(run.info.experiment_id, "x", run.info.run_id)
    store.projection().apply(FakeLedger(pair(row)).snapshot())
    outputs = store.runs()["p/search/0"].outputs.model_outputs
    assert [m.model_id for m in outputs] == [orphan.model_id]


def test_weights_are_a_ranked_model_by_reference(store: Store) -> None:
    rows = [with_weights(trial(n, (0.5 + n / 10,))) for n in range(2)]
    store.projection().apply(FakeLedger(pair(*rows)).snapshot())
    experiment = store.client.get_experiment_by_name("demo")
    models = store.client.search_logged_models(
        [experiment.experiment_id],
        order_by=[{"field_name": "metrics.`best/accuracy`", "ascending": False}],
    )
    assert [m.tags["raybench.trial"] for m in models] == ["p/search/1", "p/search/0"]
    assert models[0].params["uri"].endswith("/checkpoints/p/1/best.safetensors")
    assert models[0].params["sha256"] == "ab"
    assert models[0].status == "READY"


def test_runs_hang_under_their_pair_and_name_their_data(store: Store) -> None:
    store.projection().apply(full_ledger().snapshot())
    runs = store.runs()
    parent = runs.pop("p")
    assert {r.data.tags["mlflow.parentRunId"] for r in runs.values()} == {parent.info.run_id}
    for run in (parent, *runs.values()):
        (dataset,) = run.inputs.dataset_inputs
        assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", "d" * 36)


def test_params_never_change(store: Store) -> None:
    row = trial(0, (0.5,))
    store.projection().apply(FakeLedger(pair(row)).snapshot())
    other = dataclasses.replace(row, params={"lr": 0.5, "weight_decay": 0.1})
    store.projection().apply(FakeLedger(pair(other)).snapshot())
    params = store.runs()["p/search/0"].data.params
    assert (params["lr"], params["weight_decay"]) == ("0.001", "0.1")


def test_a_larger_budget_reopens_the_pair_and_may_choose_anew(store: Store) -> None:
    ledger = full_ledger()
    store.projection().apply(ledger.snapshot())
    ledger.put(trial(3, (0.99,)), state="searching")
    store.projection().apply(ledger.snapshot())
    assert store.runs()["p"].info.status == "RUNNING"
    ledger.put(dataclasses.replace(final(0, 0.90), superseded=True))
    ledger.put(dataclasses.replace(final(1, 0.94), superseded=True))
    again = dataclasses.replace(final(0, 0.99), number=2, source=3)
    ledger.put(again, state="done")
    store.projection().apply(ledger.snapshot())
    parent, old = store.runs()["p"], store.runs()["p/final/0"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["chosen/trial"] == 3
    assert parent.data.metrics["test/accuracy"] == 0.99
    assert old.data.tags["raybench.superseded"] == "true"


def test_a_second_run_of_a_trial_is_dropped(store: Store) -> None:
    ledger = full_ledger()
    store.projection().apply(ledger.snapshot())
    wanted = store.state()
    twin = store.runs()["p/search/0"]
    store.client.create_run(twin.info.experiment_id, tags={"raybench.trial": "p/search/0"})
    store.projection().apply(ledger.snapshot())
    assert store.state() == wanted


def test_an_experiment_deleted_by_hand_comes_back(store: Store) -> None:
    ledger = full_ledger()
    store.projection().apply(ledger.snapshot())
    wanted = store.state()
    store.client.delete_experiment(store.client.get_experiment_by_name("demo").experiment_id)
    store.projection().apply(ledger.snapshot())
    assert store.state() == wanted


def test_long_texts_are_cut_not_refused(store: Store) -> None:
    row = trial(0)
    assert row.end is not None
    end = dataclasses.replace(row.end, state="failed", failure="user", reason="x" * 20_000)
    failed = dataclasses.replace(row, state="failed", end=end)
    store.projection().apply(FakeLedger(pair(failed)).snapshot())
    assert len(store.runs()["p/search/0"].data.tags["raybench.reason"]) == 5000


def test_many_epochs_fit_into_one_request(store: Store) -> None:
    long = trial(0, (0.5,))
    epochs = tuple(epoch(n, 0.5, metrics=10) for n in range(1, 121))
    row = dataclasses.replace(long, epochs=epochs)
    store.projection().apply(FakeLedger(pair(row)).snapshot())
    history = [p for p in store.points(store.runs()["p/search/0"]) if p[0] == "val/extra_9"]
    assert len(history) == 120


def test_nothing_is_printed(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.projection().apply(full_ledger().snapshot())
    assert capfd.readouterr() == ("", "")
