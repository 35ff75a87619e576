"""A published network from a local file, with arguments of its own, on real photographs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import raybench
from raybench.predictions import StoredPredictions
from raybench.storage import Store
from raybench.tracking.summary import exported_trial
from tests.export.test_parity import by_timm
from tests.specs import tiny_data, write_sweep

pytestmark = pytest.mark.slow
PER_CLASS = 12


def some_photographs(images: Path, folder: Path) -> Path:
    """The first pictures of two classes."""
    for source in sorted(images.iterdir())[:2]:
        (folder / source.name).mkdir(parents=True)
        for path in sorted(source.iterdir())[:PER_CLASS]:
            shutil.copy(path, folder / source.name)
    return folder


def test_what_was_trained_from_a_file_travels_without_it(shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "weights" / "mobilenetv2_035_notop.pt"
    backbone = {
        "name": "timm:mobilenetv2_035",
        "weights": str(weights),
        "kwargs": {
            "pad_type": "same",
            "bn_eps": 1e-3,
            "pretrained_cfg_overlay": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        },
    }
    images = some_photographs(shared_data / "images" / "clothing10", tmp_path / "images")
    data = tiny_data(
        backbones=[backbone],
        datasets=[{"name": "photos", "path": str(images)}],
        subsets=["full"],
        recipe={"image_size": 64, "batch_size": 6, "epochs": 1},
        search={"sampler": "none"},
        budget={"trials": 1},
    )
    sweep = raybench.run(
        write_sweep(tmp_path / "s.yaml", data), home=tmp_path / "h", inline=True, tracking=False
    )
    folder = sweep.export(tmp_path / "model")
    settings = json.loads((folder / "raybench.json").read_text())
    assert settings["backbone"]["weights"] == "mobilenetv2_035_notop.pt"
    assert settings["mean"] == [0.5, 0.5, 0.5]
    assert "whose licence is not stated here" in (folder / "README.md").read_text()
    (pair,) = sweep.snapshot().pairs
    trial = exported_trial(pair)
    assert trial is not None
    kept = StoredPredictions(Store(sweep.settings.checkpoints)).read(trial)
    assert kept is not None
    paths = [images / name for name in kept.ids]
    found = raybench.load(folder, device="cpu").predict(paths)
    np.testing.assert_allclose(found, kept.probabilities, atol=1e-6)
    np.testing.assert_allclose(by_timm(folder, paths), kept.probabilities, atol=1e-5)
