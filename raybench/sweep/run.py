"""Run or resume a sweep, start to end: home, lease, preflight, trials, tracking, verdict."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from raybench.plan import Plan, make_plan
from raybench.records import SweepSnapshot
from raybench.settings import Settings, private_files
from raybench.spec import SweepSpec
from raybench.sweep.adoption import done_pairs
from raybench.sweep.device import check_device
from raybench.sweep.difference import differences
from raybench.sweep.disk import check_space
from raybench.sweep.driving import Drive
from raybench.sweep.home import keep_copy, open_home, tell_copies_apart
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.options import Observer, RunOptions, SilentObserver, Tracker
from raybench.sweep.owner import claim_checkpoints
from raybench.sweep.preflight import check_everything
from raybench.sweep.ray_session import ray_in_background
from raybench.sweep.reader import SweepReader, ledger_id, sweep_names
from raybench.sweep.reader_copy import renewed_copy
from raybench.sweep.signals import Drain, drain_on_signals, exit_code_of
from raybench.sweep.trouble import telling_trouble

FLUSH_S = 120.0
DRAINED_FLUSH_S = 5.0


@dataclass(frozen=True)
class RunResult:
    """How the run ended. ``signal`` is the number that drained it, if one did."""

    snapshot: SweepSnapshot
    signal: int | None = None
    tracking_problem: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether every pair has come to its end, and not all of them in vain."""
        states = {pair.state for pair in self.snapshot.pairs if pair.current}
        return "done" in states and states <= {"done", "failed"}

    @property
    def exit_code(self) -> int:
        """0 done; 1 a pair ended failed or incomplete; 130 or 143 drained and resumable."""
        current = [pair for pair in self.snapshot.pairs if pair.current]
        if all(pair.state == "done" for pair in current):
            return 0
        if self.signal is not None and not all(p.state in ("done", "failed") for p in current):
            return exit_code_of(self.signal)
        return 1


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
    with telling_trouble(settings.ledger_url), ExitStack() as stack:
        drain = stack.enter_context(drain_on_signals())
        engine = stack.enter_context(open_home(settings, spec.name, observer.message))
        lease = acquire(engine, spec.name, observer.message)
        stack.enter_context(renewed_copy(settings.ledger_file))
        stack.callback(lease.release)
        reader = SweepReader(engine, spec.name)
        before = _snapshot_or_empty(reader, plan)
        is_done = len(done_pairs(plan, before)) == len(plan.pairs)
        if not is_done:
            check_device(spec)
        needs_ray = not (options.inline or is_done)
        ray_ready = stack.enter_context(ray_in_background(options) if needs_ray else nullcontext())
        ledger = Ledger(settings.ledger_url, engine, spec, lease)
        stack.callback(ledger.close)
        snapshot = _register(plan, settings, reader, ledger, before, observer, options)
        stack.enter_context(private_files(settings.home))
        tracker = _start_tracker(options, reader, stack)
        drive = Drive(plan, settings, options, observer, engine, ledger, lease, snapshot, drain)
        if is_done:
            drive.close()
        elif ray_ready is None:
            drive.run_inline()
        else:
            ray_ready()
            drive.run_on_ray()
        problem = _flush(tracker, drain)
        final = reader.snapshot()
    return RunResult(final, drain.number, problem)


def _register(
    plan: Plan,
    settings: Settings,
    reader: SweepReader,
    ledger: Ledger,
    before: SweepSnapshot,
    observer: Observer,
    options: RunOptions,
) -> SweepSnapshot:
    """Preflight against what the ledger knows, then write plan and facts: nothing half-written."""
    for sentence in differences(plan, before):
        observer.message(sentence)
    identity = ledger_id(reader.engine)
    claim_checkpoints(settings, plan.spec.name, identity, before, observer.message)
    found = check_everything(
        plan, settings, before, observer.message, ledger.read_manifest, options.accept_leaks
    )
    check_space(plan, settings, before, found.facts, options, observer.message)
    if settings.ledger_file is not None:
        tell_copies_apart(reader.engine, settings.ledger_file, observer.message)
    keep_copy(settings, reader)
    ledger.register(plan)
    for dataset, manifest in found.manifests.items():
        ledger.write_manifest(dataset, manifest)
    for pair_id, values in found.facts.items():
        ledger.set_facts(pair_id, values)
    return reader.snapshot()


def _snapshot_or_empty(reader: SweepReader, plan: Plan) -> SweepSnapshot:
    if plan.spec.name in sweep_names(reader.engine):
        return reader.snapshot()
    return SweepSnapshot(plan.spec.name, "", 0, plan.spec.search.metric, {}, ())


def _start_tracker(options: RunOptions, reader: SweepReader, stack: ExitStack) -> Tracker | None:
    if options.tracker is None:
        return None
    tracker = options.tracker(reader.twin)
    tracker.start()
    stack.callback(tracker.stop)
    return tracker


def _flush(tracker: Tracker | None, drain: Drain) -> str | None:
    """What MLflow lacks, in words; the next run or sync sends it. A drain must end in seconds."""
    if tracker is None:
        return None
    return tracker.finish(lambda: FLUSH_S if drain.number is None else DRAINED_FLUSH_S)
