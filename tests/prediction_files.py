"""Predictions of finals, made by formula and written where a sweep would have left them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.seeding import derive_seed

CLASSES = ("cat", "dog", "owl")


def with_predictions(
    snapshot: SweepSnapshot, folder: Path, images: int = 30, groups: bool = False
) -> SweepSnapshot:
    """As ``snapshot``, each complete final with its file below ``folder``."""
    pairs = [
        replace(pair, trials=tuple(_with_file(pair, trial, folder, images, groups)
                                   for trial in pair.trials))
        for pair in snapshot.pairs
    ]  # fmt: skip
    return replace(snapshot, pairs=tuple(pairs))


def _with_file(pair: PairRow, trial: TrialRow, folder: Path, images: int, groups: bool) -> TrialRow:
    if trial.phase != "final" or trial.state != "complete" or trial.end is None:
        return trial
    place = f"{pair.id}/final-{trial.number}/a1/predictions.safetensors"
    content = predictions_bytes(trial.key, pair.dataset, images, groups)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    end = replace(trial.end, predictions_path=place, predictions_sha256=digest)
    return replace(trial, end=end)


def predictions_bytes(key: str, dataset: str, images: int = 30, groups: bool = False) -> bytes:
    """As ``raybench.trial.predict`` writes them; trials of one data set share images and labels."""
    labels = np.random.default_rng(derive_seed(0, dataset)).integers(0, len(CLASSES), images)
    rng = np.random.default_rng(derive_seed(0, key))
    probabilities = rng.dirichlet(np.ones(len(CLASSES)), images).astype(np.float32)
    metadata = {
        "ids": json.dumps([f"{dataset}/{number:03}.png" for number in range(images)]),
        "classes": json.dumps(CLASSES),
        "key": key,
        "data": "d",
        "split": f"split of {dataset}",
    }
    if groups:
        metadata["groups"] = json.dumps([f"g{number // 3}" for number in range(images)])
    return save({"probabilities": probabilities, "labels": labels}, metadata)
