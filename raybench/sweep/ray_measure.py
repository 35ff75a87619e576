"""Measurements of footprints as Ray tasks: a whole device and a fresh process for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ray

from raybench.errors import RaybenchError
from raybench.measurements import Footprint
from raybench.sweep.device import Kind
from raybench.sweep.measuring import Request
from raybench.sweep.packing import Shape
from raybench.sweep.ray_runner import ray_resources
from raybench.trial.failures import one_line
from raybench.trial.footprint import measure_footprint


def measure_on_ray(requests: Sequence[Request]) -> Iterator[tuple[Request, Footprint | str]]:
    """As they are done; a text says why one could not be made."""
    # max_calls: memory is read from the process as a whole, so it must be a new one.
    task = ray.remote(max_calls=1)(_measure)
    waiting: dict[Any, Request] = {
        task.options(**_options(request)).remote(request): request for request in requests
    }
    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1)
        for answer in ready:
            request = waiting.pop(answer)
            try:
                yield request, ray.get(answer)
            except ray.exceptions.RayError as error:
                yield request, (str(error).strip().splitlines() or ["no reason given"])[-1]


def _options(request: Request) -> dict[str, Any]:
    kind: Kind = request.kind
    shape = Shape(request.cpus, 1.0 if kind.is_gpu else 0.0, 0.0, kind.accelerator)
    wanted = ray_resources(shape)
    return {
        "num_cpus": wanted.pop("CPU"),
        "num_gpus": wanted.pop("GPU", 0),
        "resources": wanted,
    }


def _measure(request: Request) -> Footprint | str:
    """In the worker. What goes wrong there is a sentence, not a reason to end the sweep."""
    device = "cuda" if request.kind.is_gpu else "cpu"
    try:
        return measure_footprint(
            request.backbone, request.classes, request.recipe, device, request.cpus
        )
    except (RaybenchError, RuntimeError, MemoryError) as error:
        return one_line(error)
