"""Claim: a ledger of 20,000 trials over 2,000 pairs is read in seconds, with memory to spare.

The rows are inserted in bulk, as a sweep would have left them: an epoch's record per user
attribute, ten epochs a trial. Then each way of reading is run in a process of its own and measured
by itself: opening a snapshot (what a further run, ``status`` and ``report`` begin with), ``status
--json``, ``report``, the tracking thread's look at what changed, and what a further run adds to the
snapshot it has.

    python benchmarks/ledger_scale.py [--trials 20000] [--pairs 2000] [--epochs 10] [--postgres]

Times are of one reading, cold, with imports apart. Memory is the process's peak above what its
imports took.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from quick_sweep import METRICS
from trial_overhead import sweep_data

sys.path.insert(0, str(Path(__file__).parents[1]))  # the server is that of the tests

from raybench.plan import Plan, make_plan
from raybench.records import EndRecord, EpochRecord, Record, to_dict
from raybench.spec import SweepSpec
from raybench.sweep.database import database_url
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger, study_name
from raybench.sweep.tables import open_engine
from raybench.validate import check_spec
from tests.postgres_server import postgres_server

NAME = "scale"
Rows = dict[str, list[dict[str, Any]]]
"""Of Optuna's tables, by name; those that others refer to come first."""
STARTED_AT = 1.77e9
FACTS = {"classes": 10.0, "train_images": 1000.0, "val_images": 300.0, "test_images": 300.0}


def scale_spec(pairs: int, trials: int, epochs: int) -> SweepSpec:
    data = sweep_data(pairs, trials // pairs)
    data |= {"name": NAME, "recipe": data["recipe"] | {"epochs": epochs}}
    data["search"] |= {"sampler": "random"}
    return check_spec(data, {}, Path.cwd())


def fill(url: str, pairs: int, trials: int, epochs: int) -> None:
    """A ledger whose sweep is done with its search, written in bulk."""
    spec = scale_spec(pairs, trials, epochs)
    insert(url, spec, lambda plan: optuna_rows(plan, trials // pairs, epochs))


def insert(url: str, spec: SweepSpec, rows_of: Callable[[Plan], Rows]) -> None:
    """A new ledger that holds ``spec`` and the rows of its trials."""
    plan, engine = make_plan(spec), open_engine(url, create=True)
    lease = acquire(engine, spec.name)
    ledger = Ledger(url, engine, spec, lease)
    ledger.register(plan)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE raybench_pairs SET facts = :f"), {"f": json.dumps(FACTS)}
        )
        for table, rows in rows_of(plan).items():
            names = list(rows[0])
            values = ", ".join(f":{name}" for name in names)
            statement = sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})")
            for start in range(0, len(rows), 10_000):
                connection.execute(statement, rows[start : start + 10_000])
    lease.release()
    ledger.close()
    engine.dispose()


def optuna_rows(plan: Plan, per_pair: int, epochs: int) -> Rows:
    names = ("studies", "study_directions", "trials", "trial_params", "trial_values")
    rows: Rows = {name: [] for name in names}
    rows["trial_user_attributes"] = []
    distribution = json.dumps(
        {
            "name": "FloatDistribution",
            "attributes": {"step": None, "low": 1e-4, "high": 1e-1, "log": True},
        }
    )
    trial_id = 0
    for study_id, pair in enumerate(plan.pairs, start=1):
        rows["studies"].append(
            {"study_id": study_id, "study_name": study_name(NAME, pair.id, "search")}
        )
        rows["study_directions"].append(
            {"direction": "MAXIMIZE", "study_id": study_id, "objective": 0}
        )
        for number in range(per_pair):
            trial_id += 1
            rows["trials"].append(
                {"trial_id": trial_id, "number": number, "study_id": study_id, "state": "COMPLETE"}
            )
            rows["trial_params"].append(
                {"trial_id": trial_id, "param_name": "lr", "param_value": 1e-3 * (number + 1),
                 "distribution_json": distribution}
            )  # fmt: skip
            value = accuracy(study_id, number, epochs)
            rows["trial_values"].append(
                {"trial_id": trial_id, "objective": 0, "value": value, "value_type": "FINITE"}
            )
            for key, record in records(study_id, number, epochs):
                text = json.dumps(to_dict(record))
                rows["trial_user_attributes"].append(
                    {"trial_id": trial_id, "key": key, "value_json": text}
                )
    return rows


def accuracy(pair: int, trial: int, epoch: int) -> float:
    return (pair * 7919 + trial * 104729 + epoch * 13) % 10_000 / 10_000


def records(pair: int, trial: int, epochs: int) -> Iterator[tuple[str, Record]]:
    at = STARTED_AT + 1000 * pair + 50 * trial
    for epoch in range(1, epochs + 1):
        metrics = METRICS | {
            "val/accuracy": accuracy(pair, trial, epoch), "val/nll": 1.0 / epoch,
            "train/loss": 2.0 / epoch, "perf/images_per_s": 540.0, "perf/train_s": 1.9,
        }  # fmt: skip
        yield f"epoch:{epoch}", EpochRecord(epoch, 0, 1e-3, at + epoch, 2.0, 1.0, 1, metrics)
    best = {"val/accuracy": accuracy(pair, trial, epochs), "val/nll": 1.0 / epochs}
    facts = {"device": "cpu", "precision": "fp32", "parameters": 1e6}
    yield "end", EndRecord("complete", at + epochs + 1, best_epoch=epochs, best=best, facts=facts)


# -- readings, each in a process of its own ------------------------------------------------------


def read_snapshot(engine: sa.Engine) -> None:
    from raybench.sweep.reader import SweepReader

    SweepReader(engine, NAME).snapshot()


def read_status(engine: sa.Engine) -> None:
    from raybench.analysis.contract import summarize
    from raybench.sweep.reader import SweepReader

    json.dumps(summarize(SweepReader(engine, NAME).snapshot()))


def read_report(engine: sa.Engine) -> None:
    from raybench.report.tables import leaderboard_table
    from raybench.sweep.reader import SweepReader

    leaderboard_table(SweepReader(engine, NAME).snapshot())


def read_further_run(engine: sa.Engine) -> None:
    """What a run reads before its first trial, and its tracking thread beside it."""
    from raybench.sweep.history import costs_of
    from raybench.sweep.home import read_everything
    from raybench.sweep.reader import SweepReader

    reader = SweepReader(engine, NAME)
    before = reader.snapshot()
    read_everything(engine, reader)
    snapshot = reader.snapshot()
    costs_of(engine, on_cpu=True, known=(snapshot,))
    tracking = reader.twin()
    tracking.versions()
    tracking.snapshot()
    assert before.pairs == snapshot.pairs


def read_look(engine: sa.Engine) -> float:
    """Seconds of one look at what changed, which tracking takes every other second."""
    from raybench.sweep.reader import SweepReader

    reader = SweepReader(engine, NAME)
    started = time.perf_counter()
    reader.versions()
    return time.perf_counter() - started


READINGS: dict[str, Callable[[sa.Engine], float | None]] = {
    "snapshot": read_snapshot,
    "status --json": read_status,
    "report": read_report,
    "a further run's start": read_further_run,
    "a look at what changed": read_look,
}


def measure(url: str, name: str, answers: Any) -> None:
    """In a fresh process: seconds and megabytes above what the imports take."""
    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401

    import raybench.analysis.contract
    import raybench.report.tables
    import raybench.sweep.history
    import raybench.sweep.home  # noqa: F401

    engine = open_engine(url, create=False)
    before_mb, started = peak_mb(), time.perf_counter()
    own_s = READINGS[name](engine)
    answers.put((own_s or time.perf_counter() - started, peak_mb() - before_mb))


def peak_mb() -> float:
    """The most that this process has ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def ledger_url(on_postgres: bool) -> Iterator[str]:
    if on_postgres:
        with postgres_server() as server:
            yield database_url(server.new_database())
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/ledger.db"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends the server
    spawn = multiprocessing.get_context("spawn")
    kind = "PostgreSQL" if arguments.postgres else "SQLite"
    with ledger_url(arguments.postgres) as url:
        fill(url, arguments.pairs, arguments.trials, arguments.epochs)
        print(
            f"{kind}, {arguments.trials} trials, {arguments.pairs} pairs, {arguments.epochs} epochs"
        )
        for name in READINGS:
            answers = spawn.Queue()
            process = spawn.Process(target=measure, args=(url, name, answers))
            process.start()
            seconds, megabytes = answers.get(timeout=600)
            process.join()
            each_ms, each_kb = 1e3 * seconds / arguments.trials, 1e3 * megabytes / arguments.trials
            print(
                f"{name:24}{seconds:8.2f} s {megabytes:7.0f} MB   a trial: {each_ms:.3f} ms, "
                f"{each_kb:.1f} kB"
            )


if __name__ == "__main__":
    main()
