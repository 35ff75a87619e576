"""The NVIDIA GPUs that this process may use, and what their driver (NVML) tells of them.

Needs no torch, and makes no CUDA context, so a driver process can ask before any trial runs. Where
there is no driver, or it fails in the middle, what cannot be told is left out: nothing raises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one slice of a GPU that is cut up (MIG).

    Attributes:
        index: of the whole GPU, as the driver counts.
        uuid: ``GPU-...``, a slice's ``MIG-...``.
        memory_gb: of the GPU or the slice, in units of 10^9 bytes.
        exclusive: set to one process (or thread) at a time.
        mig: a slice.
    """

    index: int
    uuid: str
    name: str
    memory_gb: float
    exclusive: bool = False
    mig: bool = False


@dataclass(frozen=True, slots=True)
class _Whole:
    """A GPU's UUID, and what of it can be used: itself, or its slices."""

    uuid: str
    parts: tuple[Gpu, ...]


def local_gpus() -> tuple[Gpu, ...]:
    """Those that ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    Numbers count as under ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; without it CUDA puts the fastest first,
    where a machine has several kinds. A GPU cut into slices stands for all of its slices; CUDA
    takes the first one unless a slice is named.
    """
    with _driver() as nvml:
        count = 0 if nvml is None else _attempt(nvml, nvml.nvmlDeviceGetCount) or 0
        found = [_examine(nvml, index) for index in range(count)]
    return tuple(_visible(found, os.environ.get("CUDA_VISIBLE_DEVICES")))


def why_alone(gpus: Iterable[Gpu]) -> str:
    """Why only one process may use such a GPU at a time; empty where several may."""
    gpus = list(gpus)
    if any(gpu.mig for gpu in gpus):
        return "a MIG slice"
    return "in exclusive-process mode" if any(gpu.exclusive for gpu in gpus) else ""


def energy_j(gpu: Gpu) -> float | None:
    """Joules since the driver was loaded; None where the GPU has no counter (slices have none)."""
    if gpu.mig:
        return None
    millijoules = _ask(gpu, lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    return None if millijoules is None else float(millijoules) / 1e3


def used_memory_gb(gpu: Gpu) -> float | None:
    """What all processes together take."""
    used = _ask(gpu, lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).used)
    return None if used is None else float(used) / 1e9


def own_memory_gb(gpu: Gpu) -> float | None:
    """What this process takes; None also in a container that hides process numbers."""
    found = [process for process in _processes(gpu) or () if process.pid == os.getpid()]
    used = getattr(found[0], "usedGpuMemory", None) if found else None
    return None if used is None else float(used) / 1e9


def other_processes(gpu: Gpu, computing: bool = False) -> int | None:
    """How many other processes compute there.

    Args:
        gpu: which one.
        computing: this process does, too. In a container the driver may list it under the host's
            number, so where none of the listed is ours, one of them is.
    """
    processes = _processes(gpu)
    if processes is None:
        return None
    pids = {process.pid for process in processes}
    if os.getpid() in pids or (computing and pids):
        return len(pids) - 1
    return len(pids)


def _processes(gpu: Gpu) -> list[Any] | None:
    return _ask(gpu, lambda nvml, handle: list(nvml.nvmlDeviceGetComputeRunningProcesses(handle)))


@contextmanager
def _driver() -> Iterator[Any]:
    """The module ``pynvml`` while the driver listens, or None."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        yield None
        return
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        _attempt(pynvml, pynvml.nvmlShutdown)


def _attempt(nvml: Any, question: Callable[[], _T]) -> _T | None:
    """The driver's answer; None where it has none, or has just failed."""
    try:
        return question()
    except nvml.NVMLError:
        return None


def _ask(gpu: Gpu, question: Callable[[Any, Any], _T]) -> _T | None:
    with _driver() as nvml:
        if nvml is None:
            return None
        return _attempt(nvml, lambda: question(nvml, nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)))


def _examine(nvml: Any, index: int) -> _Whole:
    """A GPU and its slices; nothing where the driver cannot tell what it is."""
    handle = _attempt(nvml, lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    uuid = handle and _attempt(nvml, lambda: str(nvml.nvmlDeviceGetUUID(handle)))
    if not handle or not uuid:
        return _Whole("", ())
    mode = _attempt(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
    if mode == nvml.NVML_DEVICE_MIG_ENABLE:
        return _Whole(uuid, tuple(_slices(nvml, handle, index)))
    gpu = _attempt(nvml, lambda: _describe(nvml, handle, index, mig=False))
    return _Whole(uuid, () if gpu is None else (gpu,))


def _slices(nvml: Any, parent: Any, index: int) -> Iterator[Gpu]:
    """There are fewer than it could be cut into, and their numbers need not follow each other."""
    for number in range(_attempt(nvml, lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(parent)) or 0):
        ask = partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, number)
        handle = _attempt(nvml, ask)
        gpu = handle and _attempt(nvml, partial(_describe, nvml, handle, index, mig=True))
        if gpu:
            yield gpu


def _describe(nvml: Any, handle: Any, index: int, mig: bool) -> Gpu:
    mode = _attempt(nvml, lambda: nvml.nvmlDeviceGetComputeMode(handle))
    alone = (nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS, nvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD)
    return Gpu(
        index=index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        memory_gb=nvml.nvmlDeviceGetMemoryInfo(handle).total / 1e9,
        exclusive=mode in alone,
        mig=mig,
    )


def _visible(found: list[_Whole], wanted: str | None) -> Iterator[Gpu]:
    """As CUDA reads the variable: the first entry that names nothing hides what follows."""
    if wanted is None:
        yield from (gpu for whole in found for gpu in whole.parts)
        return
    for entry in wanted.split(","):
        named = _named(found, entry.strip())
        if not named:
            return
        yield from named


def _named(found: list[_Whole], entry: str) -> tuple[Gpu, ...]:
    """By number, or by a UUID or its beginning, as far as that is unique."""
    if entry.isdecimal():
        return found[int(entry)].parts if int(entry) < len(found) else ()
    if entry.startswith("GPU-"):
        matches = [whole.parts for whole in found if whole.uuid.startswith(entry)]
    elif entry.startswith("MIG-"):
        slices = (gpu for whole in found for gpu in whole.parts)
        matches = [(gpu,) for gpu in slices if gpu.uuid.startswith(entry)]
    else:
        return ()
    return matches[0] if len(matches) == 1 else ()
