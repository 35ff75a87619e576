"""The trials of one attempt: in this process, or on Ray."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import sqlalchemy as sa

from raybench.costs import expected_seconds
from raybench.errors import ResourceError
from raybench.plan import Plan
from raybench.records import SweepSnapshot
from raybench.settings import Settings
from raybench.sweep.adoption import done_pairs
from raybench.sweep.assignment import FINISHED, Assignment, Capacity
from raybench.sweep.configure import trial_config
from raybench.sweep.device import Kind, local_kind, trial_device
from raybench.sweep.footprints import Footprints
from raybench.sweep.history import costs_of
from raybench.sweep.lease import Lease
from raybench.sweep.ledger import Ledger
from raybench.sweep.measuring import Measure, pack
from raybench.sweep.options import Observer, RunOptions
from raybench.sweep.packing import Fit, Packing, Shape
from raybench.sweep.ray_session import is_private
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.signals import Drain
from raybench.sweep.supplies import Supplies
from raybench.sweep.trial_files import TrialFiles, checkpoints_for_driver
from raybench.trial.config import TrialConfig


@dataclass(frozen=True)
class Drive:
    """Everything an attempt works with, from the preflight on."""

    plan: Plan
    settings: Settings
    options: RunOptions
    observer: Observer
    engine: sa.Engine
    ledger: Ledger
    lease: Lease
    snapshot: SweepSnapshot
    drain: Drain

    def close(self) -> None:
        """Where nothing is owed: end what was left open, without asking for any device."""
        fits = {pair.id: [Fit(pair.id, Shape(1.0, 0.0))] for pair in self.plan.pairs}
        capacity = Capacity(math.inf, math.inf)
        searcher = self._searcher(Packing(fits), lambda: capacity, on_cpu=True)
        if searcher.ask() != FINISHED:
            raise RuntimeError("nothing is owed, yet the searcher has work")

    def run_inline(self) -> None:
        """The same in this process, one trial at a time."""
        from raybench.sweep.inline import run_inline

        kind, capacity = local_kind(self.plan.spec), Capacity(math.inf, math.inf)
        packing = self._packing([kind], lambda requests: ())
        searcher = self._searcher(packing, lambda: capacity, on_cpu=not kind.is_gpu)

        def watch() -> None:
            self.lease.check()
            self.observer.watch(searcher)

        run_inline(searcher, self._configure, watch)
        self._files.tidy_again()

    def run_on_ray(self) -> None:
        """Until nothing is owed, the clock has run out, or a signal drains it; Ray is connected.

        Raises:
            ResourceError: a device that cannot be had, or a node on which trials cannot run.
        """
        from raybench.sweep.nodes import Nodes, node_work
        from raybench.sweep.supplies import supplies_of

        if is_private(self.options):
            self._run_on_ray(self._kinds())
            return
        done = done_pairs(self.plan, self.snapshot)
        owing = [pair for pair in self.plan.pairs if pair.id not in done]
        supplies = supplies_of(self.plan, self.settings, owing, self._facts)
        with node_work(self.settings.checkpoints, self.plan.spec.name, supplies) as work:
            nodes = Nodes(work, self.observer.message)
            nodes.publish()  # which takes as long as it takes, so before a node waits for it
            kinds = self._kinds()
            nodes.check_all(self._check)
            with nodes.watched():
                self._run_on_ray(kinds, nodes.problems, supplies)
        if nodes.problems:
            raise ResourceError(nodes.problems)

    def _kinds(self) -> Sequence[Kind]:
        """Of devices that Ray has, or gets for this sweep. A node may go again; its kind is known.

        Raises:
            ResourceError: a GPU is demanded, and cannot be had.
        """
        from raybench.sweep.first_node import first_devices
        from raybench.sweep.inventory import device_kinds

        with first_devices(self.plan.spec, self._check, self.observer.message):
            return device_kinds(trial_device(self.plan.spec))

    def _run_on_ray(
        self,
        kinds: Sequence[Kind],
        problems: Sequence[str] = (),
        supplies: Supplies | None = None,
    ) -> None:
        """Drains as soon as there are ``problems``; ``supplies`` are for other nodes."""
        from raybench.sweep.cluster_view import view_cluster
        from raybench.sweep.inventory import cluster_capacity
        from raybench.sweep.ray_measure import measure_on_ray
        from raybench.sweep.ray_runner import (
            CLUSTER_PATIENCE_S,
            DRAIN_PATIENCE_S,
            ray_resources,
            run_on_ray,
        )
        from raybench.sweep.stall import StallWatch

        on_cpu, private = not kinds[0].is_gpu, is_private(self.options)
        if on_cpu and not private and trial_device(self.plan.spec) == "auto":
            self.observer.message("no node of this Ray has a GPU now: trials run on CPUs")
        packing = self._packing(
            kinds, partial(measure_on_ray, check=self._check, tell=self.observer.message)
        )
        capacity = cluster_capacity(not private, self.options.max_gpus)
        searcher = self._searcher(packing, capacity, on_cpu)

        def wait(thread: threading.Thread) -> None:
            thread.join(timeout=0.25)
            self.lease.check()
            if problems:
                searcher.drain()
            self.observer.watch(searcher)

        name = f"{self.plan.spec.name}-a{self.lease.attempt}"
        stall = StallWatch(view_cluster, ray_resources, self.observer.message)
        configure = partial(self._configure, on_cpu=on_cpu)
        patience_s = DRAIN_PATIENCE_S if private else CLUSTER_PATIENCE_S
        run_on_ray(searcher, configure, name, wait, stall, supplies, patience_s)
        self._files.tidy_again()

    def _check(self) -> None:
        """Whether to go on before there is a searcher.

        Raises:
            InterruptedEarlyError: a signal came. LeaseHeldError: another driver has taken over.
        """
        self.lease.check()
        self.drain.check()

    def _packing(self, kinds: Sequence[Kind], measure: Measure) -> Packing:
        """``measure`` is for what this home does not know yet."""
        return pack(
            self.plan,
            kinds,
            {pair.id: int(self._facts[pair.id]["classes"]) for pair in self.plan.pairs},
            Footprints(self.engine, self.lease),
            measure,
            self.options.max_gpus,
            self.observer.message,
            done_pairs(self.plan, self.snapshot),
        )

    def _searcher(
        self, packing: Packing, capacity: Callable[[], Capacity], on_cpu: bool
    ) -> SweepSearcher:
        self._files.tidy_all(row for pair in self.snapshot.pairs for row in pair.trials)
        expected_s = expected_seconds(
            self.plan, costs_of(self.engine, on_cpu, (self.snapshot,)), self._facts
        )
        searcher = SweepSearcher(
            self.plan, self.ledger, self.snapshot, packing, capacity,
            self._remaining(), self._files, expected_s,
        )  # fmt: skip
        self.drain.searcher = searcher
        if self.drain.number is not None:
            searcher.drain()
        return searcher

    def _configure(self, assignment: Assignment, on_cpu: bool = False) -> TrialConfig:
        """``on_cpu``: Ray was told of no GPU, so a trial must not take one that is there."""
        return trial_config(
            self.plan,
            self.settings,
            self.lease.attempt,
            assignment,
            trial_device(self.plan.spec, on_cpu),
            self._facts[assignment.pair.id],
        )

    @cached_property
    def _files(self) -> TrialFiles:
        root = checkpoints_for_driver(self.settings)
        return TrialFiles(root, self.plan.spec, self.lease.attempt)

    @cached_property
    def _facts(self) -> Mapping[str, Mapping[str, Any]]:
        return {pair.id: pair.facts for pair in self.snapshot.pairs}

    def _remaining(self) -> Callable[[], float]:
        """Seconds left of ``budget.wall_clock``, counting all earlier attempts."""
        total = self.plan.spec.budget.wall_clock_s
        if total is None:
            return lambda: math.inf
        started, spent_before = time.monotonic(), self.ledger.active_s()
        return lambda: total - spent_before - (time.monotonic() - started)
