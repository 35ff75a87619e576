"""Measurements of footprints as Ray tasks: a whole device and a fresh process for each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from raybench.errors import RaybenchError, TooLargeError
from raybench.sweep.cluster_view import view_cluster, what_waits
from raybench.sweep.measuring import Answer, Request
from raybench.sweep.packing import Shape
from raybench.sweep.ray_runner import ray_resources
from raybench.trial.failures import one_line
from raybench.trial.footprint import measure_footprint

PATIENCE_S = 60.0


def measure_on_ray(
    requests: Sequence[Request], check: Callable[[], None], tell: Callable[[str], None]
) -> Iterator[tuple[Request, Answer]]:
    """Answers as they come.

    Args:
        requests: what to measure.
        check: called every second; raises to give up, since Ray swallows what signals raise.
        tell: called with sentences for the user.
    """
    # max_calls: memory is read from the process as a whole, so it must be a new one.
    task = ray.remote(max_calls=1, max_retries=0)(_measure)
    waiting: dict[Any, Request] = {
        task.options(**_options(request)).remote(request): request for request in requests
    }
    told_at = time.monotonic()
    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=1.0)
        check()
        if not ready and time.monotonic() - told_at > PATIENCE_S:
            told_at = math.inf
            tell(_still_waiting(list(waiting.values())))
        for answer in ready:
            request = waiting.pop(answer)
            try:
                yield request, ray.get(answer)
            except ray.exceptions.RayError as error:
                yield request, (str(error).strip().splitlines() or ["no reason given"])[-1]


def _still_waiting(requests: Sequence[Request]) -> str:
    """In words; some may be at work."""
    who = f"measurements that take long, or wait: {len(requests)}"
    return "; ".join(what_waits(who, _bundle(requests[0]), view_cluster()))


def _bundle(request: Request) -> dict[str, float]:
    """A whole device; of a machine without GPUs its whole memory, so that each runs alone."""
    kind = request.kind
    gpus, memory_gb = (1.0, 0.0) if kind.is_gpu else (0.0, kind.memory_gb)
    return ray_resources(Shape(request.cpus, gpus, memory_gb, kind.accelerator))


def _options(request: Request) -> dict[str, Any]:
    wanted = _bundle(request)
    return {
        "num_cpus": wanted.pop("CPU"),
        "num_gpus": wanted.pop("GPU", 0),
        "memory": wanted.pop("memory", 0),
        "resources": wanted,
    }


def _measure(request: Request) -> Answer:
    """In the worker. What goes wrong there is a sentence, not a reason to end the sweep."""
    device = "cuda" if request.kind.is_gpu else "cpu"
    try:
        return measure_footprint(
            request.backbone, request.classes, request.recipe, device, request.cpus
        )
    except TooLargeError as error:
        return error
    except (RaybenchError, RuntimeError, MemoryError) as error:
        return one_line(error)
