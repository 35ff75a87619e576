"""Whether this machine's GPU can be used; a silent fall back to the CPU would cost days."""

from __future__ import annotations

import shutil
from pathlib import Path

from raybench.errors import ResourceError
from raybench.spec import SweepSpec


def unusable_gpu() -> str | None:
    """What is wrong, when the driver sees a GPU that torch does not; else None."""
    import torch

    seen = shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
    if not seen or torch.cuda.is_available():
        return None
    return (
        f"the driver sees a GPU, torch {torch.__version__} (built for CUDA {torch.version.cuda}) "
        "does not; install a torch build for this driver, or ask for the CPU with --set device=cpu"
    )


def check_device(spec: SweepSpec) -> None:
    """Refuse to train on the CPU by accident.

    Raises:
        ResourceError: a GPU is here, was not declined, and torch cannot use it.
    """
    if spec.device == "cpu" or spec.resources.gpus == 0:
        return
    problem = unusable_gpu()
    if problem is not None:
        raise ResourceError(problem)


def trial_device(spec: SweepSpec) -> str:
    """What ``trial/`` is told: no GPU asked for means none used, also where one is in sight."""
    return "cpu" if spec.device == "auto" and spec.resources.gpus == 0 else spec.device


def inline_gpus(spec: SweepSpec) -> float:
    """GPU share of a trial that runs in this process: all of it, or none."""
    import torch

    declined = spec.device == "cpu" or spec.resources.gpus == 0
    return 0.0 if declined or not torch.cuda.is_available() else 1.0
