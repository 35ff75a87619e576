"""Where a trial computes, and in which number format."""

from __future__ import annotations

import contextlib
import gc
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from raybench.errors import UserInputError


def pick_device(wanted: str) -> torch.device:
    """The device named, or for ``auto`` the best that torch offers: cuda, mps, cpu.

    Raises:
        UserInputError: a device that torch does not have on this machine.
    """
    offered = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        wanted = next(name for name, present in offered.items() if present)
    if not offered.get(wanted, False):
        present_names = ", ".join(name for name, present in offered.items() if present)
        raise UserInputError(
            f"device '{wanted}' was asked for, but torch {torch.__version__} offers only "
            f"{present_names} here; set device: auto"
        )
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def upload(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on ``device``. A GPU fetches them from pinned pages, and the host goes on."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Precision:
    """``fp32``, ``bf16`` or ``fp16`` on one kind of device.

    fp32 is torch's: from Ampere on cuDNN's convolutions round their inputs to TF32
    (``torch.backends.cudnn.allow_tf32``), matrix products do not.
    """

    name: str
    device_type: str

    def autocast(self) -> AbstractContextManager[object]:
        """Context for the forward pass and the loss."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.name == "bf16" else torch.float16
        return torch.autocast(self.device_type, dtype=dtype)

    def scaler(self) -> GradScaler:
        """Loss scaling, which fp16's narrow exponent needs; it does nothing elsewhere."""
        return GradScaler(self.device_type, enabled=self.name == "fp16")


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """``auto``: bf16 on a GPU that has it, fp16 on an older one, fp32 elsewhere.

    Raises:
        UserInputError: fp16 on a device other than CUDA.
    """
    if wanted == "auto":
        wanted = "fp32"
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            wanted = "bf16" if native else "fp16"
    if wanted == "fp16" and device.type != "cuda":
        raise UserInputError(
            f"recipe.precision fp16 needs a CUDA device, got {device.type}; take auto, fp32 or bf16"
        )
    return Precision(wanted, device.type)


def cap_memory(device: torch.device, fraction: float | None) -> None:
    """Caps this process's part of the GPU's memory; None lifts the cap of an earlier trial."""
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0 if fraction is None else fraction)


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """What torch reserved at most, since that, not what it used, must fit into a share."""
    if device.type != "cuda":
        return {}
    return {"perf/peak_memory_gb": torch.cuda.max_memory_reserved(device) / 1e9}


def free_memory() -> None:
    """Returns cached blocks to the GPU, so that the next process sharing it can have them.

    The collection comes first because a model in a reference cycle still holds its blocks; on the
    CPU it would only cost time (0.1 s with torch's many objects).
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()
