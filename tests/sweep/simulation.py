"""Drives the searcher as a runner would, with pretended trials: for quotas, fairness, reuse."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from raybench.plan import Pair, Plan, make_plan
from raybench.records import EndRecord, EpochRecord, FailureClass, SweepSnapshot
from raybench.spec import SweepSpec
from raybench.sweep.assignment import FINISHED, Assignment, Capacity
from raybench.sweep.footprints import Footprints, Known
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger, TrialKey
from raybench.sweep.packing import Fit, Packing, Shape
from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.tables import open_engine
from raybench.sweep.trial_files import TrialFiles


def ledger_url(folder: Path) -> str:
    """Of the home in ``folder``; tests on PostgreSQL put another function in its place."""
    return f"sqlite:///{folder / 'ledger.db'}"


def epoch_record(epoch: int, value: float, seconds: float = 1.0, attempt: int = 1) -> EpochRecord:
    return EpochRecord(
        epoch=epoch, stage=0, lr=0.1, finished_at=1.7e9 + epoch, duration_s=seconds,
        device_share=1.0, attempt=attempt,
        metrics={"train/loss": 1.0, "val/accuracy": value, "val/nll": 1.0 - value},
    )  # fmt: skip


def complete_record(best_epoch: int, value: float, final: bool = False) -> EndRecord:
    return EndRecord(
        "complete", 1.7e9, best_epoch=best_epoch,
        best={"val/accuracy": value, "val/nll": 1.0 - value},
        test={"test/accuracy": value} if final else {},
    )  # fmt: skip


def failed_record(failure: FailureClass) -> EndRecord:
    return EndRecord("failed", 1.7e9, failure=failure, reason="pretended")


@dataclass
class Home:
    """A ledger in a folder, opened for one attempt after another."""

    folder: Path
    spec: SweepSpec
    shape_of: Callable[[Pair], Shape] = lambda pair: Shape(1.0, 0.0)
    capacity: Capacity = field(default_factory=lambda: Capacity(2.0, 0.0))
    remaining_s: Callable[[], float] = lambda: math.inf

    @property
    def url(self) -> str:
        return ledger_url(self.folder)

    @contextlib.contextmanager
    def attempt(self, release: bool = True) -> Iterator[SweepSearcher]:
        engine = open_engine(self.url, create=True)
        lease = acquire(engine, self.spec.name)
        plan = make_plan(self.spec)
        ledger = Ledger(self.url, engine, self.spec, lease)
        ledger.register(plan)
        try:
            yield SweepSearcher(
                plan, ledger, SweepReader(engine, self.spec.name).snapshot(),
                self._packing(plan, Footprints(engine, lease)),
                lambda: self.capacity, self.remaining_s,
                TrialFiles(self.folder / "checkpoints", self.spec, lease.attempt),
            )  # fmt: skip
        finally:
            if release:
                lease.release()
            ledger.close()
            engine.dispose()

    def _packing(self, plan: Plan, store: Footprints) -> Packing:
        known = store.read([pair.id for pair in plan.pairs])
        fits = {}
        for pair in plan.pairs:
            shape, learned = self.shape_of(pair), known.get(pair.id, Known(None))
            shape = replace(shape, gpus=max(shape.gpus, learned.least))
            fits[pair.id] = [Fit(pair.id, shape, learned.accumulation)]
        return Packing(fits, store.remember)

    def snapshot(self) -> SweepSnapshot:
        engine = open_engine(self.url, create=False)
        try:
            return SweepReader(engine, self.spec.name).snapshot()
        finally:
            engine.dispose()


@dataclass
class Running:
    assignment: Assignment
    epoch: int


@dataclass
class Simulation:
    """Random progress: each turn starts what may start, then advances one running trial.

    ``fails`` decides after an epoch whether the trial fails, and how; ``stop_after`` ends the
    whole run (as a kill does) after that many turns.
    """

    searcher: SweepSearcher
    rng: random.Random
    epochs: int
    fails: Callable[[random.Random], FailureClass | None] = lambda rng: None
    running: dict[TrialKey, Running] = field(default_factory=dict)
    most_at_once: int = 0
    starts: list[TrialKey] = field(default_factory=list)

    def run(self, stop_after: int | None = None) -> bool:
        """True when the searcher finished; False when it was cut off."""
        turn = 0
        while stop_after is None or turn < stop_after:
            turn += 1
            while True:
                answer = self.searcher.ask()
                if answer == FINISHED:
                    assert not self.running
                    return True
                if answer is None:
                    break
                assert isinstance(answer, Assignment)
                assert answer.key not in self.running
                self.starts.append(answer.key)
                self.running[answer.key] = Running(answer, answer.known_epochs)
                self.most_at_once = max(self.most_at_once, len(self.running))
            assert self.running, "nothing runs and nothing is asked: a sweep would hang"
            self._advance(self.rng.choice(sorted(self.running)))
        return False

    def _advance(self, key: TrialKey) -> None:
        trial = self.running[key]
        failure = self.fails(self.rng)
        if failure == "infrastructure":
            self.searcher.lost(key, "pretended")
        elif failure is not None:
            self.searcher.receive(key, [failed_record(failure)])
        elif trial.epoch < self.epochs:
            trial.epoch += 1
            value = self.rng.random()
            if self.searcher.receive(key, [epoch_record(trial.epoch, value)]):
                return
        else:
            final = key[1] == "final"
            self.searcher.receive(key, [complete_record(1, self.rng.random(), final)])
        del self.running[key]
