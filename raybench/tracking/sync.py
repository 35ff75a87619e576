"""``raybench sync``: what the tracking thread does all the time, done once, to the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from raybench.errors import ResourceError
from raybench.tracking.client import redact
from raybench.tracking.reader import LedgerReader, Projector


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What MLflow now holds of the sweep; ``trials`` by state."""

    sweep: str
    pairs: int
    trials: dict[str, int]
    epochs: int


def sync(reader: LedgerReader, projection: Projector) -> SyncResult:
    """Complete or rebuild MLflow's side of a sweep from the ledger alone.

    Raises:
        ResourceError: the tracking store cannot be reached or refuses.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    snapshot = reader.snapshot(None)
    try:
        projection.apply(snapshot)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first_line = redact(str(error)).partition("\n")[0]
        raise ResourceError(
            f"MLflow could not be brought up to date: {first_line}; nothing is lost, "
            "run the command again when the tracking store is reachable"
        ) from error
    trials = [trial for pair in snapshot.pairs for trial in pair.trials]
    return SyncResult(
        sweep=snapshot.sweep,
        pairs=len(snapshot.pairs),
        trials=dict(Counter(trial.state for trial in trials)),
        epochs=sum(len(trial.epochs) for trial in trials),
    )
