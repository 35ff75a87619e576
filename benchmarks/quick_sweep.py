"""Sweeps whose trials train nothing: what searcher, ledger and Tune cost and do by themselves.

Shared by the benchmarks beside it. The trials' records are made up; all the rest is the real thing.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.plan import Pair, make_plan
from raybench.records import EndRecord, EpochRecord, Record, SweepSnapshot
from raybench.spec import Recipe
from raybench.sweep.assignment import FINISHED, Assignment, Capacity
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.packing import Fit, Packing, Shape
from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.tables import open_engine
from raybench.sweep.trial_files import TrialFiles
from raybench.validate import check_spec

EPOCHS = 2
METRICS = {f"val/metric_{number}": 0.5 for number in range(12)} | {
    "val/accuracy": 0.5,
    "val/nll": 0.5,
}
"""As many as a real epoch reports."""


@dataclass
class QuickSweep:
    """An open sweep in a folder of its own."""

    searcher: SweepSearcher
    snapshot: Callable[[], SweepSnapshot]


@contextlib.contextmanager
def open_quick_sweep(
    data: dict[str, Any],
    shape_of: Callable[[Pair], Shape],
    capacity: Capacity,
    expected_s: Callable[[Sequence[Pair]], Mapping[str, float]] = lambda pairs: {},
) -> Iterator[QuickSweep]:
    """A new ledger and searcher for the sweep file ``data``; see ``SweepSearcher``."""
    spec = check_spec(data, {}, Path.cwd())
    plan = make_plan(spec)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ledger.db'}"
        engine = open_engine(url, create=True)
        lease = acquire(engine, spec.name)
        ledger = Ledger(url, engine, spec, lease)
        ledger.register(plan)
        reader = SweepReader(engine, spec.name)
        fits = {pair.id: [Fit(pair.id, shape_of(pair))] for pair in plan.pairs}
        searcher = SweepSearcher(
            plan, ledger, reader.snapshot(), Packing(fits),
            lambda: capacity, lambda: math.inf, TrialFiles(Path(folder), spec, lease.attempt),
            expected_s(plan.pairs),
        )  # fmt: skip
        yield QuickSweep(searcher, reader.snapshot)
        lease.release()
        engine.dispose()


def quick_trial(
    final: bool, seconds: float = 0.0, ballast: dict[str, Any] | None = None
) -> Iterator[Record]:
    """The records of a trial of ``seconds``; its end tells the process it ran in.

    ``ballast`` does nothing: it makes the config as large as a real trial's.
    """
    for epoch in range(1, EPOCHS + 1):
        time.sleep(seconds / EPOCHS)
        yield EpochRecord(epoch, 0, 0.1, time.time(), 0.001, 1.0, 1, METRICS)
    test = {"test/accuracy": 0.5} if final else {}
    facts = {"pid": float(os.getpid())}
    yield EndRecord("complete", time.time(), best_epoch=1, best=METRICS, test=test, facts=facts)


def run_inline(searcher: SweepSearcher, on_done: Callable[[int], None]) -> None:
    """Searcher and ledger alone; ``on_done`` hears how many trials have ended."""
    done = 0
    while (assignment := searcher.ask()) != FINISHED:
        assert isinstance(assignment, Assignment)
        for record in quick_trial(assignment.seed is not None):
            searcher.receive(assignment.key, [record])
        done += 1
        on_done(done)


def run_on_ray(
    searcher: SweepSearcher,
    cpus: int,
    gpus: int,
    seconds_of: Callable[[Assignment], float],
    watch: Callable[[], None],
) -> None:
    """Through Tune, with logical CPUs and GPUs and an actor that runs quick trials."""
    from ray import cloudpickle

    from raybench.sweep import ray_runner, ray_session, trainable

    class QuickActor(trainable.TrialActor):  # type: ignore[misc]
        def _begin(self, config: dict[str, Any]) -> None:
            self._records = quick_trial(**config["trial"])

    @dataclass
    class QuickConfig:
        assignment: Assignment

        def to_dict(self) -> dict[str, Any]:
            pair, params = self.assignment.pair, dict(self.assignment.params)
            return {
                "final": self.assignment.seed is not None,
                "seconds": seconds_of(self.assignment),
                "ballast": {
                    "backbone": pair.backbone.model_dump(mode="json"),
                    "dataset": pair.dataset.model_dump(mode="json"),
                    "recipe": Recipe().model_dump(mode="json") | params,
                },
            }

    def wait(thread: threading.Thread) -> None:
        thread.join(timeout=0.1)
        watch()

    # Workers cannot import this file: it goes to them as it is.
    cloudpickle.register_pickle_by_value(__import__(__name__))
    ray_runner.TrialActor = QuickActor  # type: ignore[attr-defined]
    with ray_session.ray_session(None, num_cpus=cpus, num_gpus=gpus):
        ray_runner.run_on_ray(searcher, QuickConfig, "quick", wait)  # type: ignore[arg-type]
