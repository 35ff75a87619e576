"""Claim: 32 trials at once log through one MLflow server on PostgreSQL, and no point is lost.

The trials train nothing, they report: an epoch a second, with as many metrics as a real one's. All
the rest is what a sweep runs on: Ray Tune with an actor per trial, the searcher, the ledger on
PostgreSQL, the tracking thread and a real ``mlflow server`` whose store is on the same PostgreSQL.
Afterwards every point that the ledger's records say must be in MLflow's tables exactly once, and no
request may have failed in the server's log.

    python benchmarks/tracking_load.py [--at-once 32] [--seconds 300]

Needs Debian's PostgreSQL. It prints one line, and ends with exit code 1 when a point is missing.
"""

from __future__ import annotations

import argparse
import math
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import quick_sweep
import sqlalchemy as sa
from trial_overhead import sweep_data

sys.path.insert(0, str(Path(__file__).parents[1]))  # the servers are those of the tests

from raybench.plan import make_plan
from raybench.records import EndRecord, EpochRecord, Record, SweepSnapshot
from raybench.spec import SweepSpec
from raybench.sweep.assignment import Assignment, Capacity
from raybench.sweep.database import database_url
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.packing import Fit, Packing, Shape
from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.tables import open_engine
from raybench.sweep.trial_files import TrialFiles
from raybench.tracking.client import open_projection
from raybench.tracking.entries import Point, trial_entry
from raybench.tracking.worker import TrackingThread
from raybench.validate import check_spec
from tests.postgres_server import PostgresServer, free_port, postgres_server
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store

MOST_EPOCHS = 20
EPOCH_S = 1.0
PAIRS = 8
FLUSH_S = 300.0


def reporting_trial(final: bool, epochs: int) -> Iterator[Record]:
    """The records of a trial that does nothing else."""
    metrics = quick_sweep.METRICS
    for epoch in range(1, epochs + 1):
        time.sleep(EPOCH_S)
        yield EpochRecord(epoch, 0, 0.1 / epoch, time.time(), EPOCH_S, 1.0, 1, metrics)
    test = {"test/accuracy": 0.5} if final else {}
    yield EndRecord("complete", time.time(), best_epoch=1, best=metrics, test=test)


@dataclass(frozen=True)
class Outcome:
    """What is counted in the end."""

    snapshot: SweepSnapshot
    missing: int
    extra: int
    errors: int
    took_s: float
    behind_s: float
    problem: str | None

    @property
    def is_sound(self) -> bool:
        return not (self.missing or self.extra or self.errors or self.problem)


def load_spec(at_once: int, seconds: float) -> SweepSpec:
    """So many trials, one of each pair a final, that ``at_once`` of them last for ``seconds``."""
    epochs = min(MOST_EPOCHS, max(1, int(seconds / 2 / EPOCH_S)))
    waves = max(2, round(seconds / (epochs * EPOCH_S)))
    data = sweep_data(PAIRS, max(1, math.ceil(at_once * waves / PAIRS) - 1))
    data["recipe"]["epochs"] = epochs
    data["search"] = {"sampler": "random", "ladder": 1, "early_stop": "none"}
    return check_spec(data, {}, Path.cwd())


def run_load(spec: SweepSpec, at_once: int, postgres: PostgresServer, folder: Path) -> Outcome:
    """The whole sweep, beside a server, and then the count."""
    url = database_url(postgres.new_database())
    store = Store(folder, folder, own=False, address=database_url(postgres.new_database()))
    server = MlflowServer(store, free_port())
    server.start()
    engine = open_engine(url, create=True)
    tracker = TrackingThread(
        lambda: SweepReader(engine, spec.name),
        lambda: open_projection(server.address, None, folder, own_store=False),
    )
    try:
        started = time.monotonic()
        snapshot = run_sweep(spec, url, engine, at_once, folder, tracker.start)
        ended = time.monotonic()
        problem = tracker.finish(lambda: FLUSH_S)
        behind_s = time.monotonic() - ended
        missing, extra = compare(snapshot, folder, store.uri)
        errors = sum(" 500 " in line or "Traceback" in line for line in server.log().splitlines())
        return Outcome(snapshot, missing, extra, errors, ended - started, behind_s, problem)
    finally:
        tracker.stop()
        server.kill()
        engine.dispose()


def run_sweep(
    spec: SweepSpec,
    url: str,
    engine: sa.Engine,
    at_once: int,
    folder: Path,
    on_registered: Callable[[], None],
) -> SweepSnapshot:
    """Runner, searcher, ledger."""
    plan, lease = make_plan(spec), acquire(engine, spec.name)
    ledger = Ledger(url, engine, spec, lease)
    ledger.register(plan)
    on_registered()
    reader = SweepReader(engine, spec.name)
    capacity = Capacity(float(at_once), 0.0)
    searcher = SweepSearcher(
        plan, ledger, reader.snapshot(),
        Packing({pair.id: [Fit(pair.id, Shape(1.0, 0.0))] for pair in plan.pairs}),
        lambda: capacity, lambda: math.inf, TrialFiles(folder, spec, lease.attempt),
    )  # fmt: skip
    run_on_ray(searcher, spec.recipe.epochs, at_once)
    lease.release()
    ledger.close()
    return reader.snapshot()


def run_on_ray(searcher: SweepSearcher, epochs: int, at_once: int) -> None:
    from ray import cloudpickle

    from raybench.sweep import ray_runner, ray_session, trainable

    class LoadActor(trainable.TrialActor):  # type: ignore[misc]
        def _begin(self, config: dict[str, Any]) -> None:
            self._records = reporting_trial(config["trial"]["final"], epochs)

    @dataclass
    class LoadConfig:
        assignment: Assignment

        def to_dict(self) -> dict[str, Any]:
            return {"final": self.assignment.seed is not None}

    def wait(thread: threading.Thread) -> None:
        thread.join(timeout=0.1)

    for module in (__name__, quick_sweep.__name__):  # workers cannot import these files
        cloudpickle.register_pickle_by_value(sys.modules[module])
    ray_runner.TrialActor = LoadActor  # type: ignore[attr-defined]
    with ray_session.ray_session(None, num_cpus=at_once, num_gpus=0):
        ray_runner.run_on_ray(searcher, LoadConfig, "load", wait)  # type: ignore[arg-type]


def compare(snapshot: SweepSnapshot, folder: Path, mlflow_url: str) -> tuple[int, int]:
    """Points that the ledger's trials have and MLflow lacks; and what MLflow has too many."""
    wanted = Counter(
        (trial.key, point)
        for pair in snapshot.pairs
        for trial in pair.trials
        for point in trial_entry(snapshot, pair, trial, folder).points
    )
    query = sa.text(
        "SELECT tags.value, metrics.key, metrics.value, timestamp, step FROM metrics "
        "JOIN tags USING (run_uuid) JOIN runs USING (run_uuid) "
        "WHERE tags.key = 'raybench.trial' AND lifecycle_stage = 'active'"
    )
    engine = sa.create_engine(mlflow_url)
    with engine.connect() as connection:
        found = Counter((row[0], Point(*row[1:])) for row in connection.execute(query))
    engine.dispose()
    return (wanted - found).total(), (found - wanted).total()


def line_of(outcome: Outcome, at_once: int) -> str:
    trials = [trial for pair in outcome.snapshot.pairs for trial in pair.trials]
    epochs = sum(len(trial.epochs) for trial in trials)
    points = epochs * (len(quick_sweep.METRICS) + 2)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{at_once} trials at once for {outcome.took_s:.0f} s: {len(trials)} trials, {epochs} "
        f"epochs, {points} points of epochs ({points / outcome.took_s:.0f} a second); missing "
        f"{outcome.missing}, too many {outcome.extra}, errors of the server {outcome.errors}; "
        f"MLflow was up to date {outcome.behind_s:.1f} s after the last trial; driver "
        f"{memory:.0f} MB" + (f"; {outcome.problem}" if outcome.problem else "")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=300.0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends the servers
    with tempfile.TemporaryDirectory() as folder, postgres_server() as postgres:
        spec = load_spec(arguments.at_once, arguments.seconds)
        outcome = run_load(spec, arguments.at_once, postgres, Path(folder))
    print(line_of(outcome, arguments.at_once))
    return 0 if outcome.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
