"""A cluster that scales from nothing has no device yet: make its autoscaler start a first node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    remove_placement_group,
)

from raybench.errors import ResourceError
from raybench.spec import SweepSpec
from raybench.sweep.cluster_view import (
    alive_nodes,
    holds,
    in_words,
    read_autoscaler,
    view_cluster,
    what_waits,
)
from raybench.sweep.stall import LONGEST_S, PATIENCE_S

_LOOK_S = 2.0


@contextmanager
def first_devices(
    spec: SweepSpec, check: Callable[[], None], tell: Callable[[str], None]
) -> Iterator[None]:
    """Begins when the cluster has a node of the kind that the sweep asks for, if it can get one.

    What a sweep asks for is measured on a device, so one must be there before its first trial. A
    node that had to be asked for is held meanwhile, so that it does not go for want of work.

    Args:
        spec: the sweep.
        check: called every two seconds; raises to give up.
        tell: called with sentences for the user.

    Raises:
        ResourceError: a GPU is demanded, and no node type of the cluster has one.
    """
    cpus = float(spec.resources.cpus)
    with ExitStack() as held:
        if _wants_gpu(spec) and not _wait_for({"CPU": cpus, "GPU": 1.0}, check, tell, held):
            _do_without_gpu(spec, tell)
        _wait_for({"CPU": cpus}, check, tell, held)
        yield


def _do_without_gpu(spec: SweepSpec, tell: Callable[[str], None]) -> None:
    wanted = in_words({"CPU": float(spec.resources.cpus), "GPU": 1.0})
    lacking = f"no node type of this cluster has {wanted}"
    if spec.device == "cuda" or spec.resources.gpus != "auto":
        raise ResourceError(
            f"the sweep asks for a GPU, but {lacking}; add one to the cluster file, or give "
            "--set resources.gpus=0 --set device=auto"
        )
    tell(f"{lacking}: trials run on CPUs")


def _wants_gpu(spec: SweepSpec) -> bool:
    return spec.device in ("auto", "cuda") and spec.resources.gpus != 0


def _wait_for(
    wanted: dict[str, float],
    check: Callable[[], None],
    tell: Callable[[str], None],
    held: ExitStack,
) -> bool:
    """False where no node type can hold it; True without an autoscaler, which others look after."""
    nodes = [node["Resources"] for node in alive_nodes()]
    if any(holds(node, wanted) for node in nodes) or read_autoscaler() is None:
        return True
    tell(f"the cluster has no node with {in_words(wanted)} yet: waiting for its autoscaler")
    told_at, interval_s = time.monotonic(), PATIENCE_S
    demand = held.enter_context(_demand(wanted))
    while not demand.wait(_LOOK_S):
        check()
        autoscaler = read_autoscaler()
        if autoscaler is not None and autoscaler.cannot_hold(wanted):
            return False
        if time.monotonic() - told_at > interval_s:
            tell("; ".join(what_waits("the sweep waits", wanted, view_cluster())))
            told_at, interval_s = time.monotonic(), min(2 * interval_s, LONGEST_S)
    return True


@contextmanager
def _demand(wanted: dict[str, float]) -> Iterator[PlacementGroup]:
    """A place that the autoscaler sees, held by nothing.

    Not a task: Ray 2.60 ends the driver when a task is cancelled that has just been done.
    """
    demand = placement_group([wanted])
    try:
        yield demand
    finally:
        remove_placement_group(demand)
