"""The one flag that all trials of a run wait on. Its process needs no torch, and imports none."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LIGHT = "RAYBENCH_LIGHT_WORKER"
"""In the environment of workers that run no trials: they leave the first workers to the trials."""


@ray.remote(num_cpus=0, max_concurrency=1000)
class StopSignal:
    """The one flag all trials wait on; ``wait`` blocks until it is set, so nobody polls."""

    async def setup(self) -> None:
        self._event = asyncio.Event()

    async def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


def make_signal() -> Any:
    """On the driver's own node: lost with another one, nobody would hear of a drain."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    signal = StopSignal.options(  # type: ignore[attr-defined]
        scheduling_strategy=here, runtime_env={"env_vars": {LIGHT: "1"}}
    ).remote()
    ray.get(signal.setup.remote())
    return signal
