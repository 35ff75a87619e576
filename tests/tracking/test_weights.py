"""Best weights in MLflow: by reference, and only where they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.tracking.fake_ledger import FakeLedger, final, pair, trial, with_weights
from tests.tracking.mlflow_state import Store

pytestmark = pytest.mark.usefixtures("kept_weights")


def test_weights_that_were_registered_but_not_linked_are_found_again(store: Store) -> None:
    row = with_weights(trial(0, (0.5,)))
    running = dataclasses.replace(row, state="running", end=None)
    store.send(FakeLedger(pair(running)))
    run = store.runs()["p/search/0"]
    orphan = store.client.create_logged_model(
        run.info.experiment_id, "x", run.info.run_id, tags={"raybench.trial": "p/search/0"}
    )
    store.send(FakeLedger(pair(row)))
    outputs = store.runs()["p/search/0"].outputs.model_outputs
    assert [m.model_id for m in outputs] == [orphan.model_id]


def test_weights_are_a_ranked_model_by_reference(store: Store) -> None:
    rows = [with_weights(trial(n, (0.5 + n / 10,))) for n in range(2)]
    store.send(FakeLedger(pair(*rows)))
    experiment = store.client.get_experiment_by_name("demo")
    models = store.client.search_logged_models(
        [experiment.experiment_id],
        order_by=[{"field_name": "metrics.`best/accuracy`", "ascending": False}],
    )
    assert [m.tags["raybench.trial"] for m in models] == ["p/search/1", "p/search/0"]
    assert models[0].params["uri"].endswith("/checkpoints/p/1/best.safetensors")
    assert models[0].params["sha256"] == "ab"
    assert models[0].status == "READY"


def test_trials_without_kept_weights_refer_to_none(store: Store) -> None:
    """``keep: winners``: search trials leave a record, but no weights."""
    kept = with_weights(final(0, 0.9))
    store.send(FakeLedger(pair(trial(0, (0.5,)), kept, state="final")))
    runs = store.runs()
    assert runs["p/search/0"].outputs is None or not runs["p/search/0"].outputs.model_outputs
    assert "raybench.weights" not in runs["p/search/0"].data.tags
    assert [m.tags["raybench.trial"] for m in store.models()] == ["p/final/0"]


def test_a_changed_storage_leaves_the_references_of_before(
    store: Store, tmp_path: Path, kept_weights: Path
) -> None:
    """RAYBENCH_STORAGE set later, on a server's store: old weights lie where they lay."""
    store.own = False
    store.send(FakeLedger(pair(with_weights(trial(0, (0.5,))))))
    store.checkpoint_root = tmp_path / "new"
    later = store.checkpoint_root / "p" / "1" / "best.safetensors"
    later.parent.mkdir(parents=True)
    later.write_bytes(b"w")
    store.send(FakeLedger(pair(*(with_weights(trial(n, (0.5,))) for n in (0, 1)))))
    runs = store.runs()
    for number, root in enumerate((kept_weights, store.checkpoint_root)):
        where = f"file://{root}/p/{number}/best.safetensors"
        assert runs[f"p/search/{number}"].data.tags["raybench.weights"] == where
    assert len(store.models()) == 2


def test_weights_that_were_moved_along_are_referred_to_where_they_are_now(
    store: Store, tmp_path: Path, kept_weights: Path
) -> None:
    store.own = False
    ledger = FakeLedger(pair(with_weights(trial(0, (0.5,)))))
    store.send(ledger)
    store.checkpoint_root = kept_weights.rename(tmp_path / "new")
    store.send(ledger)
    tag = store.runs()["p/search/0"].data.tags["raybench.weights"]
    assert tag == f"file://{tmp_path}/new/p/0/best.safetensors"


def test_weights_that_are_gone_hold_back_nothing(store: Store, kept_weights: Path) -> None:
    row = with_weights(trial(0, (0.5,)))
    (kept_weights / "p" / "0" / "best.safetensors").unlink()
    store.send(FakeLedger(pair(row)))
    run = store.runs()["p/search/0"]
    assert (run.info.status, run.data.metrics["best/accuracy"]) == ("FINISHED", 0.5)
    assert "raybench.weights" not in run.data.tags
    assert store.models() == []
