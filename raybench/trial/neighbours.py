"""Whether something else used the device while it was measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from raybench.gpus import other_processes
from raybench.trial.memory import gpu_of

MOST_TAKEN = 0.1
"""Part of the machine's processor time that others may take before timings count as shared."""

_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``shared``: timings may be too long; ``seen``: what was seen, in words."""

    shared: bool
    seen: str


class Watch:
    """From its making to ``verdict`` the device should be ours alone."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._others = self._gpu_processes()
        self._taken = _others_s()
        self._started = time.monotonic()

    def verdict(self) -> Verdict:
        if self._device.type == "cuda":
            return self._gpu_verdict()
        now, elapsed_s = _others_s(), time.monotonic() - self._started
        if self._device.type != "cpu" or self._taken is None or now is None or elapsed_s <= 0:
            return Verdict(False, "what else ran cannot be seen on this system")
        part = min(1.0, max(0.0, now - self._taken) / (elapsed_s * (os.cpu_count() or 1)))
        seen = f"other processes took {100 * part:.0f} % of the machine's processor time"
        return Verdict(part > MOST_TAKEN, seen)

    def _gpu_verdict(self) -> Verdict:
        counts = [self._others, self._gpu_processes()]
        known = [count for count in counts if count is not None]
        if not known:
            return Verdict(False, "what else ran on the GPU cannot be seen here")
        most = max(known)
        words = "no other process" if most == 0 else f"{most} other process{'es' * (most > 1)}"
        return Verdict(most > 0, f"{words} on the GPU")

    def _gpu_processes(self) -> int | None:
        gpu = gpu_of(self._device)
        return None if gpu is None else other_processes(gpu, computing=True)


def _others_s() -> float | None:
    """Processor seconds that all but this process (and its children) have used since boot.

    The first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal,
    and guests, which user and nice hold already. What a hypervisor steals is taken from us, too.
    """
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    busy = sum(int(field) for place, field in enumerate(fields) if place not in (3, 4))
    own = os.times()
    spent = own.user + own.system + own.children_user + own.children_system
    return busy / os.sysconf("SC_CLK_TCK") - spent
