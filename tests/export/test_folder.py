"""The folder: whole or not there, complete, and without a path of this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save_file

import raybench
from raybench.errors import HomeError, ResourceError, UserInputError
from raybench.export import folder as module
from raybench.export import labels, onnx_file
from raybench.export.choice import Chosen
from raybench.export.folder import export_model
from raybench.export.settings import read_settings
from raybench.tracking.summary import exported_trial
from tests.export.conftest import CLASSES, Finished, make_images

FILES = {
    "README.md",
    "config.json",
    "labels.json",
    "model.safetensors",
    "preprocessor_config.json",
    "raybench.json",
}


def test_what_is_in_it(fine_tuned: Finished, handed_over: Path) -> None:
    assert {path.name for path in handed_over.iterdir()} == FILES
    assert json.loads((handed_over / "labels.json").read_text()) == list(CLASSES)
    trial = exported_trial(fine_tuned.pair("test_vit"))
    assert trial is not None and trial.end is not None
    weights = (handed_over / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == trial.end.weights_sha256
    settings = read_settings(handed_over)
    assert settings.trained["trial"] == trial.key and settings.trained["seed"] == 0
    assert settings.trained["ledger"] == fine_tuned.snapshot.ledger_id
    assert settings.trained["data_digest"] == fine_tuned.pair("test_vit").facts["data_digest"]


def test_nothing_in_it_names_this_machine(fine_tuned: Finished, handed_over: Path) -> None:
    for path in handed_over.iterdir():
        assert str(fine_tuned.home.parent).encode() not in path.read_bytes(), path.name


def test_places_of_weights_data_and_arguments_stay_here(tmp_path: Path) -> None:
    """Neither the folder nor a bundle has them."""
    root = tmp_path / "home" / "alice"
    weights = root / "weights" / "net.safetensors"
    make_images(root / "images")
    weights.parent.mkdir()
    model = timm.create_model("test_resnet", num_classes=3)
    save_file(model.state_dict(), weights)
    overlay = {"pretrained_cfg_overlay": {"file": str(weights)}}
    finished = Finished(
        root,
        name="placed",
        backbones=[{"name": "timm:test_resnet", "weights": str(weights), "kwargs": overlay}],
        recipe={"method": "linear_probe", "image_size": 32, "batch_size": 8},
        space={"l2": {"default": 1e-2, "low": 1e-4, "high": 1e1, "log": True}},
        final={"seeds": [0]},
    )
    finished.sweep.report(bundle=root / "b.zip")
    with zipfile.ZipFile(root / "b.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert b'"net.safetensors"' in members["placed/ledger.json"]
    folder = finished.sweep.export(root / "model")
    assert read_settings(folder).backbone.weights == "net.safetensors"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, content in (files | members).items():
        assert b"alice" not in content and str(tmp_path).encode() not in content, name
    assert raybench.load(folder, device="cpu").predict(finished.tested("test_resnet")).shape[1] == 3


def test_nothing_is_left_beside_it(handed_over: Path) -> None:
    assert list(handed_over.parent.iterdir()) == [handed_over]


def test_an_empty_folder_is_filled(fine_tuned: Finished, tmp_path: Path) -> None:
    assert fine_tuned.sweep.export(tmp_path, "test_vit") == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_the_leader_is_the_default(fine_tuned: Finished, tmp_path: Path) -> None:
    said: list[str] = []
    fine_tuned.sweep.export(tmp_path / "model", tell=said.append)
    (leader,) = (s.result.pair.id for s in _standings(fine_tuned) if s.leads)
    assert said[0].startswith(f"exporting {leader}/final/")


def _standings(finished: Finished) -> Any:
    (ranked,) = finished.sweep.analysis().standings.values()
    return ranked


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_is_never_replaced(fine_tuned: Finished, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "model"
    kept = place if kind == "file" else place / "mine"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    words = "is a file; give" if kind == "file" else "holds something already"
    with pytest.raises(UserInputError, match=words):
        fine_tuned.sweep.export(place, "test_vit")
    assert kept.read_text() == "mine"


def test_a_failure_leaves_nothing(
    fine_tuned: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "model_card", fail)
    with pytest.raises(HomeError, match="cannot be written: No space left"):
        fine_tuned.sweep.export(tmp_path / "model", "test_vit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["gone", "changed", "outside"])
def test_weights_that_are_not_the_ledgers(
    fine_tuned: Finished, tmp_path: Path, damage: str
) -> None:
    """By another record of them: the fixture's own home stays as it is."""
    pair = fine_tuned.pair("test_vit")
    changes = {
        "gone": {"weights_path": "tuned/none.safetensors"},
        "changed": {"weights_sha256": "0" * 64},
        "outside": {"weights_path": "../sweep.yaml"},
    }[damage]
    trials = tuple(
        t if t.end is None else dataclasses.replace(t, end=dataclasses.replace(t.end, **changes))
        for t in pair.trials
    )
    snapshot = dataclasses.replace(
        fine_tuned.snapshot, pairs=(dataclasses.replace(pair, trials=trials),)
    )
    with pytest.raises(HomeError, match="gone or changed"):
        export_model(snapshot, fine_tuned.sweep.settings, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_timm_cannot_load_says_so(
    fine_tuned: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "timm_disagrees", lambda *_: "KeyError: 'head'")
    said: list[str] = []
    folder = fine_tuned.sweep.export(tmp_path / "model", "test_vit", tell=said.append)
    assert "timm alone cannot load this model (KeyError: 'head')" in said[-1]
    assert not (folder / "config.json").exists()
    assert "local-dir" not in (folder / "README.md").read_text()


def test_onnx_without_its_extra_is_refused_before_anything_is_written(
    fine_tuned: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install 'raybench\[onnx\]'"):
        fine_tuned.sweep.export(tmp_path / "model", "test_vit", onnx=True)
    assert list(tmp_path.iterdir()) == []


class _Numbered:
    """Predictions of before class names were kept."""

    def __init__(self, finished: Finished) -> None:
        kept = finished.predictions("test_vit")
        self.kept = dataclasses.replace(kept, classes=("0", "1", "2"))

    def read(self, trial: Any) -> Any:
        return self.kept


def _chosen(finished: Finished, source: Any) -> Chosen:
    from raybench.analysis.whole import Analysis

    pair, trial = finished.pair("test_vit"), exported_trial(finished.pair("test_vit"))
    assert trial is not None
    return Chosen(Analysis(finished.snapshot, source), pair, trial, finished.sweep.settings)


def test_labels_of_an_older_home_come_from_the_decoded_cache(
    fine_tuned: Finished, tmp_path: Path
) -> None:
    chosen = _chosen(fine_tuned, _Numbered(fine_tuned))
    assert labels.class_names(chosen) == CLASSES
    pruned = dataclasses.replace(chosen.home, cache_dir=tmp_path)
    assert labels.class_names(dataclasses.replace(chosen, home=pruned)) == ("0", "1", "2")


def test_labels_that_nothing_names(fine_tuned: Finished, tmp_path: Path) -> None:
    from raybench.predictions import NO_PREDICTIONS

    chosen = _chosen(fine_tuned, NO_PREDICTIONS)
    pruned = dataclasses.replace(chosen.home, cache_dir=tmp_path)
    with pytest.raises(HomeError, match="label names .* are not known"):
        labels.class_names(dataclasses.replace(chosen, home=pruned))


def test_a_clusters_weights_are_on_the_cluster(fine_tuned: Finished, tmp_path: Path) -> None:
    there = dataclasses.replace(fine_tuned.sweep, address="http://127.0.0.1:8265")
    with pytest.raises(UserInputError, match="run 'raybench export' there"):
        there.export(tmp_path / "model")
