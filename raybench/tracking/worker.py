"""The tracking thread: committed rows to MLflow, at its own pace, and never anybody's problem."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from raybench.tracking.client import own_limits
from raybench.tracking.problems import what_is_wrong
from raybench.tracking.reader import LedgerReader, Projector
from raybench.tracking.session import Session

_logger = logging.getLogger(__name__)

_MAX_WAIT_S = 60.0
_DEAD_S = 5.0
_LOOKS = 3  # at once, before anybody is told
_REST = "The sweep goes on and the ledger has everything; 'raybench sync' sends the rest."


class _StoppedError(Exception):
    """In the middle of a pass."""


class TrackingThread:
    """Projects the ledger every ``poll_s`` seconds until stopped.

    Both factories are called inside the thread, so that neither mlflow's import nor a new store's
    migrations nor a slow server make the driver wait. Any error is a tracking failure: each kind is
    told once, retried with a new reader and a new projection, never raised into the sweep.

    Attributes:
        problem: what is wrong now, in words; None while all is well.
    """

    def __init__(
        self,
        reader_factory: Callable[[], LedgerReader],
        projection_factory: Callable[[], Projector],
        poll_s: float = 2.0,
    ) -> None:
        self.problem: str | None = None
        self._reader_factory = reader_factory
        self._projection_factory = projection_factory
        self._poll_s = poll_s
        self._session: Session | None = None
        self._uri = "MLflow"
        self._told: set[str] = set()
        self._state = threading.Condition()
        self._stopping = False
        self._asked = 0  # flushes asked for; a pass answers those asked before it began
        self._answered = 0
        self._thread = threading.Thread(target=self._run, name="raybench-tracking", daemon=True)

    def start(self) -> None:
        """Begin to project; returns at once."""
        self._thread.start()

    def flush(self, timeout_s: float) -> bool:
        """Project now; True when every row committed before this call has been sent."""
        return self.finish(lambda: timeout_s) is None

    def finish(self, allowed_s: Callable[[], float]) -> str | None:
        """Project to the end; what MLflow lacks then, in words, or None.

        Waits no longer than the first failed pass, nor than a few seconds for a store that has had
        a problem and is silent.

        Args:
            allowed_s: seconds to wait at most; asked again and again, as a signal may change it.
        """
        started = time.monotonic()
        with self._state:
            self._asked += 1
            ticket = self._asked
            self._state.notify_all()
            while not self._state.wait_for(lambda: self._answered >= ticket, 0.1):
                allowed = min(allowed_s(), _DEAD_S) if self._is_silent() else allowed_s()
                if time.monotonic() - started >= allowed:
                    return self.problem or self._lag()
            return self.problem

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the pass in progress; one that hangs is left behind (the thread is daemon)."""
        with self._state:
            self._stopping = True
            self._state.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _is_silent(self) -> bool:
        session = self._session
        return self.problem is not None and not (session and session.has_looked)

    def _lag(self) -> str:
        session = self._session
        if session is None or not session.has_looked:
            what = "it has not answered yet"
        elif not session.lacking:
            what = "the last look at it is not done"
        else:
            what = f"{len(session.lacking)} of {session.total} runs have not been sent"
        return f"MLflow is not up to date: {what}. The next run or 'raybench sync' sends the rest."

    def _run(self) -> None:
        with own_limits:
            self._project_until_stopped()

    def _project_until_stopped(self) -> None:
        failures = looks = 0
        while True:
            with self._state:
                if self._stopping:
                    return
                asked = self._asked
            try:
                self._project(to_the_end=asked > self._answered)
            except _StoppedError:
                return
            except Exception as error:
                _logger.debug("tracking failed", exc_info=True)
                if self._throw_away() and looks < _LOOKS:
                    looks += 1
                    continue
                failures += 1
                self._report(error)
            else:
                failures = 0
                self._recover()
            looks = 0
            self._wait(asked, min(_MAX_WAIT_S, self._poll_s * 2**failures))

    def _project(self, *, to_the_end: bool) -> None:
        if self._session is None:
            projection = self._projection_factory()
            self._uri = projection.tracking_uri
            self._session = Session(self._reader_factory(), projection, self._on_sent)
        self._session.project(to_the_end=to_the_end)

    def _on_sent(self, lacking: int, total: int) -> None:
        """A thread that was left behind ends at the next run, else it writes beside a later one."""
        if self._stopping:
            raise _StoppedError

    def _throw_away(self) -> bool:
        """Forget the session after an error; True when the store had answered it.

        Then an answer was lost, or another writer has deleted a twin of ours.
        """
        session, self._session = self._session, None
        return session is not None and session.has_looked

    def _wait(self, asked: int, seconds: float) -> None:
        with self._state:
            self._answered = asked
            self._state.notify_all()
            self._state.wait_for(lambda: self._stopping or self._asked > asked, seconds)

    def _report(self, error: Exception) -> None:
        found = what_is_wrong(error, self._uri)
        self.problem = f"MLflow lags behind: {found.text}. {_REST}"
        if found.kind not in self._told:
            self._told.add(found.kind)
            _logger.warning(self.problem)

    def _recover(self) -> None:
        if self.problem is not None:
            self.problem = None
            _logger.info("MLflow has caught up")
