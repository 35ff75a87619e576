"""What the connected Ray has, what its autoscaler does, and what a trial waits for, in words."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

logger = logging.getLogger(__name__)

Resources = Mapping[str, float]
"""In Ray's names and units (memory in bytes)."""
_UNITS = {"memory": ("GB of memory", 1e9)}
_MOST_NODES = 6
_RPC_S = 5


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """What Ray's autoscaler (v2) last said; v1 tells the cluster nothing of this.

    Attributes:
        starting: nodes on their way, ``2 x gpu_spot (g5.2xlarge)``.
        failed: node types that could not be started, with the cloud's reason.
        infeasible: bundles that no node type of its configuration can hold.
    """

    starting: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    infeasible: tuple[Resources, ...] = ()

    def cannot_hold(self, wanted: Resources) -> bool:
        return any(_same(wanted, bundle) for bundle in self.infeasible)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster at one moment.

    Attributes:
        nodes: address of each, and what it has in all.
        free: summed over nodes.
        autoscaler: None where there is none, or one of v1.
    """

    nodes: Sequence[tuple[str, Resources]]
    free: Resources = field(default_factory=dict)
    autoscaler: Autoscaler | None = None


def view_cluster() -> ClusterView:
    """Of the connected Ray, now."""
    return ClusterView(
        nodes=[(node["NodeManagerAddress"], node["Resources"]) for node in alive_nodes()],
        free=ray.available_resources(),
        autoscaler=read_autoscaler(),
    )


def alive_nodes() -> list[Any]:
    """Ray's rows of nodes that have not died."""
    return [node for node in ray.nodes() if node["Alive"]]


def read_autoscaler() -> Autoscaler | None:
    """From the cluster's own state, as ``ray status`` reads it; private names of Ray's."""
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    try:
        client = ray._private.worker.global_worker.gcs_client
        reply = GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=_RPC_S))
    except ray.exceptions.RpcError as error:
        logger.warning("the cluster does not tell of its autoscaler: %s", error)
        return None
    return _autoscaler_of(reply.autoscaling_state)


def _autoscaler_of(state: Any) -> Autoscaler | None:
    if not state.autoscaler_state_version:
        return None
    starting = Counter(
        _type_of(instance)
        for requests in (state.pending_instances, state.pending_instance_requests)
        for instance in requests
        for _ in range(getattr(instance, "count", 1))
    )
    return Autoscaler(
        starting=tuple(f"{count} x {name}" for name, count in starting.items()),
        failed=tuple(f"{_type_of(f)}: {f.reason}" for f in state.failed_instance_requests),
        infeasible=tuple(dict(r.resources_bundle) for r in _infeasible(state)),
    )


def _infeasible(state: Any) -> Iterable[Any]:
    yield from state.infeasible_resource_requests
    for gang in state.infeasible_gang_resource_requests:
        yield from gang.requests
        for selector in gang.bundle_selectors:
            yield from selector.resource_requests


def _type_of(instance: Any) -> str:
    kind, machine = instance.ray_node_type_name, instance.instance_type_name
    return f"{kind} ({machine})" if machine and machine != kind else str(kind)


def _same(one: Resources, other: Resources) -> bool:
    """Whether two bundles ask for the same; Ray adds names of its own to a placement group's."""
    names = {name for name in {*one, *other} if not name.startswith(("bundle_", "node:"))}
    return all(abs(one.get(name, 0.0) - other.get(name, 0.0)) < 1e-6 for name in names)


def holds(node: Resources, wanted: Resources) -> bool:
    """Whether an empty node could run it."""
    return all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in wanted.items())


def what_waits(who: str, wanted: Resources, view: ClusterView) -> list[str]:
    """Sentences: what is asked for, what is there, what is on its way, and what to do.

    Args:
        who: ``3 trials wait``.
        wanted: by each of them.
        view: of the cluster.
    """
    sentences = [f"{who} for {in_words(wanted)}; {_inventory(view)}"]
    fits = any(holds(node, wanted) for _, node in view.nodes)
    scaler = view.autoscaler
    if scaler is not None and scaler.starting:
        sentences.append(f"nodes are being started: {', '.join(scaler.starting)}")
    if scaler is not None and scaler.failed:
        sentences.append(f"nodes could not be started: {'; '.join(scaler.failed)}")
    if fits:
        sentences.append(f"a node is large enough, but held by others; free: {_free(view, wanted)}")
    elif scaler is None:
        sentences.append(
            "no node is large enough, and no autoscaler (v2) starts one: add a node with ray start "
            "--address=HEAD:6379, or ask for less with --set resources.gpus=... or resources.cpus"
        )
    elif scaler.cannot_hold(wanted):
        sentences.append(
            "no node type of the cluster file is large enough: add one, or ask for less with "
            "--set resources.gpus=... or resources.cpus"
        )
    return sentences


def in_words(resources: Resources) -> str:
    """``1 CPU and 0.25 GPU``."""
    parts = [_amount(name, amount) for name, amount in resources.items() if amount]
    return " and ".join(parts) or "nothing"


def _amount(name: str, amount: float) -> str:
    if name.startswith("accelerator_type:"):
        return f"of type {name.partition(':')[2]}"
    word, unit = _UNITS.get(name, (name, 1.0))
    return f"{amount / unit:.3g} {word}"


def _inventory(view: ClusterView) -> str:
    if not view.nodes:
        return "the cluster has no node"
    nodes = [f"{address} ({_counted(r)})" for address, r in view.nodes[:_MOST_NODES]]
    more = len(view.nodes) - len(nodes)
    listing = ", ".join(nodes) + (f" and {more} more" if more else "")
    return f"the cluster has {listing}"


def _counted(resources: Resources) -> str:
    found = [_amount(name, resources.get(name, 0.0)) for name in ("CPU", "GPU")]
    return ", ".join(found)


def _free(view: ClusterView, wanted: Resources) -> str:
    return in_words({name: view.free.get(name, 0.0) for name in wanted}) or "nothing"
