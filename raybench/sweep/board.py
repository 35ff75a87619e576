"""One pair while the sweep runs: its trials in memory, what it owes, what it may start next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from raybench.plan import Pair
from raybench.records import EndRecord, EpochRecord, Phase, TrialRow, TrialState, is_minimised
from raybench.selection import select_winner
from raybench.space import Params
from raybench.spec import SweepSpec
from raybench.sweep.assignment import Assignment
from raybench.sweep.ledger import TrialKey
from raybench.sweep.packing import Fit
from raybench.sweep.progress import (
    TERMINAL,
    FinalRun,
    final_run,
    finals_wanted,
    most_at_once,
    pair_state,
)
from raybench.sweep.scheduler import stops_early
from raybench.sweep.tally import Tally

USER_FAILURES_END_PAIR = 3


class PairBoard:
    """Mutable state of one pair, always equal to what the ledger would say.

    Args:
        rows: the pair's trials as the ledger holds them at the start of this attempt.
    """

    def __init__(self, pair: Pair, spec: SweepSpec, rows: Iterable[TrialRow]) -> None:
        self.pair = pair
        self._spec, self._metric = spec, spec.search.metric
        self._rows: dict[Phase, dict[int, TrialRow]] = {"search": {}, "final": {}}
        self._curves: dict[int, list[float]] = {}
        self._tally = Tally()
        self._winner: TrialRow | None = None
        self.active: dict[TrialKey, Fit] = {}
        """Trials in a slot, with what each of them holds."""
        self.returning: deque[TrialKey] = deque()
        """Trials of an earlier life, or to be retried: resumed before anything new is asked."""
        for row in rows:
            self.add(row)

    @property
    def rows(self) -> list[TrialRow]:
        return [*self._rows["search"].values(), *self._finals]

    @property
    def _finals(self) -> Iterable[TrialRow]:
        return self._rows["final"].values()

    def row(self, key: TrialKey) -> TrialRow:
        return self._rows[key[1]][key[2]]

    def add(self, row: TrialRow) -> TrialKey:
        key = (row.pair_id, row.phase, row.number)
        if row.phase == "search":
            self._curves[row.number] = [self._height(record) for record in row.epochs]
        self._put(None, row)
        return key

    def _put(self, old: TrialRow | None, row: TrialRow) -> None:
        self._rows[row.phase][row.number] = row
        self._tally.change(old, row)
        if row.phase == "search" and row.state == "complete":
            # The order of winners is total, so the best of all is the best so far or this one.
            self._winner = select_winner([row, *self._winners()], self._metric)

    def _winners(self) -> list[TrialRow]:
        """The winner so far, or nobody."""
        return [] if self._winner is None else [self._winner]

    @property
    def has_winner(self) -> bool:
        """Whether a search trial is complete, so that finals can run."""
        return self._winner is not None

    @property
    def asked(self) -> int:
        """Search trials created so far; also the next one's number."""
        return len(self._rows["search"])

    @property
    def exhausted(self) -> bool:
        """Whether the pair's search has spent its device hours."""
        hours = self._spec.budget.device_hours
        return hours is not None and self._tally.search_device_seconds >= hours * 3600

    @property
    def search_is_over(self) -> bool:
        """Whether no search trial is owed; see ``progress.search_owed``."""
        if self.exhausted:
            return self._tally.search_running == 0
        return self._tally.search_done >= self.pair.quota

    @property
    def has_failed(self) -> bool:
        return self._tally.user_failures >= USER_FAILURES_END_PAIR

    def may_search(self) -> bool:
        """Whether a new search trial may be created now."""
        if self.asked >= self.pair.quota or self.exhausted:
            return False
        running = sum(phase == "search" for _, phase, _ in self.active)
        return self.asked < len(self.pair.ladder) or running < self.concurrency

    @property
    def concurrency(self) -> int:
        """Search trials at once."""
        return most_at_once(self._spec.search.sampler, self.pair.quota)

    def finals_owed(self) -> list[FinalRun]:
        """Finals not created yet, for the winner so far."""
        have = {final_run(row) for row in self._finals if row.state != "pruned"}
        return [run for run in self._finals_wanted() if run not in have]

    @property
    def trials_left(self) -> int:
        """Search trials and finals that have not ended."""
        return self._search_left + self.finals_open()

    def waves_left(self, slots: int) -> int:
        """How often ``slots`` slots must be filled, one after the other: search, then finals."""
        width = min(slots, self.concurrency)
        return math.ceil(self._search_left / width) + math.ceil(self.finals_open() / slots)

    @property
    def _search_left(self) -> int:
        return max(0, self.pair.quota - self._tally.search_done)

    def finals_open(self) -> int:
        """Finals still to be run or running, for the wall clock's reserve."""
        wanted = set(self._finals_wanted())
        done = {final_run(row) for row in self._finals if row.state in TERMINAL}
        return len(wanted - done) if wanted else self.pair.final_trials

    def _finals_wanted(self) -> tuple[FinalRun, ...]:
        pair = self.pair
        return finals_wanted(
            self._winners(), pair.final_seeds, pair.folds, pair.final_configs, self._metric
        )

    def params_of(self, source: int) -> Params:
        return dict(self._rows["search"][source].params)

    def next_number(self, phase: Phase) -> int:
        return len(self._rows[phase])

    def assignment(self, key: TrialKey, fit: Fit) -> Assignment:
        """The trial as it is handed out now."""
        row = self.row(key)
        source = None if row.source is None else self._rows["search"][row.source].end
        return Assignment(
            key=key,
            pair=self.pair,
            params=dict(row.params),
            fit=fit,
            known_epochs=len(row.epochs),
            retry=len(row.failures),
            seed=row.seed,
            fold=row.fold,
            source_epochs=None if source is None else source.best_epoch,
        )

    def is_wanted(self, key: TrialKey) -> bool:
        """Whether an open trial of an earlier life should still be run."""
        row = self.row(key)
        if row.phase == "search":
            return not self.exhausted and not self.has_failed
        return final_run(row).source in {run.source for run in self._finals_wanted()}

    def is_in_file(self, key: TrialKey) -> bool:
        """False for a final whose seed or configuration has left the file; it may come back."""
        row = self.row(key)
        return row.phase == "search" or final_run(row) in self._finals_wanted()

    def add_epoch(self, key: TrialKey, record: EpochRecord) -> bool:
        """Whether the epoch is new; one that the ledger already holds is counted once."""
        row = self.row(key)
        if any(known.epoch == record.epoch for known in row.epochs):
            return False
        self._put(row, replace(row, epochs=(*row.epochs, record)))
        if row.phase == "search":
            self._curves[row.number].append(self._height(record))
        return True

    def set_state(self, key: TrialKey, state: TrialState, end: EndRecord | None = None) -> None:
        row = self.row(key)
        self._put(row, replace(row, state=state, end=end or row.end))

    def add_failure(self, key: TrialKey, text: str) -> list[str]:
        row = self.row(key)
        self._put(row, replace(row, failures=(*row.failures, text)))
        return [*row.failures, text]

    def stops_early(self, key: TrialKey) -> bool:
        """The rung rule for a search trial after its latest epoch."""
        return self._stops_early(key, self._curves)

    def should_have_stopped(self, key: TrialKey) -> bool:
        """The rung rule as it was right after the trial's latest epoch, if it has any."""
        row = self.row(key)
        if not row.epochs:
            return False
        moment = row.epochs[-1].finished_at
        curves = {
            number: [self._height(r) for r in other.epochs if r.finished_at <= moment]
            for number, other in self._rows["search"].items()
        }
        return self._stops_early(key, curves)

    def _stops_early(self, key: TrialKey, curves: Mapping[int, list[float]]) -> bool:
        """The ladder is exempt."""
        if key[2] < len(self.pair.ladder):
            return False
        epochs = int(self.row(key).params.get("epochs", self._spec.recipe.epochs))
        return stops_early(self._spec.search.early_stop, curves, key[2], epochs)

    def _height(self, record: EpochRecord) -> float:
        """The metric of one epoch, larger is better."""
        sign = -1.0 if is_minimised(self._metric) else 1.0
        return sign * record.metrics.get(self._metric, -sign * math.inf)

    def trial_seconds(self) -> float | None:
        """Mean wall seconds of a whole trial, None before one has completed."""
        if not self._tally.complete:
            return None
        return self._tally.complete_seconds / self._tally.complete

    def progress(self, deadline: bool) -> PairProgress:
        """Numbers for the live table."""
        wanted, tally = self._finals_wanted(), self._tally
        finals = [row for row in self._finals if final_run(row) in wanted]
        winner = self._winner
        return PairProgress(
            pair=self.pair,
            state=pair_state(self.rows, self.pair.quota, self.exhausted, wanted, deadline),
            search_done=tally.search_done,
            quota=self.pair.quota,
            final_done=sum(row.state in TERMINAL for row in finals),
            final_total=len(wanted) or self.pair.final_trials,
            running=len(self.active),
            failed=tally.failed,
            best=None if winner is None else winner.best_value(self._metric),
            device_seconds=tally.search_device_seconds,
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
