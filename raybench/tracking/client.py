"""The way in: MLflow made quiet and private before it is imported. Light until called."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from raybench.sweep.database import database_url, make_engine, schema_lock
from raybench.whole_files import beside, locked, size_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from raybench.tracking.projection import Projection

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# Where the user has not said otherwise. MLflow reports usage to its makers from the moment it is
# imported.
_DEFAULTS = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# No retries: who calls looks at what is there and asks again, while a request that MLflow's client
# repeats may have been heard the first time. A minute, so that a server that needs ten seconds a
# call, or waits twenty for its database, still answers.
_LIMITS = {_RETRIES: "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
_one_at_a_time = threading.Lock()
_logger = logging.getLogger(__name__)


def open_projection(
    tracking_uri: str, artifact_root: str | None, checkpoints: Path | str, *, own_store: bool
) -> Projection:
    """A projection on its own client. Imports mlflow: seconds, the first time."""
    prepare_environment()
    from raybench.tracking.projection import Projection

    return Projection(database_url(tracking_uri), artifact_root, checkpoints, own_store)


class _OwnLimits:
    """MLflow reads its limits from the environment, which belongs to the process that uses us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses = 0
        self._ours: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            self._uses += 1
            if self._uses == 1:
                self._ours = [name for name in _LIMITS if name not in os.environ]
                os.environ.update({name: _LIMITS[name] for name in self._ours})

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._uses -= 1
            if self._uses == 0:
                for name in self._ours:
                    os.environ.pop(name, None)


own_limits = _OwnLimits()
"""Within, and only there, MLflow's client waits and repeats as tracking needs it to."""


def connect(tracking_uri: str) -> MlflowClient:
    """A client without MLflow's global state; opens (and if need be creates) the store."""
    prepare_environment()
    # Its warnings are about its own code (type hints, SQLAlchemy), not about what the user did.
    warnings.filterwarnings("ignore", module=r"mlflow(\.|$)")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It writes a traceback per failed call, and then raises the same error.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    path = sqlite_file(tracking_uri)
    if path is not None and not size_of(path):
        _create_store(path)
        _let_go(tracking_uri)
    if not tracking_uri.startswith("postgresql"):
        return MlflowClient(tracking_uri)
    engine = make_engine(tracking_uri)
    try:
        with schema_lock(engine):  # several drivers at once would all make the tables
            return MlflowClient(tracking_uri)
    finally:
        engine.dispose()


def sqlite_file(tracking_uri: str) -> Path | None:
    """The file of a SQLite store; None for another database and for a server."""
    prefix = "sqlite:///"
    return Path(tracking_uri[len(prefix) :]) if tracking_uri.startswith(prefix) else None


@contextmanager
def asked_once() -> Iterator[None]:
    """Within, no request is repeated by MLflow's client, whatever the user has set.

    MLflow makes a run, or a model, per request: one whose answer was lost is not known to have
    failed (before 3.18 its client repeats it all the same). Found by tag at the next look instead.
    """
    with _one_at_a_time:
        before = os.environ.get(_RETRIES)
        os.environ[_RETRIES] = "0"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_RETRIES]
            else:
                os.environ[_RETRIES] = before


def _create_store(path: Path) -> None:
    """Make an empty SQLite store aside and rename it.

    MLflow creates some fifty tables in many transactions, which takes seconds. Killed in between,
    it leaves a file that it refuses from then on ("table already exists"). One process at a time: a
    second store would take the place of one that is written to already.
    """
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, _logger.info):
        if size_of(path):
            return
        aside = path.with_name(f".{path.name}-new")
        for left in (aside, beside(aside, "-journal")):
            left.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{aside}").search_experiments(max_results=1)
        aside.replace(path)


def _let_go(tracking_uri: str) -> None:
    """Close connections to a file that was moved away; MLflow keeps them, by address, for ever.

    A private name: where another MLflow does without it, the next process writes to the new file.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = getattr(SqlAlchemyStore, "_engine_map", {}).get(tracking_uri)
    if engine is not None:
        engine.dispose()


def prepare_environment() -> None:
    """Set this process's defaults; what the user has set stays."""
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
