"""Each run once: what a lost answer, a slow commit or a second writer has doubled."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from mlflow.entities import LoggedModelOutput

from raybench.tracking.held import held_runs
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial, with_weights
from tests.tracking.mlflow_state import Store

NewStore = Callable[[str], Store]
pytestmark = pytest.mark.usefixtures("kept_weights")


def ledger_of_two() -> FakeLedger:
    return FakeLedger(pair(trial(0, (0.5, 0.6)), with_weights(final(0, 0.9)), state="final"))


def make_twins(store: Store, key: str, tag: str) -> list[str]:
    """Two more runs of ``key``, one that began earlier and one later; ids with the first's."""
    run = store.runs()[key]
    began = run.info.start_time
    twins = [
        store.client.create_run(
            run.info.experiment_id, began + shift, {tag: key}, run.info.run_name
        )
        for shift in (-5000, 5000)
    ]
    return [run.info.run_id, *(twin.info.run_id for twin in twins)]


@pytest.mark.parametrize(("key", "tag"), [("p/final/0", "raybench.trial"), ("p", "raybench.pair")])
def test_the_run_that_began_first_stays_and_is_filled(
    new_store: NewStore, key: str, tag: str
) -> None:
    live, single = new_store("live"), new_store("single")
    live.send(ledger_of_two())
    single.send(ledger_of_two())
    ids = make_twins(live, key, tag)
    live.send(ledger_of_two())
    assert live.runs()[key].info.run_id == ids[1]
    assert live.state() == single.state()
    assert len(live.models()) == len(single.models()) == 1
    parent = live.runs()["p"].info.run_id
    children = [run for k, run in live.runs().items() if k != "p"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent}


def test_writers_who_look_at_different_moments_keep_the_same_run(store: Store) -> None:
    """Whichever of three twins a writer gets to see, none that it keeps is one another drops."""
    store.send(ledger_of_two())
    ids = make_twins(store, "p/search/0", "raybench.trial")
    client, experiment = store.client, store.experiment_id()
    for seen in itertools.combinations(ids, 2):
        for run_id in ids:
            (client.restore_run if run_id in seen else client.delete_run)(run_id)
        kept = held_runs(client, experiment)["p/search/0"].id
        assert kept == min(seen, key=[ids[1], ids[0], ids[2]].index)


def test_a_session_whose_run_another_writer_dropped_looks_again(new_store: NewStore) -> None:
    """``sync`` beside a running sweep: both make the run, one drops the other's."""
    live, single = new_store("live"), new_store("single")
    ledger = FakeLedger(pair(state="searching"))
    driver = live.session(ledger)
    driver.project(to_the_end=False)
    ledger.put(trial(0, (0.5,)))
    driver.project(to_the_end=False)
    mine = live.runs()["p/search/0"]
    earlier = live.client.create_run(
        mine.info.experiment_id,
        mine.info.start_time - 5000,
        {"raybench.trial": "p/search/0"},
        mine.info.run_name,
    )
    driver.project(to_the_end=True)
    single.send(ledger)
    assert live.runs()["p/search/0"].info.run_id == earlier.info.run_id
    assert live.state() == single.state()


def test_one_model_of_a_run_stays_the_one_that_its_page_shows(store: Store) -> None:
    ledger = ledger_of_two()
    store.send(ledger)
    run, (shown,) = store.runs()["p/final/0"], store.models()
    for _ in range(2):
        store.client.create_logged_model(
            run.info.experiment_id, "x", run.info.run_id, tags={"raybench.trial": "p/final/0"}
        )
    store.send(ledger)
    assert [m.model_id for m in store.models()] == [shown.model_id]


def test_a_link_is_made_once(store: Store) -> None:
    """The model was linked, the answer was lost: MLflow would keep a second line."""
    row = with_weights(final(0, 0.9))
    ledger = FakeLedger(pair(trial(0, (0.5,)), state="final"))
    store.send(ledger)
    ledger.put(row)
    store.send(ledger)
    run = store.runs()["p/final/0"]
    store.client.update_run(run.info.run_id, "RUNNING")
    store.send(ledger)
    outputs = store.runs()["p/final/0"].outputs.model_outputs
    assert len(outputs) == 1 and isinstance(outputs[0], LoggedModelOutput)


def test_runs_of_others_in_the_experiment_are_left_alone(store: Store) -> None:
    store.send(ledger_of_two())
    foreign = store.client.create_run(store.experiment_id(), tags={"owner": "anna"})
    store.send(ledger_of_two())
    assert store.client.get_run(foreign.info.run_id).info.lifecycle_stage == "active"
