"""Every node of a cluster, before trials rely on it: the same raybench, the same storage, the data.

A task looks at each node: at those that are there before the first trial, and at those that join
later as they come. A node that would spoil the sweep ends it, in words.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raybench.errors import RaybenchError, ResourceError
from raybench.storage import Store
from raybench.sweep.cluster_view import alive_nodes
from raybench.sweep.supplies import Supplies, fetch_supplies, publish_supplies
from raybench.version import LEDGER_SCHEMA, RESULT_VERSION, __version__

logger = logging.getLogger(__name__)

LOOK_S = 5.0
PATIENCE_S = 60.0
AGAIN_S = 30.0
_COMPARED = ("torch", "timm", "torchvision")
"""Libraries of which another version may give other numbers."""


@dataclass(frozen=True, slots=True)
class NodeWork:
    """What each node is asked. Plain values: it travels to processes of other hosts.

    Attributes:
        storage: folder or URL that every node must reach.
        marker: file in it that the driver has written. secret: its content.
        versions: of raybench's parts and of the libraries, as the driver has them.
        supplies: what the trials to come need there.
    """

    storage: str
    marker: str
    secret: bytes
    versions: Mapping[str, str]
    supplies: Supplies


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """``problems`` end the sweep, what ``may_pass`` at the second look; ``remarks`` are told."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    may_pass: bool = False


def versions_here() -> dict[str, str]:
    """What must be the same on every node, and what had better be."""
    ours = {
        "raybench": __version__,
        "results": str(RESULT_VERSION),
        "ledger": str(LEDGER_SCHEMA),
    }
    return ours | {name: metadata.version(name) for name in _COMPARED}


def look(work: NodeWork) -> NodeAnswer:
    """On the node: compare, reach the storage, fetch what trials will need."""
    found = versions_here()
    if found["results"] != work.versions["results"]:
        theirs, ours = found["raybench"], work.versions["raybench"]
        return NodeAnswer((f"has raybench {theirs}, the driver {ours}: install the same",))
    remarks = [
        f"has {name} {found[name]}, the driver {version}: its numbers may differ"
        for name, version in work.versions.items()
        if found[name] != version
    ]
    try:
        if not _sees(work):
            return NodeAnswer((_not_shared(work.storage),), tuple(remarks))
        fetch_supplies(work.supplies, logger.info)
    except RaybenchError as error:
        return NodeAnswer(tuple(error.sentences), tuple(remarks), may_pass=True)
    except OSError as error:
        problem = f"cannot read {work.storage}: {error}"
        return NodeAnswer((problem,), tuple(remarks), may_pass=True)
    return NodeAnswer((), tuple(remarks))


def _sees(work: NodeWork) -> bool:
    try:
        return Store(work.storage).get(work.marker) == work.secret
    except FileNotFoundError:
        return False


def _not_shared(storage: str) -> str:
    return (
        f"does not see the driver's {storage}: checkpoints need a folder that all nodes share, or "
        "an object store; set RAYBENCH_STORAGE (s3://bucket/prefix) or give such a --home"
    )


class Nodes:
    """Looks at each node once.

    Args:
        work: what to ask of it.
        tell: called with sentences for the user, from whichever thread calls.
    """

    def __init__(self, work: NodeWork, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._supplies = work.supplies
        self._work = ray.put(work)
        # Whatever runs trials has imported what they need; this wants neither GPU nor torch.
        self._look = ray.remote(num_cpus=0, max_retries=0)(look)
        self._known = {ray.get_runtime_context().get_node_id()}
        self._asked: dict[Any, tuple[str, str]] = {}
        self._again: dict[str, float] = {}
        """When nodes whose first look went wrong are due; never, once they were looked at again."""
        self.problems: list[str] = []

    def check_all(self, check: Callable[[], None]) -> None:
        """Wait for the answer of every node that is there now.

        Args:
            check: called every second; raises to give up.

        Raises:
            ResourceError: nodes on which trials cannot run, each with its reason.
        """
        tell_at = time.monotonic() + PATIENCE_S
        self._ask()
        while (self._asked or self._due()) and not self.problems:
            self._take(timeout_s=1.0)
            self._ask()
            check()
            if time.monotonic() > tell_at and self._asked:
                tell_at = math.inf
                names = ", ".join(address for _, address in self._asked.values())
                self._tell(f"still waiting for {names}: data and weights are brought there")
        if self.problems:
            raise ResourceError(self.problems)

    def _ask(self) -> None:
        """Nodes that are new, and those whose second look is due."""
        now = time.monotonic()
        alive = {node["NodeID"]: node["NodeManagerAddress"] for node in alive_nodes()}
        due = {node for node, at in self._again.items() if at <= now}
        for node_id in alive.keys() & (due | alive.keys() - self._known):
            address = alive[node_id]
            self._known.add(node_id)
            if node_id in due:
                self._again[node_id] = math.inf
            there = NodeAffinitySchedulingStrategy(node_id, soft=False)
            answer = self._look.options(scheduling_strategy=there).remote(self._work)
            self._asked[answer] = node_id, address

    def _due(self) -> bool:
        """Whether a node that is still there waits for its second look."""
        alive = {node["NodeID"] for node in alive_nodes()}
        return any(node in alive and at < math.inf for node, at in self._again.items())

    def publish(self) -> None:
        """Put on the storage what nodes will need; they are given trials as soon as they join.

        Raises:
            DataError, ResourceError: it cannot be put there.
        """
        publish_supplies(self._supplies, self._tell)

    def _take(self, timeout_s: float) -> None:
        """Answers that have come."""
        asked = list(self._asked)
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=timeout_s) if asked else ([], [])
        for answer in ready:
            node_id, address = self._asked.pop(answer)
            try:
                found = ray.get(answer)
            except ray.exceptions.RayError as error:
                found = _why_silent(error)
            self._hear(node_id, address, found)

    def _hear(self, node_id: str, address: str, found: NodeAnswer) -> None:
        """What may pass (a node that is dying, a store that is busy) is looked at once more."""
        for remark in found.remarks:
            self._tell(f"node {address} {remark}")
        if found.problems and found.may_pass and node_id not in self._again:
            self._again[node_id] = time.monotonic() + AGAIN_S
            logger.info("node %s %s; it is looked at again", address, "; ".join(found.problems))
            return
        self.problems += [f"node {address} {problem}" for problem in found.problems]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Meanwhile nodes that join are looked at in a thread; ``problems`` tells what is wrong."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(LOOK_S):
                try:
                    self._ask()
                    self._take(timeout_s=0.0)
                except Exception as error:  # noqa: BLE001 - trials that run need no such look
                    logger.warning("cannot look at the nodes: %s", error)

        thread = threading.Thread(target=watch, name="raybench-nodes", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _why_silent(error: Exception) -> NodeAnswer:
    words = str(error)
    if "No module named 'raybench'" in words:
        return NodeAnswer(("has no raybench in the Python that Ray runs on: install it there",))
    last = (words.strip().splitlines() or ["no reason given"])[-1]
    return NodeAnswer((f"does not run tasks: {last}",), may_pass=True)


@contextmanager
def node_work(storage: str, sweep: str, supplies: Supplies) -> Iterator[NodeWork]:
    """What to ask of nodes; the file that they look for stands in ``storage`` meanwhile."""
    store, marker, secret = Store(storage), f".shared-by-{sweep}", uuid.uuid4().bytes
    store.put(marker, secret)
    try:
        yield NodeWork(storage, marker, secret, versions_here(), supplies)
    finally:
        store.delete([marker])
