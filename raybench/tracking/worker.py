"""The tracking thread: committed rows to MLflow, at its own pace, and never anybody's problem."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping

from raybench.tracking.client import redact
from raybench.tracking.reader import LedgerReader, Projector

_logger = logging.getLogger(__name__)

_MAX_WAIT_S = 60.0


class TrackingThread:
    """Projects the ledger every ``poll_s`` seconds until stopped.

    Both factories are called inside the thread, so that neither mlflow's import nor a new store's
    migrations nor a slow server make the driver wait. Any error is a tracking failure: said once
    in words, retried with a new reader and a new projection, never raised into the sweep.

    Attributes:
        problem: what is wrong now, in one sentence; None while all is well.
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
        self._state = threading.Condition()
        self._stopping = False
        self._asked = 0  # flushes asked for; a pass answers those asked before it began
        self._answered = 0
        self._thread = threading.Thread(target=self._run, name="raybench-tracking", daemon=True)

    def start(self) -> None:
        """Begin to project; returns at once."""
        self._thread.start()

    def flush(self, timeout_s: float) -> bool:
        """Project now; True when every row committed before this call has been sent.

        False after the first failed pass (a dead server is not waited for) or ``timeout_s``.
        """
        with self._state:
            self._asked += 1
            ticket = self._asked
            self._state.notify_all()
            answered = self._state.wait_for(lambda: self._answered >= ticket, timeout_s)
            return answered and self.problem is None

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the pass in progress; one that hangs is left behind (the thread is daemon)."""
        with self._state:
            self._stopping = True
            self._state.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        session: _Session | None = None
        while True:
            with self._state:
                if self._stopping:
                    return
                asked = self._asked
            try:
                session = session or _Session(self._reader_factory(), self._projection_factory())
                session.project(header_too=asked > self._answered)
            except Exception as error:
                session, failures = None, failures + 1
                self._report(error)
                _logger.debug("tracking failed", exc_info=True)
            else:
                failures = 0
                self._recover()
            self._wait(asked, min(_MAX_WAIT_S, self._poll_s * 2**failures))

    def _wait(self, asked: int, seconds: float) -> None:
        with self._state:
            self._answered = asked
            self._state.notify_all()
            self._state.wait_for(lambda: self._stopping or self._asked > asked, seconds)

    def _report(self, error: Exception) -> None:
        first_line = redact(str(error)).strip().partition("\n")[0][:300]
        known = self.problem is not None
        self.problem = (
            f"MLflow lags behind: {type(error).__name__}: {first_line}. "
            "The sweep goes on and the ledger has everything; 'raybench sync' sends the rest."
        )
        if not known:
            _logger.warning(self.problem)

    def _recover(self) -> None:
        if self.problem is not None:
            self.problem = None
            _logger.info("MLflow has caught up")


class _Session:
    """One reader, one projection and the versions it has seen; thrown away after an error."""

    def __init__(self, reader: LedgerReader, projection: Projector) -> None:
        self._reader = reader
        self._projection = projection
        self._seen: Mapping[str, str] | None = None

    def project(self, *, header_too: bool) -> None:
        """Send the trials that changed; ``header_too``: and pairs whose state alone did."""
        versions = dict(self._reader.versions())
        seen = self._seen
        if seen is None:
            self._projection.apply(self._reader.snapshot(None))
        else:
            changed = {key for key, version in versions.items() if seen.get(key) != version}
            if changed or header_too:
                keys = changed | _finals_beside(changed, versions)
                self._projection.apply(self._reader.snapshot(keys))
        self._seen = versions


def _finals_beside(changed: Collection[str], versions: Collection[str]) -> set[str]:
    """Finals of the changed trials' pairs: a new winner replaces them without touching a row."""
    pairs = {key.rsplit("/", 2)[0] for key in changed}
    return {key for key in versions if "/final/" in key and key.rsplit("/", 2)[0] in pairs}
