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
    return MlflowClient(tracking_uri)


def prepare_environment() -> None:
    """Set this process's defaults; what the user has set stays."""
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
