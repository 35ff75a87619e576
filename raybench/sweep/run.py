"""Run or resume a sweep, start to end: home, lease, preflight, trials, tracking, verdict."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import sqlalchemy as sa

from raybench.errors import RaybenchError, ResourceError
from raybench.plan import Pair, Plan, make_plan
from raybench.records import SweepSnapshot
from raybench.settings import Settings
from raybench.spec import SweepSpec
from raybench.sweep.assignment import Assignment, Capacity
from raybench.sweep.board import Shape
from raybench.sweep.configure import checkpoint_folder, trial_config
from raybench.sweep.device import check_device, inline_gpus, trial_device
from raybench.sweep.home import open_home
from raybench.sweep.lease import Lease, acquire
from raybench.sweep.ledger import Ledger, TrialKey
from raybench.sweep.preflight import check_everything
from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher
from raybench.trial.config import TrialConfig

logger = logging.getLogger(__name__)
FLUSH_S = 120.0
DRAINED_FLUSH_S = 5.0


class Observer(Protocol):
    """What a caller may watch. The command line shows a live table with it."""

    def message(self, text: str) -> None:
        """One line worth telling, before trials start or after they end."""

    def watch(self, searcher: SweepSearcher) -> None:
        """Called a few times a second while trials run."""


class Tracker(Protocol):
    """The MLflow projection's thread, or anything that lags behind the ledger alike."""

    @property
    def problem(self) -> str | None: ...
    def start(self) -> None: ...
    def flush(self, timeout_s: float) -> bool: ...
    def stop(self) -> None: ...


class SilentObserver:
    """For notebooks and tests."""

    def message(self, text: str) -> None:
        logger.info(text)

    def watch(self, searcher: SweepSearcher) -> None:
        """Nothing to show."""


@dataclass(frozen=True)
class RunOptions:
    """How, not what: none of these changes a result.

    Attributes:
        inline: in this process, without Ray. address: a running Ray to use.
        max_gpus: leave the rest to colleagues. num_cpus, num_gpus: of a private local Ray.
        accept_leaks: run although images stand in several splits; the report says so.
        tracker: makes the tracking thread from a reader factory; None: no MLflow.
    """

    inline: bool = False
    address: str | None = None
    max_gpus: float | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    accept_leaks: bool = False
    tracker: Callable[[Callable[[], SweepReader]], Tracker] | None = None


@dataclass(frozen=True)
class RunResult:
    """How the run ended. ``signal`` is the number that drained it, if one did."""

    snapshot: SweepSnapshot
    signal: int | None = None
    tracking_problem: str | None = None

    @property
    def exit_code(self) -> int:
        """0 done; 1 a pair ended failed or incomplete; 130 or 143 drained and resumable."""
        current = [pair for pair in self.snapshot.pairs if pair.current]
        if all(pair.state == "done" for pair in current):
            return 0
        if self.signal is not None and not all(p.state in ("done", "failed") for p in current):
            return _signal_code(self.signal)
        return 1


def _signal_code(number: int) -> int:
    return 130 if number == signal.SIGINT else 143


class InterruptedEarlyError(RaybenchError):
    """A signal before the first trial: nothing has to be drained."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("interrupted before the first trial; the same command starts again")
        self.exit_code = exit_code


@dataclass
class _Drain:
    """The signal that asked for a drain; a second one ends the process at once."""

    number: int | None = None
    searcher: SweepSearcher | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(_signal_code(number))
        self.number = number
        if self.searcher is None:
            raise InterruptedEarlyError(_signal_code(number))
        self.searcher.drain()


def run_sweep(
    spec: SweepSpec,
    settings: Settings,
    options: RunOptions | None = None,
    observer: Observer | None = None,
) -> RunResult:
    """Start or resume ``spec`` in the home of ``settings``; running it again runs what is missing.

    Raises:
        DataError: what the preflight found wrong. LeaseHeldError: another driver is at work.
        HomeError, ResourceError: the environment does not allow it.
    """
    options, observer = options or RunOptions(), observer or SilentObserver()
    plan = make_plan(spec)
    with ExitStack() as stack:
        drain = stack.enter_context(_drain_on_signals())
        engine = stack.enter_context(open_home(settings, spec.name, observer.message))
        lease = acquire(engine, spec.name, observer.message)
        stack.callback(lease.release)
        check_device(spec)
        ledger = Ledger(settings.ledger_url, engine, spec, lease)
        snapshot = _register(plan, settings, engine, ledger, observer, options.accept_leaks)
        tracker = _start_tracker(options, engine, spec.name, stack)
        _run_trials(plan, settings, options, observer, ledger, lease, snapshot, drain, stack)
        _flush(tracker, drain)
        final = SweepReader(engine, spec.name).snapshot()
        problem = None if tracker is None else tracker.problem
    return RunResult(final, drain.number, problem)


def _register(
    plan: Plan,
    settings: Settings,
    engine: sa.Engine,
    ledger: Ledger,
    observer: Observer,
    accept_leaks: bool,
) -> SweepSnapshot:
    """Preflight against what the ledger knows, then write plan and facts: nothing half-written."""
    name = plan.spec.name
    before = _snapshot_or_empty(engine, plan)
    _say_difference(plan, before, observer)
    found = check_everything(
        plan, settings, before, observer.message, ledger.read_manifest, accept_leaks
    )
    ledger.register(plan)
    for dataset, manifest in found.manifests.items():
        ledger.write_manifest(dataset, manifest)
    for pair_id, values in found.facts.items():
        ledger.set_facts(pair_id, values)
    return SweepReader(engine, name).snapshot()


def _snapshot_or_empty(engine: sa.Engine, plan: Plan) -> SweepSnapshot:
    from raybench.sweep.reader import sweep_names

    if plan.spec.name in sweep_names(engine):
        return SweepReader(engine, plan.spec.name).snapshot()
    return SweepSnapshot(plan.spec.name, "", 0, plan.spec.search.metric, {}, ())


def _say_difference(plan: Plan, before: SweepSnapshot, observer: Observer) -> None:
    """What is new, kept, and no longer in the file, before anything starts."""
    known = {pair.id: pair for pair in before.pairs}
    if not known:
        return
    now = {pair.id for pair in plan.pairs}
    new = [p for p in plan.pairs if p.id not in known]
    gone = [p for p in before.pairs if p.current and p.id not in now]
    kept = len(plan.pairs) - len(new)
    observer.message(
        f"resuming: {kept} pairs kept, {len(new)} new, {len(gone)} no longer in the file"
    )
    for pair in new:
        observer.message(f"  new: {pair.id}")
    for row in gone:
        observer.message(f"  kept, but no longer in the file: {row.id}")


def _run_trials(
    plan: Plan,
    settings: Settings,
    options: RunOptions,
    observer: Observer,
    ledger: Ledger,
    lease: Lease,
    snapshot: SweepSnapshot,
    drain: _Drain,
    stack: ExitStack,
) -> None:
    device = trial_device(plan.spec)
    facts = {pair.id: pair.facts for pair in snapshot.pairs}

    def configure(assignment: Assignment) -> TrialConfig:
        found = facts[assignment.pair.id]
        return trial_config(plan, settings, lease.attempt, assignment, device, found)

    def searcher_with(
        shape_of: Callable[[Pair], Shape], capacity: Callable[[], Capacity]
    ) -> SweepSearcher:
        searcher = SweepSearcher(
            plan, ledger, snapshot, shape_of, capacity,
            _remaining(plan.spec, ledger), _collector(settings, plan.spec.name),
        )  # fmt: skip
        drain.searcher = searcher
        if drain.number is not None:
            searcher.drain()
        return searcher

    if options.inline:
        from raybench.sweep.inline import run_inline

        shape = Shape(float(plan.spec.resources.cpus), inline_gpus(plan.spec))
        searcher = searcher_with(lambda pair: shape, lambda: Capacity(shape.cpus, shape.gpus))

        def watch() -> None:
            lease.check()
            observer.watch(searcher)

        run_inline(searcher, configure, watch)
        return
    from raybench.sweep.ray_runner import cluster_capacity, ray_session, run_on_ray, trial_shape

    connected = bool(options.address or os.environ.get("RAY_ADDRESS"))
    stack.enter_context(ray_session(options.address, options.num_cpus, options.num_gpus))
    resources = plan.spec.resources
    shape = trial_shape(resources.cpus, resources.gpus, device)
    if options.max_gpus is not None and shape.gpus > options.max_gpus:
        raise ResourceError(
            f"--max-gpus {options.max_gpus:g} leaves no room for a trial with {shape.gpus:g} of a "
            "GPU; give a larger one, or a smaller share with --set resources.gpus=0.25"
        )
    searcher = searcher_with(lambda pair: shape, cluster_capacity(connected, options.max_gpus))

    def wait(thread: threading.Thread) -> None:
        thread.join(timeout=0.25)
        lease.check()
        observer.watch(searcher)

    run_on_ray(searcher, configure, f"{plan.spec.name}-a{lease.attempt}", wait)


def _remaining(spec: SweepSpec, ledger: Ledger) -> Callable[[], float]:
    """Seconds left of ``budget.wall_clock``, counting all earlier attempts."""
    total = spec.budget.wall_clock_s
    if total is None:
        return lambda: math.inf
    started, spent_before = time.monotonic(), ledger.active_s()
    return lambda: total - spent_before - (time.monotonic() - started)


def _collector(settings: Settings, sweep: str) -> Callable[[TrialKey], tuple[str, str] | None]:
    from raybench.trial.checkpoint import collect

    return lambda key: collect(settings.checkpoint_root, checkpoint_folder(sweep, key))


def _start_tracker(
    options: RunOptions, engine: sa.Engine, sweep: str, stack: ExitStack
) -> Tracker | None:
    if options.tracker is None:
        return None
    tracker = options.tracker(lambda: SweepReader(engine, sweep))
    tracker.start()
    stack.callback(tracker.stop)
    return tracker


def _flush(tracker: Tracker | None, drain: _Drain) -> None:
    """A drain must end within seconds; what MLflow lacks then is sent by the next run or sync."""
    started = time.monotonic()
    while tracker is not None and not tracker.flush(1.0):
        allowed = FLUSH_S if drain.number is None else DRAINED_FLUSH_S
        if time.monotonic() - started > allowed or tracker.problem is not None:
            return


@contextmanager
def _drain_on_signals() -> Iterator[_Drain]:
    """SIGINT, SIGTERM and SIGUSR1 (Slurm's early notice) drain while the sweep runs."""
    drain = _Drain()
    if threading.current_thread() is not threading.main_thread():
        yield drain
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, drain) for number in numbers}
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
