"""A home that was moved or copied: its store names the old place, and nothing is written there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raybench.errors import ResourceError
from raybench.tracking.problems import what_is_wrong
from raybench.tracking.sync import sync
from raybench.tracking.worker import TrackingThread
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_state import Store

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
LEDGER = FakeLedger(pair(trial(0, (0.5, 0.6)), final(0, 0.9), state="final"))
MORE = FakeLedger(pair(trial(0, (0.5, 0.6)), final(0, 0.9), final(1, 0.8), state="final"))


def moved(old: Path, new: Path) -> None:
    old.rename(new)


def copied(old: Path, new: Path) -> None:
    shutil.copytree(old, new)


@pytest.fixture(params=[moved, copied])
def elsewhere(request: pytest.FixtureRequest, new_store: Callable[[str], Store]) -> Store:
    """A store that holds ``LEDGER`` and came to another folder, the old one or a copy of it."""
    store = new_store("here #1 é")
    store.send(LEDGER)
    store.close()
    folder = store.folder.with_name("there")
    request.param(store.folder, folder)
    return Store(folder, store.checkpoint_root)


def test_it_is_told_once_and_nothing_is_written(
    elsewhere: Store, caplog: pytest.LogCaptureFixture
) -> None:
    before = elsewhere.state()
    worker = TrackingThread(lambda: MORE, elsewhere.projection, poll_s=0.01)
    worker.start()
    for _ in range(3):
        assert not worker.flush(PATIENCE_S)
    worker.stop()
    problem, folder = worker.problem or "", elsewhere.folder
    old = folder.with_name("here #1 é")
    assert f"{folder}/mlflow.db was made for artefacts in {old}/artifacts" in problem
    assert f"(mv {folder}/mlflow.db {folder}/mlflow.db.old): 'raybench sync'" in problem
    assert "ResourceError" not in problem and "\n" not in problem
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert elsewhere.state() == before
    elsewhere.close()


def test_the_way_out_works(elsewhere: Store, new_store: Callable[[str], Store]) -> None:
    rebuilt = new_store("rebuilt")
    rebuilt.send(MORE)
    with pytest.raises(ResourceError, match="was made for artefacts in") as told:
        sync(MORE, elsewhere.projection(), pauses_s=(99.0,))
    assert what_is_wrong(told.value, elsewhere.uri).kind == "moved"
    elsewhere.close()
    database = elsewhere.folder / "mlflow.db"
    database.rename(f"{database}.old")
    sync(MORE, elsewhere.projection())
    assert elsewhere.state() == rebuilt.state()
    place = elsewhere.client.get_experiment_by_name("demo").artifact_location
    assert place == (elsewhere.folder / "artifacts" / "demo").as_uri()
    elsewhere.close()


def test_an_experiment_deleted_by_hand_stays_so(elsewhere: Store) -> None:
    experiment_id = elsewhere.experiment_id()
    elsewhere.client.delete_experiment(experiment_id)
    with pytest.raises(ResourceError, match="was made for"):
        elsewhere.send(LEDGER)
    assert elsewhere.client.get_experiment(experiment_id).lifecycle_stage == "deleted"
    elsewhere.close()


def test_a_sweep_that_begins_in_the_new_place_is_its_own(elsewhere: Store) -> None:
    elsewhere.send(FakeLedger(*LEDGER.pairs.values(), sweep="other"))
    assert set(elsewhere.runs("other")) == set(elsewhere.runs())
    elsewhere.close()


@pytest.mark.parametrize("real", ["old", "new"])
def test_the_same_folder_by_another_name_is_no_move(
    new_store: Callable[[str], Store], real: str
) -> None:
    """A link to where the home is now, or by which it is reached."""
    store = new_store("home")
    store.send(LEDGER)
    link = store.folder.with_name("link")
    if real == "new":
        store.close()
        store.folder.rename(link)
        store.folder.symlink_to(link)
    else:
        link.symlink_to(store.folder)
    through = Store(link, store.checkpoint_root)
    through.send(MORE)
    assert "p/final/1" in through.runs()
    through.close()


def test_a_store_that_a_server_has_made_is_not_the_homes_own(store: Store) -> None:
    """``ui`` on this file, and RAYBENCH_TRACKING_URI set to its address for a while."""
    tags = {"raybench.sweep": "demo", "raybench.ledger": LEDGER.ledger_id}
    store.client.create_experiment("demo", "mlflow-artifacts:/1", tags)
    with pytest.raises(ResourceError, match="was made for artefacts in mlflow-artifacts:/1, not"):
        store.send(LEDGER)
