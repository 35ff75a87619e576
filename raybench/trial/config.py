"""The plain values one trial runs on. Built by the driver, sent as a dict of JSON types."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.records import Phase
from raybench.trial.checkpoint import life_name


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """One configuration of one pair, everything resolved.

    Attributes:
        key: ``<pair>/<phase>/<number>``.
        attempt: the driver's attempt. retry: how often the trial has failed before. Together they
            name the folder that this process writes to, below ``checkpoint_dir``.
        backbone: ``BackboneSpec`` as a dict.
        dataset: ``DatasetSpec`` as a dict, its path absolute.
        subset: ``full``, ``10%``, ``5-shot``.
        recipe: ``Recipe`` as a dict, tuned hyperparameters merged in.
        metric: the ``val/`` metric that picks the best epoch.
        training_seed: names initialisation, order and augmentation.
        split_seed: names split and subset.
        keep_weights: leave the best weights behind as a file.
        read_test: evaluate the test split once, at the end (final phase only).
        oracle: evaluate it after every epoch as well.
        refit_epochs: train on train + validation for that many epochs, no validation; None: don't.
        cache_dir: decoded data sets. checkpoint_root: root of all checkpoints, absolute.
        checkpoint_dir: this trial's folder below ``checkpoint_root``, relative.
        checkpoint_url: root of all checkpoints on an object store, ``checkpoint_root`` is only a
            node's scratch then; empty: there is none.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; a resumed trial takes those of its checkpoint.
        device_share: GPU share (CPU: cores) it is charged for.
        memory_fraction: cap on this process's part of the GPU's memory; None: no cap.
        prompt: tell every epoch as it ends, each behind a checkpoint, since the trial may be
            stopped there; else both wait for some seconds of work.
        accumulation: micro-batches per optimizer step, for what does not fit at once.
        fold: which part of the data is the test split; 0 without cross-validation.
        known_epochs: epochs that the ledger holds; older records are not repeated.
        data_digest: digest of the cache the driver checked; empty: not checked.
        weights_sha256: digest of the pretrained weights the driver checked; empty: not checked.
        weights_dir: folder of weights files for nodes without a network; empty: none.
    """

    key: str
    phase: Phase
    attempt: int
    backbone: Mapping[str, Any]
    dataset: Mapping[str, Any]
    subset: str
    recipe: Mapping[str, Any]
    metric: str
    training_seed: int
    split_seed: int
    cache_dir: str
    checkpoint_root: str
    checkpoint_dir: str
    retry: int = 0
    keep_weights: bool = True
    read_test: bool = False
    oracle: bool = False
    refit_epochs: int | None = None
    device: str = "auto"
    threads: int = 1
    device_share: float = 1.0
    memory_fraction: float | None = None
    prompt: bool = False
    accumulation: int = 1
    fold: int = 0
    known_epochs: int = 0
    data_digest: str = ""
    weights_sha256: str = ""
    weights_dir: str = ""
    checkpoint_url: str = ""

    @property
    def identity(self) -> str:
        """Digest of what this trial is: of all that its pair's id does not say."""
        words = (
            self.key,
            dict(self.recipe),
            self.metric,
            self.training_seed,
            self.fold,
            self.refit_epochs,
        )
        text = json.dumps(words, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def own_dir(self) -> str:
        """Where this process writes, relative to ``checkpoint_root``."""
        return f"{self.checkpoint_dir}/{life_name((self.attempt, self.retry))}"

    @property
    def own_folder(self) -> Path:
        return Path(self.checkpoint_root) / self.own_dir

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialConfig:
        return cls(**data)
