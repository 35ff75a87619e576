"""Decides what runs next, over all pairs, and hears how it went. Knows no Ray.

One multiplexing searcher owns every pair's board. ``ask`` hands out work: trials of an earlier
life first, then finals of pairs whose search is over, then the least-served pair under quota.
``receive`` writes each record to the ledger and says whether the trial goes on. Both runners
(``ray_runner`` and ``inline``) drive this same object.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from raybench.plan import Plan
from raybench.records import EndRecord, FailureClass, Record, SweepSnapshot, TrialRow
from raybench.sweep.adoption import former_trials, trials_to_go_on
from raybench.sweep.assignment import FINISHED, Assignment, Capacity, Finished
from raybench.sweep.board import PairBoard, PairProgress
from raybench.sweep.ends import failed_end, pruned_end, skipped_end
from raybench.sweep.ledger import Ledger, TrialKey
from raybench.sweep.packing import Fit, Packing
from raybench.sweep.progress import TERMINAL, FinalRun
from raybench.sweep.retries import DISK_FAILURES_END, failure_text, may_go_elsewhere
from raybench.sweep.slots import Slots
from raybench.sweep.trial_files import TrialFiles
from raybench.sweep.wall_clock import WallClock
from raybench.trial.files import disk_is_full

logger = logging.getLogger(__name__)

PAIR_FAILED = "not run: the pair's user code failed three times"


class SweepSearcher:
    """The multiplexer.

    Args:
        snapshot: the ledger at the start of this attempt, pairs registered.
        packing: resources of one trial of a pair.
        capacity: what the cluster offers now.
        remaining_s: what is left of ``budget.wall_clock``; infinite without one.
        files: what trials leave on disk.
        expected_s: pair id -> wall seconds that one trial is expected to take, where known.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        snapshot: SweepSnapshot,
        packing: Packing,
        capacity: Callable[[], Capacity],
        remaining_s: Callable[[], float],
        files: TrialFiles,
        expected_s: Mapping[str, float] | None = None,
    ) -> None:
        self._plan, self._ledger = plan, ledger
        self._files = files
        self._lock = threading.RLock()
        rows = trials_to_go_on(plan, snapshot, ledger, take_up=remaining_s() > 0)
        self.boards = {pair.id: PairBoard(pair, plan.spec, rows[pair.id]) for pair in plan.pairs}
        self._slots = Slots(
            self.boards, packing, capacity, expected_s or {}, bounded=remaining_s() < math.inf
        )
        self._clock = WallClock(remaining_s, self.boards.values())
        self._draining = self.deadline = False
        self._disk_failures = 0
        self._adopt_orphans()
        for key in former_trials(snapshot, self.boards):
            ledger.set_waiting(key)

    # -- ask ---------------------------------------------------------------------------------

    def ask(self) -> Assignment | Finished | None:
        """The next trial; None: ask again later; FINISHED: nothing runs and nothing is owed."""
        with self._lock:
            self._watch_clock()
            if not self._draining and not self._slots.full():
                assignment = self._next_returning() or self._next_final() or self._next_search()
                if assignment is not None:
                    active = self.boards[assignment.pair.id].active
                    active[assignment.key] = assignment.fit
                    return assignment
            if self._has_open_work():
                return None
            if self._clock.finals_only and not self.deadline:
                self.deadline = True
                self._ledger.set_deadline()
            return FINISHED

    def _has_open_work(self) -> bool:
        if any(board.active for board in self.boards.values()):
            return True
        if self._draining:
            return False
        # Work that waits for room or for its turn.
        return any(board.returning and not self._is_closed(board) for board in self.boards.values())

    def _is_closed(self, board: PairBoard) -> bool:
        """Whether the wall clock has ended the pair's search; not before it has a result."""
        return self._clock.finals_only and board.has_winner

    def _adopt_orphans(self) -> None:
        """Close trials that ended untold; queue the others that an earlier attempt left open."""
        for board in self.boards.values():
            for row in board.rows:
                key = (row.pair_id, row.phase, row.number)
                if row.state in TERMINAL:
                    continue
                if row.end is not None and row.end.state != "interrupted":
                    self._finish(board, key, row.end)
                elif row.phase == "search" and board.should_have_stopped(key):
                    # Killed between its last epoch and the word that it was the last.
                    self._finish(board, key, self._pruned(board, key, "early_stop"))
                else:
                    self._rest(board, key)
                    board.returning.append(key)
            self._end_failed_pair(board)

    def _rest(self, board: PairBoard, key: TrialKey) -> None:
        """A trial that nobody runs now is WAITING, whatever happens before its turn."""
        if board.row(key).state == "running":
            self._ledger.set_waiting(key)
            board.set_state(key, "waiting")

    def _next_returning(self) -> Assignment | None:
        for board in self._slots.longest_first():
            for key in list(board.returning):
                if not board.is_wanted(key):
                    board.returning.remove(key)
                    self._finish(board, key, self._end_unwanted(board, key))
                elif not board.is_in_file(key):
                    board.returning.remove(key)
                elif key[1] == "search" and self._is_closed(board):
                    continue
                elif (fit := self._slots.room(board)) is not None:
                    board.returning.remove(key)
                    self._ledger.set_running(key)
                    board.set_state(key, "running")
                    return board.assignment(key, fit)
        return None

    def _next_final(self) -> Assignment | None:
        for board in self._slots.longest_first():
            if not (board.search_is_over or self._clock.finals_only):
                continue
            for run in board.finals_owed()[:1]:
                if (fit := self._slots.room(board)) is not None:
                    return self._create_final(board, run, fit)
        return None

    def _create_final(self, board: PairBoard, run: FinalRun, fit: Fit) -> Assignment:
        number, params = board.next_number("final"), board.params_of(run.source)
        self._ledger.create_final_trial(board.pair, number, params, run)
        key = board.add(
            TrialRow(
                board.pair.id, "final", number, "running", params, (), None,
                seed=run.seed, fold=run.fold, source=run.source,
            )
        )  # fmt: skip
        return board.assignment(key, fit)

    def _next_search(self) -> Assignment | None:
        boards = [b for b in self.boards.values() if b.may_search() and self._may_begin(b)]
        for board in self._slots.in_turn(boards):
            if (fit := self._slots.room(board)) is not None:
                number = board.asked
                params = self._ledger.create_search_trial(board.pair, number)
                row = TrialRow(board.pair.id, "search", number, "running", params, (), None)
                return board.assignment(board.add(row), fit)
        return None

    def _may_begin(self, board: PairBoard) -> bool:
        """Once the rest is kept for finals: one trial at a time, of pairs that have no result."""
        has_some = board.has_winner or board.active or board.returning
        return not (self._clock.finals_only and has_some)

    # -- hear --------------------------------------------------------------------------------

    def receive(self, key: TrialKey, records: Sequence[Record]) -> bool:
        """Write records to the ledger; False: the trial is over and its slot is free."""
        with self._lock:
            board = self.boards[key[0]]
            if key not in board.active:
                return False
            for record in records:
                if isinstance(record, EndRecord):
                    self._on_end(board, key, record)
                    return False
                if board.add_epoch(key, record):
                    self._ledger.write_epoch(key, record)
            return self._goes_on(board, key)

    def lost(
        self,
        key: TrialKey,
        reason: str,
        failure: FailureClass = "infrastructure",
        node_lost: bool = False,
    ) -> None:
        """The actor died under the trial: retried elsewhere, or with more memory."""
        with self._lock:
            board = self.boards[key[0]]
            if key in board.active:
                if board.active[key].shape.gpus:
                    failure = "infrastructure"  # the machine's memory, of which it asked for none
                self._on_failure(board, key, failed_end(failure, reason), node_lost)

    def _goes_on(self, board: PairBoard, key: TrialKey) -> bool:
        self._watch_clock()
        row = board.row(key)
        epochs = int(row.params.get("epochs", self._plan.spec.recipe.epochs))
        if row.phase == "final" or len(row.epochs) >= epochs:
            return True
        if board.exhausted:
            self._finish(board, key, self._pruned(board, key, "budget"))
        elif self._is_closed(board):
            self._set_waiting(board, key)
        elif board.stops_early(key):
            self._finish(board, key, self._pruned(board, key, "early_stop"))
        else:
            return True
        return False

    def _on_end(self, board: PairBoard, key: TrialKey, end: EndRecord) -> None:
        if end.state == "interrupted":
            self._set_waiting(board, key)
        elif end.state == "failed":
            self._on_failure(board, key, end)
        else:
            self._finish(board, key, end)

    def _on_failure(
        self, board: PairBoard, key: TrialKey, end: EndRecord, node_lost: bool = False
    ) -> None:
        """Retry where the class allows it, else FAIL; three user failures end the pair."""
        if end.failure == "infrastructure" and self._draining:
            self._set_waiting(board, key)  # whoever ends us ends our workers too
            return
        row, used = board.row(key), board.active[key]
        if self._may_retry(row, used, end.failure, node_lost):
            failures = board.add_failure(key, failure_text(row, end, used, node_lost))
            self._ledger.write_failures(key, failures)
            logger.warning("%s: %s; it is tried again", row.key, failures[-1])
            self._set_waiting(board, key)
            return
        self._finish(board, key, end)
        self._end_failed_pair(board)

    def _may_retry(
        self, row: TrialRow, used: Fit, failure: FailureClass | None, node_lost: bool
    ) -> bool:
        if failure == "infrastructure":
            return may_go_elsewhere(row, node_lost)
        return failure == "oom" and self._slots.grow(used)

    def _end_failed_pair(self, board: PairBoard) -> None:
        if not board.has_failed:
            return
        while board.asked < board.pair.quota:
            end, number = skipped_end(PAIR_FAILED), board.asked
            params = self._ledger.skip_trial(board.pair, number, end)
            board.add(TrialRow(board.pair.id, "search", number, "failed", params, (), end))

    def _finish(self, board: PairBoard, key: TrialKey, end: EndRecord) -> None:
        self._ledger.write_end(key, end)
        self._files.tidy(key, end)
        self._ledger.tell(key, end, board.row(key).epochs)
        board.set_state(key, end.state, end)  # type: ignore[arg-type]
        self._free(board, key)
        self._watch_disk(end)

    def _watch_disk(self, end: EndRecord) -> None:
        """Where nothing can be written, asking on would only make one trial fail after another."""
        self._disk_failures = self._disk_failures + 1 if end.failure == "disk" else 0
        if self._disk_failures == DISK_FAILURES_END and not self._draining:
            self._draining = True
            logger.warning(
                "the disk is full, say %d trials in a row (%s): no more are started; make space, "
                "then the same command goes on",
                DISK_FAILURES_END,
                end.reason,
            )

    def _set_waiting(self, board: PairBoard, key: TrialKey) -> None:
        self._ledger.set_waiting(key)
        board.set_state(key, "waiting")
        if not self._draining:
            board.returning.append(key)
        self._free(board, key)

    def _free(self, board: PairBoard, key: TrialKey) -> None:
        if (fit := board.active.pop(key, None)) is not None:
            self._slots.free(fit)

    def _end_unwanted(self, board: PairBoard, key: TrialKey) -> EndRecord:
        if key[1] == "search" and board.has_failed:
            return skipped_end(PAIR_FAILED)
        return self._pruned(board, key, "budget" if key[1] == "search" else "superseded")

    def _pruned(self, board: PairBoard, key: TrialKey, reason: str) -> EndRecord:
        """The end of a trial that the driver stops, its weights collected."""
        metric = self._plan.spec.search.metric
        row = board.row(key)
        try:
            weights = self._files.best_weights(key, len(row.failures))
        except OSError as error:
            failure: FailureClass = "disk" if disk_is_full(error) else "infrastructure"
            return failed_end(failure, f"its best weights cannot be written: {error}")
        return pruned_end(row, metric, reason, weights)

    # -- time --------------------------------------------------------------------------------

    def drain(self) -> None:
        """Ask nothing more; what runs is about to report ``interrupted``."""
        # No lock: this runs in signal handlers.
        self._draining = True

    @property
    def draining(self) -> bool:
        return self._draining

    def abandon(self) -> None:
        """End a drain that some trial does not answer: what is still out becomes WAITING."""
        with self._lock:
            self._draining = True
            for board in self.boards.values():
                for key in list(board.active):
                    self._set_waiting(board, key)

    def tick(self) -> None:
        """Look at the clock; the runner calls it also while no trial reports."""
        with self._lock:
            self._watch_clock()

    def _watch_clock(self) -> None:
        if self._draining:
            return
        self._clock.look()
        if self._clock.is_over:
            self.deadline = self._draining = True
            self._ledger.set_deadline()

    # -- look --------------------------------------------------------------------------------

    def progress(self) -> list[PairProgress]:
        with self._lock:
            return [board.progress(self.deadline) for board in self.boards.values()]
