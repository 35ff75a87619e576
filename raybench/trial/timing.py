"""How long a call takes on a device: warmed up, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

WARM_UP_S = 2.0
"""The first calls choose kernels and ask for memory; of slow calls one must do."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many calls are timed: this many and this long at least, or as long as it may take."""

    warm_up_calls: int
    calls: int
    seconds: float
    longest_s: float
    least_calls: int

    def done(self, calls: int, elapsed_s: float) -> bool:
        enough = calls >= self.calls and elapsed_s >= self.seconds
        return enough or (elapsed_s >= self.longest_s and calls >= self.least_calls)


QUICK = Effort(warm_up_calls=1, calls=2, seconds=1.0, longest_s=1.0, least_calls=2)
"""For a plan."""
CAREFUL = Effort(warm_up_calls=3, calls=30, seconds=2.0, longest_s=10.0, least_calls=5)
"""For a table: a median of 30, and a 95th percentile that is more than the slowest call."""


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def warm_up(call: Callable[[], object], device: torch.device, effort: Effort) -> None:
    started = time.perf_counter()
    for _ in range(effort.warm_up_calls):
        call()
        wait(device)
        if time.perf_counter() - started > WARM_UP_S:
            return


def time_each(call: Callable[[], object], device: torch.device, effort: Effort) -> list[float]:
    """Seconds of single calls, each with its wait for the device; warm up first."""
    seconds: list[float] = []
    started = time.perf_counter()
    while not effort.done(len(seconds), time.perf_counter() - started):
        begun = time.perf_counter()
        call()
        wait(device)
        seconds.append(time.perf_counter() - begun)
    return seconds


def time_together(call: Callable[[], object], device: torch.device, calls: int) -> float:
    """Seconds of ``calls`` calls back to back, waited for once; warm up first."""
    wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    wait(device)
    return time.perf_counter() - started


def quantile_ms(seconds: list[float], part: float) -> float:
    """Linear between the timings, as NumPy's default."""
    return float(np.quantile(seconds, part)) * 1e3
