"""The sweep's own run: there once, above its pairs, with the files of its newest results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run

from raybench.tracking.sweep_run import FOLDER, REPORT_TAG, TABLE, send_report
from tests.tracking.fake_ledger import FakeLedger, pair, trial
from tests.tracking.mlflow_state import Store


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger(pair(trial(0, (0.5,))), pair(trial(0, (0.6,), pair_id="q"), id="q"))


def send(
    store: Store, ledger: FakeLedger, digest: str = "d", make: Callable[[Path], None] | None = None
) -> bool:
    def write(folder: Path) -> None:
        (folder / "plots").mkdir()
        (folder / "plots" / "a.svg").write_text(digest)
        (folder / TABLE).write_text(json.dumps({"columns": ["a"], "data": [[digest]]}))

    root = str(store.folder / "artifacts")
    return send_report(store.uri, root, True, ledger.snapshot(()), digest, make or write)


def sweep_runs(store: Store) -> list[Run]:
    wanted = "tags.`raybench.kind` = 'sweep'"
    return list(store.client.search_runs([store.experiment_id()], wanted))


def artefact(store: Store, name: str) -> str:
    (run,) = sweep_runs(store)
    return Path(store.client.download_artifacts(run.info.run_id, f"{FOLDER}/{name}")).read_text()


def test_it_holds_the_files_and_says_so(store: Store, ledger: FakeLedger) -> None:
    store.send(ledger)
    assert send(store, ledger)
    (run,) = sweep_runs(store)
    assert (run.info.run_name, run.info.status) == ("demo", "FINISHED")
    assert run.data.tags["raybench.sweep"] == "demo" and run.data.tags[REPORT_TAG] == "d"
    assert artefact(store, "plots/a.svg") == "d"
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": f"{FOLDER}/{TABLE}", "type": "table"}
    ]


def test_pairs_stand_below_it_and_trials_below_their_pairs(
    store: Store, ledger: FakeLedger
) -> None:
    store.send(ledger)
    before = {key: run.data.tags.get("mlflow.parentRunId") for key, run in store.runs().items()}
    send(store, ledger)
    (run,) = sweep_runs(store)
    after = {
        key: run.data.tags.get("mlflow.parentRunId") for key, run in pairs_and_trials(store).items()
    }
    assert before["p"] is None and after["p"] == after["q"] == run.info.run_id
    assert after["p/search/0"] == before["p/search/0"]


def pairs_and_trials(store: Store) -> dict[str, Run]:
    found = store.client.search_runs([store.experiment_id()], "tags.`raybench.kind` != 'sweep'")
    return {r.data.tags.get("raybench.trial") or r.data.tags["raybench.pair"]: r for r in found}


def test_the_same_results_are_sent_once(store: Store, ledger: FakeLedger) -> None:
    store.send(ledger)
    assert send(store, ledger)
    assert not send(store, ledger, make=lambda folder: pytest.fail("made again"))
    assert send(store, ledger, "other") and artefact(store, "plots/a.svg") == "other"
    assert len(sweep_runs(store)) == 1


def test_what_failed_is_sent_the_next_time(store: Store, ledger: FakeLedger) -> None:
    store.send(ledger)

    def broken(folder: Path) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        send(store, ledger, make=broken)
    assert send(store, ledger) and len(sweep_runs(store)) == 1


def test_a_second_one_is_deleted(store: Store, ledger: FakeLedger) -> None:
    """Of a writer that did not see the first."""
    store.send(ledger)
    send(store, ledger)
    (first,) = sweep_runs(store)
    tags = {"raybench.kind": "sweep"}
    store.client.create_run(store.experiment_id(), first.info.start_time + 5, tags)
    send(store, ledger)
    assert [run.info.run_id for run in sweep_runs(store)] == [first.info.run_id]


def test_tracking_leaves_it_alone(store: Store, ledger: FakeLedger) -> None:
    """It is neither a pair's nor a trial's, so nothing counts or deletes it."""
    session = store.session(ledger)
    session.project(to_the_end=True)
    send(store, ledger)
    ledger.put(trial(1, (0.7,)))
    session.project(to_the_end=True)
    store.send(ledger)
    assert len(sweep_runs(store)) == 1
    assert pairs_and_trials(store).keys() == {"p", "q", "p/search/0", "p/search/1", "q/search/0"}
    (run,) = sweep_runs(store)
    parents = {r.data.tags.get("mlflow.parentRunId") for k, r in pairs_and_trials(store).items()
               if "/" not in k}  # fmt: skip
    assert parents == {run.info.run_id}
