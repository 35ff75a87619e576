"""One experiment per sweep and ledger, also where several homes share a server."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.tracking.experiment import open_experiment
from tests.tracking.fake_ledger import LEDGER, FakeLedger, pair, trial
from tests.tracking.mlflow_state import Store

OTHER = "0ther000" * 4


def header(sweep: str = "demo", ledger_id: str = LEDGER) -> SweepSnapshot:
    return FakeLedger(sweep=sweep, ledger_id=ledger_id).snapshot(())


def test_homes_that_share_a_server_do_not_mix(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    mine = FakeLedger(pair(trial(0, (0.5,))))
    hers = FakeLedger(pair(trial(0, (0.9,))), ledger_id=OTHER)
    for ledger in (mine, hers, mine, hers):
        store.send(ledger)
    assert store.runs("demo")["p/search/0"].data.metrics["val/accuracy"] == 0.5
    assert store.runs("demo-0ther000")["p/search/0"].data.metrics["val/accuracy"] == 0.9
    assert len(caplog.records) == 1
    assert "'demo' is another home's; this one's runs go to 'demo-0ther000'" in caplog.text


def test_an_experiment_that_is_not_ours_is_left_alone(store: Store) -> None:
    theirs = store.client.create_experiment("demo")
    store.send(FakeLedger(pair(trial(0, (0.5,)))))
    assert not store.client.search_runs([theirs])
    assert len(store.runs(f"demo-{LEDGER[:8]}")) == 2


def test_names_that_are_all_taken_are_said(store: Store) -> None:
    for name in ("demo", f"demo-{LEDGER[:8]}"):
        store.client.create_experiment(name)
    with pytest.raises(ResourceError, match="'demo' and 'demo-1edce12a' are somebody else's"):
        open_experiment(store.client, header(), None, False)


@pytest.mark.slow
def test_one_of_before_there_were_identities_is_claimed_in_the_homes_own_store(
    store: Store,
) -> None:
    old, _ = open_experiment(store.client, header(ledger_id=""), str(store.folder), True)
    assert open_experiment(store.client, header(), str(store.folder), True) == (old, False)
    assert open_experiment(store.client, header(ledger_id=OTHER), str(store.folder), True)[1]


def test_drivers_that_make_it_at_once_share_it(store: Store) -> None:
    """The second one found none, then its name is taken."""
    client = store.client
    first, _ = open_experiment(client, header(), None, False)
    made = client.get_experiment_by_name("demo")
    with mock.patch.object(client, "get_experiment_by_name", side_effect=[None, made]):
        assert open_experiment(client, header(), None, False) == (first, False)


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "/tmp/x"])
def test_artefacts_stay_under_their_root(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="no folder's name"):
        open_experiment(store.client, header(name), str(store.folder), True)


def test_artefacts_may_lie_on_an_object_store(store: Store) -> None:
    root = "s3://bucket/artifacts"
    first, _ = open_experiment(store.client, header(), root, True)
    assert store.client.get_experiment(first).artifact_location == f"{root}/demo"
    assert open_experiment(store.client, header(), root, True) == (first, False)
    with pytest.raises(ResourceError, match="s3://bucket/artifacts/demo, not in s3://bucket/art"):
        open_experiment(store.client, header(), "s3://bucket/art", True)


def test_another_place_is_no_matter_on_a_shared_store(store: Store, tmp_path: Path) -> None:
    """Its experiments may be older than the setting, or lie where another machine can write."""
    first, _ = open_experiment(store.client, header(), str(tmp_path / "one"), False)
    assert open_experiment(store.client, header(), str(tmp_path / "two"), False) == (first, False)
