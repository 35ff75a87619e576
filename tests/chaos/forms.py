"""Where trials run under chaos: in the driver, on its private Ray, or on a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.drivers import ENVIRON, Driver, failpoints_environ
from tests.chaos.processes import descendants, of_sessions, running_trials
from tests.chaos.strikes import CACHE, CHECKPOINT, LEDGER, TRACKING

_STORE_BYTES = 100_000_000  # of each node; Ray would take 30% of the memory
RETURN_S = 20.0


class Inline:
    """``raybench run --inline``: the driver is the trial."""

    name = "inline"
    options: tuple[str, ...] = ("--inline",)
    kinds: Sequence[Sequence[str]] = (("driver",), CHECKPOINT, LEDGER, ("driver",), TRACKING)
    first: Sequence[str] = CACHE
    armed = Path()

    def trial_processes(self, driver: Driver) -> list[int]:
        """Of this driver, also when it is dead."""
        return []

    def lose_node(self) -> None:
        raise NotImplementedError(f"no nodes where trials run {self.name}")

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Total, and what is free."""
        return {}, {}


class LocalRay(Inline):
    """A private Ray of the driver's own, which dies with it."""

    name = "ray"
    options = ("--num-cpus", "2")
    kinds = (("driver",), ("trial",), CHECKPOINT, LEDGER)
    first = ()

    def trial_processes(self, driver: Driver) -> list[int]:
        return running_trials(of_sessions({driver.pid}))


class RayCluster(Inline):
    """Two nodes in processes of ours: the head, which the driver is on, and one that dies."""

    name = "cluster"
    kinds = (("node",), ("driver",), ("trial",), ("node",), CHECKPOINT, LEDGER)
    first = ()

    def __init__(self, cluster: Any, armed: Path) -> None:
        self._cluster, self.armed = cluster, armed
        self._node = _add_node(cluster)
        self.options = ("--address", str(cluster.address))

    def trial_processes(self, driver: Driver) -> list[int]:
        return running_trials(descendants(os.getpid()))

    def lose_node(self) -> None:
        """Its raylet dies by SIGKILL, and all that ran there; a new node comes."""
        self._cluster.remove_node(self._node, allow_graceful=False)
        self._node = _add_node(self._cluster)

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Total and free, as soon as they are equal, else after 20 s."""
        import ray

        ray.init(str(self._cluster.address), log_to_driver=False, configure_logging=False)
        try:
            deadline = time.monotonic() + RETURN_S
            while (total := _whole(ray.cluster_resources())) != (
                free := _whole(ray.available_resources())
            ) and time.monotonic() < deadline:
                time.sleep(0.2)
            return total, free
        finally:
            ray.shutdown()


Form = Inline


def _add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=_STORE_BYTES)


def _whole(resources: dict[str, float]) -> dict[str, float]:
    return {name: resources.get(name, 0.0) for name in ("CPU", "GPU")}


@contextmanager
def open_form(name: str, folder: Path) -> Iterator[Form]:
    """The form of that name, for as long as the context lasts."""
    if name != "cluster":
        yield {"inline": Inline, "ray": LocalRay}[name]()
        return
    armed = folder / "failpoints"
    armed.mkdir(parents=True, exist_ok=True)
    before = dict(os.environ)
    os.environ.update(ENVIRON | failpoints_environ(armed))  # nodes and their workers inherit it
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "num_gpus": 0, "object_store_memory": _STORE_BYTES},
    )
    try:
        yield RayCluster(cluster, armed)
    finally:
        cluster.shutdown()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
