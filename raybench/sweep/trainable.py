"""One trial as a Ray actor: an epoch per ``step``, reused for trial after trial.

Everything Ray knows of a trial is here. A trial's outcome travels as a record; the actor itself
only fails when it must not be used again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raybench.records import EndRecord, Record, to_dict
from raybench.settings import private_umask
from raybench.sweep.supplies import Supplies, fetch_supplies
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial

logger = logging.getLogger(__name__)

RETIRING_FAILURES = frozenset({"oom", "user", "disk", "infrastructure"})
"""After these the process may hold leaked memory or broken state; a fresh one takes the next."""


class RetiredActorError(RuntimeError):
    """Ends an actor after a failed trial; the trial's record has been delivered before."""


class _StopFlag:
    """A local flag that a thread sets when the signal comes; checked every batch for free."""

    def __init__(self, signal: Any) -> None:
        self._event = threading.Event()
        thread = threading.Thread(target=self._watch, args=(signal,), daemon=True)
        thread.start()

    def _watch(self, signal: Any) -> None:
        # When the driver dies, the actor dies with it: there is nobody left to wait for.
        try:
            ray.get(signal.wait.remote())
        except (ray.exceptions.RayError, SystemExit):
            return
        self._event.set()

    def __call__(self) -> bool:
        return self._event.is_set()


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Runs trials one after another; ``step`` returns one record."""

    def setup(
        self, config: dict[str, Any], signal: Any = None, supplies: Supplies | None = None
    ) -> None:
        self._should_stop = _StopFlag(signal)
        self._supplies, self._fetched = supplies, set[Supplies]()
        self._records: Iterator[Record] = iter(())
        self._retire_reason: str | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._retire_reason is not None:
            raise RetiredActorError(self._retire_reason)
        record = next(self._records)
        ended = isinstance(record, EndRecord)
        if isinstance(record, EndRecord) and record.failure in RETIRING_FAILURES:
            self._retire_reason = record.reason
            ended = False  # the next step raises, which is how Tune lets go of an actor
        return {"record": [to_dict(record)], "done": ended}

    def cleanup(self) -> None:
        self._close()

    def _begin(self, config: dict[str, Any]) -> None:
        trial_config = TrialConfig.from_dict(config["trial"])
        self._fetch(trial_config)
        os.umask(private_umask(Path(trial_config.checkpoint_root)))  # Ray's own may be anything
        self._records = run_trial(trial_config, should_stop=self._should_stop)

    def _fetch(self, trial: TrialConfig) -> None:
        """A node that has just joined is given trials at once, before anything is brought there."""
        if self._supplies is None:
            return
        needed = self._supplies.of_trial(trial.data_digest, trial.weights_sha256)
        if needed not in self._fetched:
            fetch_supplies(needed, logger.info)
            self._fetched.add(needed)

    def _close(self) -> None:
        close = getattr(self._records, "close", None)
        if close is not None:
            close()
