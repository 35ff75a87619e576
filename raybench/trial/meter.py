"""Loss and accuracy of an epoch's training batches, summed without waiting for the GPU."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from raybench.trial.failures import DivergedError
from raybench.trial.progress import Progress

CHECK_EVERY = 16  # batches; reading a value waits for the GPU, so not after each of them


class Meter:
    """Sums over an epoch's batches; they stay on the device until ``book``."""

    def __init__(self, progress: Progress, device: torch.device) -> None:
        self.progress = progress
        dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self.loss_sum = torch.tensor(progress.loss_sum, dtype=dtype, device=device)
        self.correct = torch.tensor(progress.correct, dtype=torch.int64, device=device)
        self.seen = progress.seen
        self.started = time.perf_counter()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Counts one batch; mixed images count for their own label."""
        self.loss_sum += loss * len(labels)
        self.correct += (logits.argmax(dim=1) == labels).sum()
        self.seen += len(labels)
        if self.progress.batch % CHECK_EVERY == 0:
            self.check()

    def check(self) -> None:
        """A NaN or infinite loss stays in the sum, so that a look now and then is enough."""
        if not bool(self.loss_sum.isfinite()):
            raise DivergedError(
                f"the training loss was no longer finite at batch {self.progress.batch} of epoch "
                f"{self.progress.epoch + 1}; lower the learning rate"
            )

    def book(self) -> None:
        """Brings the sums to ``Progress``."""
        self.check()
        progress = self.progress
        progress.loss_sum, progress.correct = self.loss_sum.item(), int(self.correct.item())
        progress.seen = self.seen
        progress.train_s += time.perf_counter() - self.started
