"""MLflow made quiet, impatient and private before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raybench.tracking.client import prepare_environment, redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("http://anna:pw@host:5000/x", "http://host:5000/x"),
        ("at postgresql+psycopg2://u:p@db/ml failed", "at postgresql+psycopg2://db/ml failed"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_user_names_and_passwords_are_taken_out(text: str, safe: str) -> None:
    assert redact(text) == safe


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    prepare_environment()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


def test_what_the_driver_imports_leaves_mlflow_out() -> None:
    code = (
        "import sys;"
        "from raybench.tracking import client, entries, reader, summary, sync, ui, worker;"
        "sys.exit(any(name in sys.modules for name in ('mlflow', 'torch', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
