"""Two tiny finished sweeps on image files, and what was exported from them. To be read only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import raybench
from raybench.predictions import Predictions, StoredPredictions
from raybench.records import PairRow
from raybench.storage import Store
from raybench.tracking.summary import exported_trial
from tests.specs import tiny_data, write_sweep

CLASSES = ("cat", "dog", "yak|<b>")
HUB_MODEL = {
    "architecture": "test_resnet",
    "num_classes": 5,
    "model_args": {"stem_width": 8},
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.2, 0.3],
        "num_classes": 5,
        "classifier": "fc",
        "first_conv": "conv1",
    },
}
SIZES = ((20, 14), (16, 24), (40, 9))  # the last one is longer than 4 to 1


def make_images(folder: Path, per_class: int = 10) -> Path:
    """PNG files of several shapes, separable by class."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            width, height = SIZES[number % len(SIZES)]
            noise = rng.integers(-40, 40, (height, width, 3))
            pixels = np.clip(50 + 70 * index + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


class Finished:
    """A finished sweep of one task."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.images = root / "images"
        data = tiny_data(
            datasets=[{"name": "pets", "path": str(self.images)}],
            subsets=["full"],
            budget={"trials": 1},
            search={"sampler": "none"},
            **changes,
        )
        raybench.run(
            write_sweep(root / "sweep.yaml", data), home=root / "home", inline=True, tracking=False
        )
        self.home = root / "home"
        self.sweep = raybench.open(home=self.home)
        self.snapshot = self.sweep.snapshot()

    def pair(self, part: str) -> PairRow:
        (found,) = (pair for pair in self.snapshot.pairs if part in pair.id)
        return found

    def predictions(self, part: str) -> Predictions:
        """Of the exported trial, from its own file."""
        trial = exported_trial(self.pair(part))
        assert trial is not None
        source = StoredPredictions(Store(self.sweep.settings.checkpoints))
        found = source.read(trial)
        assert found is not None and len(found.ids) == 6
        return found

    def tested(self, part: str) -> list[Path]:
        """The files of its test split, in the predictions' order."""
        return [self.images / name for name in self.predictions(part).ids]


@pytest.fixture(scope="session")
def fine_tuned(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A timm model, a torchvision one and one of a hub; squeezed images."""
    root = tmp_path_factory.mktemp("fine_tuned")
    make_images(root / "images")
    hub = root / "weights" / "lab__tiny" / "config.json"
    hub.parent.mkdir(parents=True)
    hub.write_text(json.dumps(HUB_MODEL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYBENCH_WEIGHTS", str(root / "weights"))
        return Finished(
            root,
            name="tuned",
            backbones=[
                {"name": "timm:test_vit", "weights": "none"},
                {"name": "torchvision:shufflenet_v2_x0_5", "weights": "none"},
                {"name": "timm:hf-hub:lab/tiny", "weights": "none"},
            ],
            recipe={"image_size": 32, "batch_size": 8, "epochs": 1, "augment": "none"},
            space={"lr": {"default": 1e-3, "low": 1e-4, "high": 1e-1, "log": True}},
        )


@pytest.fixture(scope="session")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Frozen: a model whose last layer is replaced, and a function's, which keeps its own."""
    root = tmp_path_factory.mktemp("probed")
    make_images(root / "images")
    return Finished(
        root,
        name="probed",
        backbones=[
            {"name": "timm:test_resnet", "weights": "none"},
            {"name": "python:tests.trial.models:activated", "weights": "none"},
        ],
        recipe={"method": "linear_probe", "image_size": 32, "batch_size": 8, "crop": "random"},
        space={"l2": {"default": 1e-2, "low": 1e-4, "high": 1e1, "log": True}},
        final={"seeds": [3]},
    )


@pytest.fixture(scope="session")
def handed_over(fine_tuned: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The timm model's folder."""
    folder = tmp_path_factory.mktemp("handed") / "model"
    return fine_tuned.sweep.export(folder, "test_vit")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the trials had it: sums over threads are rounded in their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
