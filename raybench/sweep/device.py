"""Devices: what kinds there are, and whether this machine's GPU can be used.

A silent fall back to the CPU would cost days.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from raybench.errors import ResourceError
from raybench.spec import SweepSpec


@dataclass(frozen=True, slots=True)
class Kind:
    """Devices that trials fit in the same way.

    Attributes:
        name: NVML's name of the GPU, or ``cpu``.
        count: devices of it. CPU: nodes.
        memory_gb: of one GPU, the smallest of them; of a node that Ray gives out; 0: not known.
        cores: of the largest node that has it.
        shareable: whether several processes may use one device.
        why: where not, the reason.
        accelerator: Ray's name of its type, where the cluster has several; empty: any.
    """

    name: str
    count: float
    memory_gb: float
    cores: float
    shareable: bool = True
    why: str = ""
    accelerator: str = ""

    @property
    def is_gpu(self) -> bool:
        return self.name != "cpu"


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


def trial_device(spec: SweepSpec, on_cpu: bool = False) -> str:
    """What ``trial/`` is told: no GPU asked for means none used, also where one is in sight.

    ``on_cpu``: Ray has no GPU to give. Ray knows nothing of Apple's.
    """
    import torch

    declined = spec.resources.gpus == 0 or (on_cpu and not torch.backends.mps.is_available())
    return "cpu" if spec.device == "auto" and declined else spec.device


def local_kind(spec: SweepSpec) -> Kind:
    """The device of trials that run in this process, one at a time; it is not measured."""
    import torch

    cores = float(spec.resources.cpus)
    declined = spec.device == "cpu" or spec.resources.gpus == 0
    if declined or not torch.cuda.is_available():
        return Kind("cpu", 1, 0.0, cores)
    return Kind(torch.cuda.get_device_name(), 1, 0.0, cores, shareable=False)
