"""One pair while the sweep runs: its trials in memory, what it owes, what it may start next."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from raybench.plan import Pair
from raybench.records import EndRecord, EpochRecord, Phase, TrialRow, TrialState, is_minimised
from raybench.selection import select_winner
from raybench.space import Params
from raybench.spec import SweepSpec
from raybench.sweep.ledger import TrialKey
from raybench.sweep.progress import (
    TERMINAL,
    FinalRun,
    final_run,
    finals_wanted,
    is_exhausted,
    pair_state,
    search_device_seconds,
    search_owed,
)
from raybench.sweep.scheduler import Curve, stops_early

USER_FAILURES_END_PAIR = 3
MIN_PAIR_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """What one trial asks of the cluster: CPU cores and a GPU share."""

    cpus: float
    gpus: float

    @property
    def device_share(self) -> float:
        """What its wall seconds are charged with: the GPU share, or the cores on CPU."""
        return self.gpus or self.cpus


class PairBoard:
    """Mutable state of one pair, always equal to what the ledger would say.

    Args:
        rows: the pair's trials as the ledger holds them at the start of this attempt.
        shape: resources of one trial; grows when a trial runs out of memory.
    """

    def __init__(self, pair: Pair, spec: SweepSpec, rows: Iterable[TrialRow], shape: Shape) -> None:
        self.pair, self.shape = pair, shape
        self._spec, self._metric = spec, spec.search.metric
        self._rows: dict[TrialKey, TrialRow] = {(pair.id, r.phase, r.number): r for r in rows}
        self.active: set[TrialKey] = set()
        self.returning: deque[TrialKey] = deque()
        """Trials of an earlier life, or to be retried: resumed before anything new is asked."""

    @property
    def rows(self) -> list[TrialRow]:
        return list(self._rows.values())

    def row(self, key: TrialKey) -> TrialRow:
        return self._rows[key]

    @property
    def asked(self) -> int:
        """Search trials created so far; also the next one's number."""
        return sum(phase == "search" for _, phase, _ in self._rows)

    @property
    def exhausted(self) -> bool:
        return is_exhausted(self.rows, self._spec.budget.device_hours)

    @property
    def search_is_over(self) -> bool:
        return search_owed(self.rows, self.pair.quota, self.exhausted) == 0

    @property
    def user_failures(self) -> int:
        return sum(row.end is not None and row.end.failure == "user" for row in self.rows)

    @property
    def has_failed(self) -> bool:
        return self.user_failures >= USER_FAILURES_END_PAIR

    def may_search(self) -> bool:
        """Whether a new search trial may be created now."""
        if self.asked >= self.pair.quota or self.exhausted:
            return False
        running = sum(phase == "search" for _, phase, _ in self.active)
        return self.asked < len(self.pair.ladder) or running < self.concurrency

    @property
    def concurrency(self) -> int:
        """Search trials at once.

        With TPE at most half the quota (but eight): more at once than it has results to learn
        from turns the sampler into random search.
        """
        if self._spec.search.sampler != "tpe":
            return self.pair.quota
        return max(MIN_PAIR_CONCURRENCY, math.ceil(self.pair.quota / 2))

    def finals_owed(self) -> list[FinalRun]:
        """Finals not created yet, for the winner so far."""
        wanted = finals_wanted(
            self.rows, self.pair.final_seeds, self.pair.final_configs, self._metric
        )
        have = {final_run(row) for row in self.rows if row.phase == "final"}
        return [run for run in wanted if run not in have]

    def finals_open(self) -> int:
        """Finals still to be run or running, for the wall clock's reserve."""
        wanted = set(
            finals_wanted(self.rows, self.pair.final_seeds, self.pair.final_configs, self._metric)
        )
        done = {
            final_run(row) for row in self.rows if row.phase == "final" and row.state in TERMINAL
        }
        expected = len(self.pair.final_seeds) * len(self.pair.final_configs)
        return len(wanted - done) if wanted else expected

    def params_of(self, source: int) -> Params:
        return dict(self._rows[(self.pair.id, "search", source)].params)

    def next_number(self, phase: Phase) -> int:
        return sum(p == phase for _, p, _ in self._rows)

    def is_wanted(self, key: TrialKey) -> bool:
        """Whether an open trial of an earlier life should still be run."""
        row = self._rows[key]
        if row.phase == "search":
            return not self.exhausted and not self.has_failed
        wanted = finals_wanted(
            self.rows, self.pair.final_seeds, self.pair.final_configs, self._metric
        )
        return final_run(row) in wanted

    def add(self, row: TrialRow) -> TrialKey:
        key = (row.pair_id, row.phase, row.number)
        self._rows[key] = row
        return key

    def add_epoch(self, key: TrialKey, record: EpochRecord) -> bool:
        """Whether the epoch is new; one that the ledger already holds is counted once."""
        row = self._rows[key]
        if any(known.epoch == record.epoch for known in row.epochs):
            return False
        self._rows[key] = replace(row, epochs=(*row.epochs, record))
        return True

    def set_state(self, key: TrialKey, state: TrialState, end: EndRecord | None = None) -> None:
        row = self._rows[key]
        self._rows[key] = replace(row, state=state, end=end or row.end)

    def add_failure(self, key: TrialKey, text: str) -> list[str]:
        row = self._rows[key]
        self._rows[key] = replace(row, failures=(*row.failures, text))
        return list(self._rows[key].failures)

    def stops_early(self, key: TrialKey) -> bool:
        """The rung rule for a search trial after its latest epoch; the ladder is exempt."""
        if key[2] < len(self.pair.ladder):
            return False
        curves = {row.number: self._curve(row) for row in self.rows if row.phase == "search"}
        epochs = int(self._rows[key].params.get("epochs", self._spec.recipe.epochs))
        return stops_early(self._spec.search.early_stop, curves, key[2], epochs)

    def _curve(self, row: TrialRow) -> Curve:
        sign = -1.0 if is_minimised(self._metric) else 1.0
        return [sign * r.metrics.get(self._metric, -sign * math.inf) for r in row.epochs]

    def trial_seconds(self) -> float | None:
        """Mean wall seconds of a whole trial, None before one has completed."""
        done = [row for row in self.rows if row.state == "complete"]
        if not done:
            return None
        return statistics.fmean(sum(r.duration_s for r in row.epochs) for row in done)

    def progress(self, deadline: bool) -> PairProgress:
        """Numbers for the live table."""
        rows = self.rows
        wanted = finals_wanted(rows, self.pair.final_seeds, self.pair.final_configs, self._metric)
        winner = select_winner(rows, self._metric)
        finals = [r for r in rows if r.phase == "final" and final_run(r) in wanted]
        return PairProgress(
            pair=self.pair,
            state=pair_state(rows, self.pair.quota, self.exhausted, wanted, deadline),
            search_done=sum(r.phase == "search" and r.state in TERMINAL for r in rows),
            quota=self.pair.quota,
            final_done=sum(r.state in TERMINAL for r in finals),
            final_total=len(wanted) or len(self.pair.final_seeds) * len(self.pair.final_configs),
            running=len(self.active),
            failed=sum(r.state == "failed" for r in rows),
            best=None if winner is None else winner.best_value(self._metric),
            device_seconds=search_device_seconds(rows),
            trial_seconds=self.trial_seconds(),
        )


@dataclass(frozen=True, slots=True)
class PairProgress:
    """One line of the live table."""

    pair: Pair
    state: str
    search_done: int
    quota: int
    final_done: int
    final_total: int
    running: int
    failed: int
    best: float | None
    device_seconds: float
    trial_seconds: float | None
