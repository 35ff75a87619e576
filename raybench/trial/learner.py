"""The model and everything that changes with it: optimizer, loss scale, weight average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from raybench.spec import Recipe, Stage
from raybench.trial.device import Precision
from raybench.trial.recipe import (
    Mixer,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
    training_loss,
)


class Learner:
    """Trains and applies one model.

    Args:
        model: takes (B, 3, H, W) float32, gives (B, C) logits.
        recipe: how to train it.
        classes: C.
        head_names: parameters of the classifier, for layer decay.
        class_weight: (C,) float32 or None, for the loss.
        device: where everything lives from here on.
        precision: number format of the forward pass.
        accumulation: micro-batches that one step's gradient is summed over. Their gradient is that
            of the whole batch, but BatchNorm takes its statistics over each of them.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        classes: int,
        head_names: Iterable[str],
        class_weight: Tensor | None,
        device: torch.device,
        precision: Precision,
        accumulation: int = 1,
    ) -> None:
        # The cache holds pixels channels-last, and convolutions are fastest on that layout.
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe = recipe
        self.head_names = tuple(head_names)
        self.class_weight = None if class_weight is None else class_weight.to(device)
        self.precision = precision
        self.micro_batch = math.ceil(recipe.batch_size / accumulation)
        self.mixer = Mixer(recipe, classes)
        self.ema = ModelEmaV3(self.model, decay=recipe.model_ema) if recipe.model_ema else None
        self.start_stage(recipe.stages[0])

    def start_stage(self, stage: Stage) -> None:
        """A stage begins with a fresh optimizer and loss scale."""
        self.optimizer = make_optimizer(self.model, self.recipe, stage, self.head_names)
        self.scaler = self.precision.scaler()

    def step(self, images: Tensor, labels: Tensor, lr: float, step: int) -> tuple[Tensor, Tensor]:
        """One optimizer step.

        Args:
            images: (B, 3, H, W) float32, normalised; changed in place by mixing.
            labels: (B,) int64.
            lr: learning rate of this step.
            step: 1-based over the trial; the weight average starts as a copy at the first.

        Returns:
            The loss, a scalar, and the (B, C) logits, both detached and still on the device.
        """
        set_learning_rate(self.optimizer, lr)
        images, target = self.mixer(images, labels) if self.mixer.active else (images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss, logits = self._backward(images, target)
        if self.recipe.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.model, step=step)
        return loss, logits

    def _backward(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the batch's mean loss, one micro-batch at a time."""
        parts = list(zip(*(self._split(tensor) for tensor in (images, target)), strict=True))
        whole = self._weight(target) if len(parts) > 1 else None
        losses, outputs = [], []
        for inputs, wanted in parts:
            with self.precision.autocast():
                logits = self.model(inputs)
                loss = training_loss(logits, wanted, self.class_weight, self.recipe.smoothing)
            if whole is not None:
                loss = loss * (self._weight(wanted) / whole)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            outputs.append(logits.detach())
        if len(parts) == 1:
            return losses[0], outputs[0]
        return torch.stack(losses).sum(), torch.cat(outputs)

    def _split(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Micro-batches of nearly equal length, none of a single image: BatchNorm needs two."""
        count = min(math.ceil(len(batch) / self.micro_batch), max(1, len(batch) // 2))
        return batch.tensor_split(count)

    def _weight(self, target: Tensor) -> Tensor | float:
        """What the mean loss of these targets was divided by, see ``F.cross_entropy``."""
        if self.class_weight is None or target.ndim == 2:
            return float(len(target))
        return self.class_weight[target].sum()

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """(B, C) float32 logits of the averaged model where there is one; ``eval`` mode.

        ``no_grad`` rather than ``inference_mode``: a model may cache a tensor here (position
        encodings) and need its gradient in the next training step.
        """
        with self.precision.autocast():
            logits: Tensor = self.evaluated(images)
        return logits.float()

    @property
    def evaluated(self) -> nn.Module:
        """The module whose predictions count."""
        module: nn.Module = self.model if self.ema is None else self.ema.module
        return module

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Continues from other weights, in the model and in the average."""
        self.model.load_state_dict(weights)
        if self.ema is not None:
            self.ema.set(self.model)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that a checkpoint must hold, by file."""
        groups = {"model": self.model.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.ema is not None:
            groups["ema"] = self.ema.module.state_dict()
        return groups

    def restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Inverse of ``tensors``, after ``start_stage`` for the stage that they were taken in."""
        self.model.load_state_dict(groups["model"])
        if self.ema is not None:
            self.ema.module.load_state_dict(groups["ema"])
        load_optimizer_tensors(self.optimizer, groups["optimizer"])
