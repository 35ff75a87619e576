"""What the connected Ray has: room for trials, and the kinds of devices in it."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raybench.gpus import Gpu, local_gpus, why_alone
from raybench.sweep.assignment import Capacity
from raybench.sweep.cluster_view import alive_nodes
from raybench.sweep.device import Kind

logger = logging.getLogger(__name__)
ELASTIC_FACTOR = 1.5
CAPACITY_AGE_S = 2.0
LOOK_S = 60.0
_TYPE = "accelerator_type:"


def cluster_capacity(elastic: bool, max_gpus: float | None) -> Callable[[], Capacity]:
    """What trials may hold now, read at most every two seconds.

    On a cluster that may grow, half as much again and one node more is asked for, so that its
    autoscaler sees the work, also when every node is gone; a private local Ray cannot grow, and
    keeping nothing pending there lets every freed actor be reused.
    """
    read_at, known = -math.inf, Capacity(0.0, 0.0)
    one_more: dict[str, float] = defaultdict(float)
    """The largest amounts that any node has had."""
    types: set[str] = set()

    def capacity() -> Capacity:
        nonlocal read_at, known
        if time.monotonic() - read_at > CAPACITY_AGE_S:
            nodes = alive_nodes()
            for node in nodes if elastic else ():
                for name, amount in node["Resources"].items():
                    one_more[name] = max(one_more[name], amount)
            types.update(_by_type(nodes))
            read_at, known = time.monotonic(), _capacity_of(nodes, one_more, types, max_gpus)
        return known

    return capacity


def _capacity_of(
    nodes: Iterable[Any],
    one_more: Mapping[str, float],
    types: Iterable[str],
    max_gpus: float | None,
) -> Capacity:
    """``one_more``: what a node more would have; empty where none can come."""
    resources = [node["Resources"] for node in nodes]
    factor = ELASTIC_FACTOR if one_more else 1.0

    def offered(name: str, having: str = "") -> float:
        there: float = sum(
            found.get(name, 0.0) for found in resources if not having or having in found
        )
        return factor * there + one_more.get(name, 0.0)

    by_type = {name: offered("GPU", f"{_TYPE}{name}") if name else offered("GPU") for name in types}
    gpus = offered("GPU") if max_gpus is None else min(offered("GPU"), max_gpus)
    return Capacity(offered("CPU"), gpus, offered("memory") / 1e9, by_type)


def _by_type(nodes: Iterable[Any]) -> dict[str, list[Any]]:
    """Nodes that have GPUs, by Ray's name of their type; empty where Ray has none."""
    found: dict[str, list[Any]] = defaultdict(list)
    for node in nodes:
        if node["Resources"].get("GPU", 0.0):
            types = [name for name in node["Resources"] if name.startswith(_TYPE)]
            found[types[0].removeprefix(_TYPE) if types else ""].append(node)
    return dict(found)


def device_kinds(device: str) -> tuple[Kind, ...]:
    """The kinds of GPUs of the connected Ray, the most numerous first; its CPUs without any.

    Args:
        device: as in the sweep file; ``cpu`` leaves the GPUs alone.
    """
    nodes = alive_nodes()
    by_type = {} if device in ("cpu", "mps") else _by_type(nodes)
    if not by_type:
        return (_cpu_kind(nodes),)
    seen = _look([node for found in by_type.values() for node in found])
    kinds = [_gpu_kind(name, found, seen) for name, found in by_type.items()]
    if len(kinds) == 1:
        return (replace(kinds[0], accelerator=""),)
    return tuple(sorted(kinds, key=lambda kind: (-kind.count, kind.name)))


def _cpu_kind(nodes: Iterable[Any]) -> Kind:
    resources = [node["Resources"] for node in nodes]
    largest: dict[str, float] = max(resources, key=lambda found: found.get("CPU", 0.0), default={})
    return Kind("cpu", len(resources), largest.get("memory", 0.0) / 1e9, largest.get("CPU", 0.0))


def _gpu_kind(accelerator: str, nodes: Iterable[Any], seen: Mapping[str, tuple[Gpu, ...]]) -> Kind:
    nodes = list(nodes)
    gpus = [gpu for node in nodes for gpu in seen.get(node["NodeID"], ())]
    why = why_alone(gpus)
    return Kind(
        name=" + ".join(sorted({gpu.name for gpu in gpus})) or accelerator or "GPU",
        count=sum(node["Resources"]["GPU"] for node in nodes),
        memory_gb=min((gpu.memory_gb for gpu in gpus), default=0.0),
        cores=max(node["Resources"].get("CPU", 0.0) for node in nodes),
        shareable=not why,
        why=why,
        accelerator=accelerator,
    )


def _look(nodes: Iterable[Any]) -> dict[str, tuple[Gpu, ...]]:
    """Node id -> its GPUs as NVML shows them; a node that does not answer has none."""
    here = ray.get_runtime_context().get_node_id()
    found, asked = {}, {}
    look = ray.remote(num_cpus=0)(local_gpus)
    for node in nodes:
        name = node["NodeID"]
        if name == here:
            found[name] = local_gpus()
        else:
            there = NodeAffinitySchedulingStrategy(name, soft=False)
            asked[name] = look.options(scheduling_strategy=there).remote()
    if asked:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=LOOK_S)
    for name, answer in asked.items():
        try:
            found[name] = ray.get(answer, timeout=0.1)
        except (ray.exceptions.RayError, TimeoutError) as error:
            logger.warning("node %s does not say what GPUs it has: %s", name, error)
    return found
