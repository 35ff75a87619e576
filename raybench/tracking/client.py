"""The way in: MLflow made quiet and impatient before it is imported. Light until called."""

from __future__ import annotations

import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from raybench.tracking.projection import Projection

# Where the user has not said otherwise. MLflow's own patience (7 retries of 120 s) is no use to a
# thread that asks again anyway; it reports usage to its makers from the moment it is imported.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")


def redact(text: str) -> str:
    """``text`` without user names and passwords in its URIs, fit for logs and people."""
    return _USER_INFO.sub("", text)


def open_projection(
    tracking_uri: str, artifact_root: str | None, checkpoint_root: Path
) -> Projection:
    """A projection on its own client. Imports mlflow: seconds, the first time."""
    prepare_environment()
    from raybench.tracking.projection import Projection

    return Projection(tracking_uri, artifact_root, checkpoint_root)


def connect(tracking_uri: str) -> MlflowClient:
    """A client without MLflow's global state; opens (and if need be creates) the store."""
    prepare_environment()
    # Its warnings are about its own code (type hints, SQLAlchemy), not about what the user did.
    warnings.filterwarnings("ignore", module=r"mlflow(\.|$)")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    prefix = "sqlite:///"
    if tracking_uri.startswith(prefix) and not Path(tracking_uri[len(prefix) :]).exists():
        _create_store(Path(tracking_uri[len(prefix) :]))
    return MlflowClient(tracking_uri)


def _create_store(path: Path) -> None:
    """Make an empty SQLite store aside and rename it.

    MLflow creates some fifty tables in many transactions, which takes seconds. Killed in between,
    it leaves a file that it refuses from then on ("table already exists").
    """
    from mlflow import MlflowClient

    aside = path.with_name(f".{path.name}-{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    MlflowClient(f"sqlite:///{aside}").search_experiments(max_results=1)
    aside.replace(path)


def prepare_environment() -> None:
    """Set this process's defaults; what the user has set stays."""
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
