"""The winner of a pair as a model that anybody with raybench can load."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import pyfunc
from mlflow.artifacts import download_artifacts
from safetensors.torch import save_file

from raybench.backbones.build import build_backbone
from raybench.records import PairRow
from raybench.spec import BackboneSpec
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_state import Store

SPEC = BackboneSpec(name="torchvision:resnet18", weights="none")
IMAGE_SIZE = 32


def done_pair(checkpoint_root: Path) -> PairRow:
    """A done pair whose first final seed left real weights, and whose second is better."""
    torch.manual_seed(3)
    model = build_backbone(SPEC, 10, IMAGE_SIZE).model
    path = checkpoint_root / "p" / "best.safetensors"
    path.parent.mkdir(parents=True)
    save_file(model.state_dict(), str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first = final(0, 0.90, weights_path="p/best.safetensors", weights_sha256=digest)
    second = final(1, 0.99, weights_path="p/gone.safetensors", weights_sha256=digest)
    return pair(trial(0, (0.6,)), first, second, state="done")


def model_uri(store: Store) -> str:
    return str(store.runs()["p"].data.tags["raybench.model"])


def load(store: Store, folder: Path) -> pyfunc.PyFuncModel:
    """From the home's files, as nobody's tracking URI is set here."""
    model = store.client.get_logged_model(model_uri(store).removeprefix("models:/"))
    return pyfunc.load_model(download_artifacts(model.artifact_location, dst_path=str(folder)))


def expected(images: np.ndarray, store: Store) -> np.ndarray:
    """The same network by hand, on the same weights."""
    from safetensors.torch import load_file

    backbone = build_backbone(SPEC, 10, IMAGE_SIZE)
    backbone.model.load_state_dict(load_file(store.checkpoint_root / "p" / "best.safetensors"))
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    with torch.inference_mode():
        logits: torch.Tensor = backbone.model.eval()((scaled - mean) / std)
    return np.asarray(logits.softmax(1))


@pytest.mark.slow
def test_the_winner_loads_and_predicts(store: Store, tmp_path: Path) -> None:
    store.send(FakeLedger(done_pair(store.checkpoint_root)))
    model = load(store, tmp_path / "model")
    images = np.random.default_rng(0).integers(0, 256, (70, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    probabilities = model.predict(images)
    assert probabilities.shape == (70, 10)
    np.testing.assert_allclose(probabilities, expected(images, store), atol=1e-5)
    assert model.metadata.signature is not None
    assert model.input_example.shape == (1, IMAGE_SIZE, IMAGE_SIZE, 3)
    with pytest.raises(Exception, match="(?i)shape"):
        model.predict(images[:, :8])


def test_the_model_holds_code_and_numbers_but_no_pickle(store: Store, tmp_path: Path) -> None:
    store.send(FakeLedger(done_pair(store.checkpoint_root)))
    load(store, tmp_path / "model")
    names = {p.name for p in (tmp_path / "model").rglob("*") if p.is_file()}
    assert {"serving.py", "best.safetensors", "config.json", "requirements.txt"} <= names
    assert not [n for n in names if n.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]
    requirements = next((tmp_path / "model").rglob("requirements.txt")).read_text().split()
    assert {r.split("==")[0] for r in requirements} >= {"raybench", "torch", "timm"}
    assert "+" not in "".join(requirements)
    config = json.loads(next((tmp_path / "model").rglob("config.json")).read_text())
    assert config["backbone"]["name"] == "torchvision:resnet18"


def test_the_winner_is_logged_once(store: Store) -> None:
    ledger = FakeLedger(done_pair(store.checkpoint_root))
    store.send(ledger)
    uri = model_uri(store)
    store.send(ledger)
    run = store.runs()["p"]
    assert run.data.tags["raybench.model"] == uri
    assert run.data.tags["raybench.model_of"] == "p/final/0"
    assert [f"models:/{m.model_id}" for m in run.outputs.model_outputs] == [uri]


def test_an_export_that_died_halfway_is_completed(store: Store) -> None:
    done = done_pair(store.checkpoint_root)
    store.send(FakeLedger(dataclasses.replace(done, state="final")))
    run = store.runs()["p"]
    begun = store.client.create_logged_model(
        run.info.experiment_id, "p", run.info.run_id, tags={"raybench.trial": "p/final/0"}
    )
    store.send(FakeLedger(done))
    assert model_uri(store) == f"models:/{begun.model_id}"
    assert store.client.get_logged_model(begun.model_id).status == "READY"


def test_a_pair_that_left_the_file_is_not_exported(store: Store) -> None:
    gone = dataclasses.replace(done_pair(store.checkpoint_root), current=False)
    store.send(FakeLedger(gone))
    assert "raybench.model" not in store.runs()["p"].data.tags


def gone(path: Path) -> None:
    path.unlink()


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def outside(path: Path) -> None:
    """The same bytes, by a link that leaves the checkpoints."""
    elsewhere = path.parents[2] / "elsewhere.safetensors"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("damage", [gone, changed, outside])
def test_weights_that_are_not_the_recorded_ones_are_not_logged(
    store: Store, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "raybench.tracking.models")
    ledger = FakeLedger(done_pair(store.checkpoint_root))
    damage(store.checkpoint_root / "p" / "best.safetensors")
    session = store.session(ledger)
    for _ in range(2):
        session.project(to_the_end=True)
    assert "raybench.model" not in store.runs()["p"].data.tags
    assert len(caplog.records) == 1
