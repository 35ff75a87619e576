"""What this process takes of a device's memory, at most and beside torch's allocator."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import torch

from raybench.gpus import Gpu, local_gpus, other_processes, own_memory_gb, used_memory_gb
from raybench.trial.device import free_memory, reset_peak_memory

MOST_OVERHEAD = 0.05
"""Part of a GPU, where a neighbour's memory can't be told from ours."""

_STATUS = Path("/proc/self/status")


def start_peak(device: torch.device) -> None:
    """Forget earlier peaks, as far as the system lets us: on Linux this process's own one."""
    free_memory()
    reset_peak_memory(device)
    if device.type == "cpu":
        # 5 resets VmHWM (proc(5), /proc/pid/clear_refs); hardened containers refuse it.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_gb(device: torch.device) -> float | None:
    """On a GPU what torch reserved at most, since that must fit; on a CPU the whole process.

    There the peak of resident memory since ``start_peak`` (where it could not be reset: since the
    process began) without file-backed pages, which the system can take back at any time. MPS: None,
    it keeps no peak.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    if device.type != "cpu":
        return None
    return _linux_peak_gb() if _STATUS.exists() else _posix_peak_gb()


def _linux_peak_gb() -> float | None:
    """VmHWM and RssFile of proc(5); kernels before 4.5 do not tell the second."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    if "VmHWM" not in lines:
        return None
    peak, files = (int(lines.get(key, "0").split()[0]) for key in ("VmHWM", "RssFile"))
    return max(0, peak - files) * 1024 / 1e9


def _posix_peak_gb() -> float:
    """All resident pages since the process began: no more is told (getrusage(2))."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def total_memory_gb(device: torch.device) -> float | None:
    """Of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 1e9
    if device.type != "cpu":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def overhead_gb(device: torch.device) -> float:
    """CUDA's context and its libraries: what this process takes beside torch's allocator."""
    if device.type != "cuda":
        return 0.0
    gpu = gpu_of(device)
    reserved = torch.cuda.memory_reserved(device) / 1e9
    own = None if gpu is None else own_memory_gb(gpu)
    if own is not None:
        return max(0.0, own - reserved)
    free, total = torch.cuda.mem_get_info(device)
    used = None if gpu is None else used_memory_gb(gpu)
    beside = max(0.0, ((total - free) / 1e9 if used is None else used) - reserved)
    alone = gpu is not None and other_processes(gpu, computing=True) == 0
    return beside if alone else min(beside, MOST_OVERHEAD * total / 1e9)


def gpu_of(device: torch.device) -> Gpu | None:
    """The driver's view of torch's device, by UUID: the two may count differently."""
    if device.type != "cuda":
        return None
    found = local_gpus()
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    named = [gpu for gpu in found if uuid and gpu.uuid.partition("-")[2] == uuid]
    if not named and len(found) == 1:
        return found[0]
    return named[0] if named else None
