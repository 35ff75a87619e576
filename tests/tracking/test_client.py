"""MLflow made quiet, impatient and private before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raybench.tracking.client import connect, prepare_environment, redact


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


@pytest.mark.slow
def test_killed_while_the_store_is_made(tmp_path: Path) -> None:
    """Whatever moment MLflow's first migration is killed at, the next start works."""
    database = tmp_path / "mlflow.db"
    program = (
        "import sys; from raybench.tracking.client import connect\n"
        "import mlflow; print('imported', flush=True)\n"
        "connect(sys.argv[1]).search_experiments()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, f"sqlite:///{database}"]
    for pause_s in (0.1, 0.5, 1.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause_s)
        process.kill()
        process.communicate()
    assert len(connect(f"sqlite:///{database}").search_experiments()) == 1
