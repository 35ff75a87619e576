"""``raybench sync``: what the tracking thread does all the time, done once, to the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.tracking.client import own_limits
from raybench.tracking.problems import what_is_wrong
from raybench.tracking.reader import LedgerReader, Projector
from raybench.tracking.session import Session

_PAUSES_S = (1.0, 5.0, 15.0)
_TELL_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What MLflow now holds of the sweep; ``trials`` by state."""

    sweep: str
    pairs: int
    trials: dict[str, int]
    epochs: int


def sync(
    reader: LedgerReader,
    projection: Projector,
    tell: Callable[[str], None] = lambda sentence: None,
    pauses_s: Sequence[float] = _PAUSES_S,
) -> SyncResult:
    """Complete or rebuild MLflow's side of a sweep from the ledger alone.

    Where what is wrong may pass, it tries again after each of ``pauses_s``. ``tell`` hears of that,
    and now and then how far it is.

    Raises:
        ResourceError: the tracking store cannot be reached or refuses.
    """
    for pause_s in (*pauses_s, None):
        try:
            with own_limits:
                Session(reader, projection, _Progress(tell)).project(to_the_end=True)
            return _count(reader.snapshot(None))
        except _store_errors() as error:
            problem = what_is_wrong(error, projection.tracking_uri)
            if pause_s is None or not problem.passes:
                raise ResourceError(
                    f"MLflow could not be brought up to date: {problem.text}. Nothing is lost: the "
                    "ledger has everything, and the same command sends what is missing"
                ) from error
        tell(f"{problem.text}; trying again in {pause_s:g} s")
        time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


class _Progress:
    """A line now and then."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._last = tell, time.monotonic()

    def __call__(self, lacking: int, total: int) -> None:
        if time.monotonic() - self._last >= _TELL_EVERY_S:
            self._last = time.monotonic()
            self._tell(f"{total - lacking} of {total} runs are in MLflow")


def _store_errors() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


def _count(snapshot: SweepSnapshot) -> SyncResult:
    trials = [trial for pair in snapshot.pairs for trial in pair.trials]
    return SyncResult(
        sweep=snapshot.sweep,
        pairs=len(snapshot.pairs),
        trials=dict(Counter(trial.state for trial in trials)),
        epochs=sum(len(trial.epochs) for trial in trials),
    )
