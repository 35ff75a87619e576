"""Everything one trial holds while it runs, and how that goes to a checkpoint and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor

from raybench.backbones.build import Backbone, build_backbone
from raybench.datasets.task import Task, load_task
from raybench.errors import DataError
from raybench.spec import BackboneSpec, DatasetSpec, Recipe
from raybench.trial.batches import BatchLoader, Indices, make_loader
from raybench.trial.checkpoint import Checkpoint, CheckpointFolder
from raybench.trial.config import TrialConfig
from raybench.trial.device import (
    Precision,
    cap_memory,
    device_name,
    pick_device,
    pick_precision,
)
from raybench.trial.failures import ModelError
from raybench.trial.learner import Learner
from raybench.trial.mirror import mirror_of
from raybench.trial.progress import Progress
from raybench.trial.randomness import rng_states, seed_all
from raybench.trial.recipe import class_weights


@dataclass(slots=True)
class Session:
    """One trial in this process.

    Attributes:
        train: indices trained on: the training split, in a refit with the validation split.
        best: weights of the best epoch so far, on the CPU; empty before the first one.
        rng: generator states to continue an unfinished epoch with; None at an epoch's start.
        facts: what ``EndRecord.facts`` says of this run.
    """

    config: TrialConfig
    recipe: Recipe
    task: Task
    train: Indices
    loader: BatchLoader
    learner: Learner
    checkpoints: CheckpointFolder
    facts: dict[str, str | float]
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)
    rng: dict[str, Tensor] | None = None

    @property
    def refit(self) -> bool:
        return self.config.refit_epochs is not None

    @property
    def _ends_best_epoch(self) -> bool:
        """Whether the weights as they are now are the best epoch's."""
        return self.progress.best_epoch == self.progress.epoch and not self.progress.batch

    def keep_best(self) -> None:
        """A copy of the weights where the epoch just finished is the best one."""
        if self._ends_best_epoch:
            weights = self.learner.evaluated.state_dict()
            self.best = {name: tensor.to("cpu", copy=True) for name, tensor in weights.items()}

    def save(self) -> None:
        """A checkpoint of this moment, which must lie between two batches."""
        groups = self.learner.tensors()
        groups["optimizer"] = groups["optimizer"] | rng_states(self.loader.device)
        if self.best and not self._ends_best_epoch:
            groups["best"] = self.best
        state = {
            "threads": torch.get_num_threads(),
            "scaler": self.learner.scaler.state_dict(),
            "progress": self.progress.to_dict(),
        }
        self.checkpoints.save(self.progress.epoch, self.progress.batch, groups, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continues where ``checkpoint`` was taken."""
        self.progress = Progress.from_dict(checkpoint.state["progress"])
        self.learner.start_stage(self.recipe.stages[self.progress.stage])
        groups = {name.removesuffix(".safetensors") for name in checkpoint.contents}
        tensors = {name: checkpoint.tensors(name) for name in groups}
        saved = tensors["optimizer"]
        rng = {name: saved.pop(name) for name in list(saved) if name.startswith("rng.")}
        self.rng = rng if self.progress.batch else None
        if self.progress.best_epoch is not None:
            best = checkpoint.best_tensors()
            # In the model's order, which the file of an unbroken run has.
            self.best = {name: best[name] for name in self.learner.evaluated.state_dict()}
        self.learner.restore(tensors)
        self.learner.scaler.load_state_dict(checkpoint.state["scaler"])


def open_session(config: TrialConfig) -> Session:
    """Loads data and model, and continues from the newest sound checkpoint if there is one.

    Raises:
        DataError: the data cannot be used, or are not those that the driver checked.
        ModelError: the backbone cannot be built.
        UserInputError: a device or number format that is not here.
    """
    recipe = recipe_of(config)
    checkpoints = checkpoints_of(config)
    checkpoint = checkpoints.newest_sound()
    # Sums over threads are rounded in their order, so the thread count is part of the result.
    torch.set_num_threads(checkpoint.state["threads"] if checkpoint else config.threads)
    device = pick_device(config.device)
    cap_memory(device, config.memory_fraction)
    task = load_checked_task(config, recipe)
    backbone = build_checked(config, recipe, len(task.classes), load=checkpoint is None)
    train = training_indices(config, task)
    session = Session(
        config=config,
        recipe=recipe,
        task=task,
        train=train,
        loader=make_loader(task.images, task.labels, device, backbone.mean, backbone.std),
        learner=_make_learner(config, recipe, task, train, backbone, device),
        checkpoints=checkpoints,
        facts={},
    )
    precision = session.learner.precision
    session.facts = run_facts(device, precision, backbone.facts["parameters"], len(train))
    session.facts["micro_batch"] = session.learner.micro_batch
    if checkpoint is not None:
        session.restore(checkpoint)
    return session


def checkpoints_of(config: TrialConfig) -> CheckpointFolder:
    folder = Path(config.checkpoint_root) / config.checkpoint_dir
    mirror = mirror_of(config)
    return CheckpointFolder(folder, config.attempt, config.retry, config.identity, mirror)


def recipe_of(config: TrialConfig) -> Recipe:
    return Recipe.model_validate_json(json.dumps(dict(config.recipe)))


def load_checked_task(config: TrialConfig, recipe: Recipe) -> Task:
    """The task.

    Raises:
        DataError: the data cannot be used, or are not those that the driver checked.
    """
    dataset = DatasetSpec.model_validate_json(json.dumps(dict(config.dataset)))
    cache_dir = Path(config.cache_dir)
    task = load_task(
        dataset,
        recipe.image_size,
        config.subset,
        config.split_seed,
        cache_dir,
        recipe.crop,
        config.fold,
        digest=config.data_digest,
    )
    if config.data_digest not in ("", task.data_digest):
        raise DataError(
            f"data set '{dataset.name}' is not the one that this sweep began with: its digest is "
            f"{task.data_digest[:12]}, not {config.data_digest[:12]}; restore the images"
        )
    return task


def training_indices(config: TrialConfig, task: Task) -> Indices:
    """The training split, in a refit with the validation split."""
    if config.refit_epochs is None:
        return task.train
    return np.sort(np.concatenate([task.train, task.val]))


def build_checked(config: TrialConfig, recipe: Recipe, classes: int, load: bool) -> Backbone:
    """The backbone; whatever of it is random comes from the training seed.

    Raises:
        ModelError: it cannot be built, or its weights file has changed.
    """
    seed_all(config.training_seed, "init")
    spec = BackboneSpec.model_validate_json(json.dumps(dict(config.backbone)))
    try:
        return build_backbone(
            spec,
            classes,
            recipe.image_size,
            recipe.drop_path,
            load,
            Path(config.weights_dir) if config.weights_dir else None,
            config.weights_sha256,
            Path(config.cache_dir),
        )
    except DataError as error:
        raise ModelError(str(error)) from error


def _make_learner(
    config: TrialConfig,
    recipe: Recipe,
    task: Task,
    train: Indices,
    backbone: Backbone,
    device: torch.device,
) -> Learner:
    classes = len(task.classes)
    return Learner(
        model=backbone.model,
        recipe=recipe,
        classes=classes,
        head_names=backbone.head_parameter_names,
        class_weight=class_weights(task.labels[train], classes, recipe.class_weights),
        device=device,
        precision=pick_precision(recipe.precision, device),
        accumulation=config.accumulation,
    )


def run_facts(
    device: torch.device, precision: Precision, parameters: int, train_images: int
) -> dict[str, Any]:
    """What ``EndRecord.facts`` says of any run."""
    fast = {"tf32": float(torch.backends.cudnn.allow_tf32)} if device.type == "cuda" else {}
    return {
        "parameters": parameters,
        "device": device_name(device),
        "precision": precision.name,
        **fast,
        "threads": torch.get_num_threads(),
        "train_images": train_images,
        "torch": str(torch.__version__),
        "timm": timm.__version__,
    }
