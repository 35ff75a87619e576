"""A whole sweep whose checkpoints lie on an object store, killed, on a node that forgets all."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raybench.errors import HomeError, ResourceError
from raybench.plan import make_plan
from raybench.records import EndRecord, SweepSnapshot
from raybench.settings import resolve_settings
from raybench.storage import Store
from raybench.sweep.options import RunOptions
from raybench.sweep.run import run_sweep
from raybench.sweep.supplies import fetch_supplies, supplies_of
from tests.chaos.drivers import Stage
from tests.chaos.invariants import snapshot_of
from tests.chaos.sweeps import short_tuned_sweep, unbroken
from tests.object_store_server import ObjectStore, object_store
from tests.specs import tiny_spec
from tests.sweep.test_runners import table

pytestmark = pytest.mark.slow
INLINE = RunOptions(inline=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def storage(
    server: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """An empty place on the store, which this process and its children take for theirs."""
    url = f"{server.url}/{request.node.name}"
    for name, value in {**server.environ, "RAYBENCH_STORAGE": url}.items():
        monkeypatch.setenv(name, value)
    return url


def ends(snapshot: SweepSnapshot) -> dict[str, EndRecord]:
    trials = (trial for pair in snapshot.pairs for trial in pair.trials)
    return {trial.key: trial.end for trial in trials if trial.end is not None}


def named(snapshot: SweepSnapshot) -> dict[str, str]:
    """Files that the ledger names, with their hashes."""
    found: dict[str, str] = {}
    for end in ends(snapshot).values():
        pairs = (
            (end.weights_path, end.weights_sha256),
            (end.predictions_path, end.predictions_sha256),
        )
        found |= {path: str(sha256) for path, sha256 in pairs if path}
    return found


def test_killed_and_gone_on_with_from_nothing_but_the_store(storage: str, tmp_path: Path) -> None:
    """And MLflow gets its models there, from weights that this machine no longer has."""
    whole = unbroken_elsewhere()
    with Stage(tmp_path, short_tuned_sweep(), ("--inline",)) as stage:
        scratch = stage.home / "cache" / "scratch"
        driver = stage.start()
        assert driver.until_epochs(10)
        driver.kill()
        shutil.rmtree(scratch)
        driver = stage.start()
        assert driver.wait() == 0, driver.output()
        assert list(scratch.iterdir()) == []
        final = snapshot_of(stage.home, stage.sweep)
    assert table(final) == table(whole)
    assert any(end.state == "pruned" for end in ends(final).values()), "nothing was collected"
    store, files = Store(f"{storage}/checkpoints"), named(final)
    assert set(store.sizes()) == {*files, f"{stage.sweep}/owner.json"}
    for name, sha256 in files.items():
        assert hashlib.sha256(store.get(name)).hexdigest() == sha256
    assert not list(stage.home.rglob("*.safetensors")) and not (stage.home / "artifacts").exists()
    assert_model_loads(stage, final, tmp_path / "model")


def assert_model_loads(stage: Stage, final: SweepSnapshot, folder: Path) -> None:
    """The winner's, by its pair's run."""
    from mlflow import pyfunc
    from mlflow.artifacts import download_artifacts

    from raybench.tracking.client import _let_go, connect

    uri = f"sqlite:///{stage.home / 'mlflow.db'}"
    client = connect(uri)
    experiment = client.get_experiment_by_name(stage.sweep)
    runs = client.search_runs([experiment.experiment_id])
    tags = next(run.data.tags for run in runs if "raybench.model" in run.data.tags)
    model = client.get_logged_model(tags["raybench.model"].removeprefix("models:/"))
    assert model.artifact_location.startswith("s3://")
    loaded = pyfunc.load_model(download_artifacts(model.artifact_location, dst_path=str(folder)))
    assert loaded.predict(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 10)
    (weights,) = folder.rglob("best.safetensors")
    end = ends(final)[tags["raybench.model_of"]]
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == end.weights_sha256
    _let_go(uri)


def unbroken_elsewhere() -> SweepSnapshot:
    """The same sweep in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAYBENCH_STORAGE")
        return unbroken("tuned")


def test_another_homes_place_is_left_alone(storage: str, tmp_path: Path) -> None:
    spec = tiny_spec(final={"seeds": [0]})
    run_sweep(spec, resolve_settings(tmp_path / "one"), INLINE)
    before = Store(storage).sizes()
    with pytest.raises(HomeError, match=f"{storage}/checkpoints/tiny are those of the home .*/one"):
        run_sweep(spec, resolve_settings(tmp_path / "two"), INLINE)
    assert Store(storage).sizes() == before


def test_a_bucket_that_is_missing_ends_it_before_the_preflight(
    storage: str, tmp_path: Path
) -> None:
    settings = dataclasses.replace(resolve_settings(tmp_path), storage_url="s3://no-such/x")
    with pytest.raises(ResourceError, match="there is no bucket 'no-such'"):
        run_sweep(tiny_spec(), settings, INLINE)
    assert not list(settings.cache_dir.glob("digits*"))
    with pytest.raises(ResourceError, match="there is no bucket 'no-such'"):
        fetch_supplies(supplies_of(make_plan(tiny_spec()), settings, [], {}), lambda text: None)
