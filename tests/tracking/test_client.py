"""MLflow made quiet, impatient and private before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raybench.redaction import redact
from raybench.tracking.client import asked_once, connect, own_limits


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
    with own_limits:
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


def test_the_limits_are_gone_when_the_last_use_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's own MLflow is as patient afterwards as it was before."""
    names = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with own_limits:
        with own_limits:
            pass
        assert all(name in os.environ for name in names)
    assert not any(name in os.environ for name in names)


def test_a_server_that_needs_ten_seconds_a_call_gets_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And one that waits twenty for its locked database can still say so."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    with own_limits:
        assert float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) >= 10 + 20


@pytest.mark.parametrize("chosen", ["7", None])
def test_what_makes_something_new_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    if chosen is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, chosen)
    with pytest.raises(ConnectionError), asked_once():
        assert os.environ[name] == "0"
        raise ConnectionError
    assert os.environ.get(name) == chosen


def test_what_the_driver_imports_leaves_mlflow_out() -> None:
    code = (
        "import sys;"
        "from raybench.tracking import client, entries, problems, reader, session, summary;"
        "from raybench.tracking import sync, ui, worker;"
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
    # And where it is sure that something is left.
    (tmp_path / f".{database.name}-new").write_bytes(b"half made")
    (tmp_path / f".{database.name}-new-journal").write_bytes(b"its journal")
    database.unlink(missing_ok=True)
    assert len(connect(f"sqlite:///{database}").search_experiments()) == 1
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {database.name, f"{database.name}.lock"}


@pytest.mark.slow
def test_two_drivers_that_make_the_store_at_once_share_one(tmp_path: Path) -> None:
    """Another's must not take the place of one that has runs already; nothing half made stays."""
    left = [tmp_path / name for name in (".mlflow.db-new", ".mlflow.db-new-journal")]
    for path in left:
        path.write_bytes(b"of a driver that was killed")
    program = (
        "import sys; from raybench.tracking.client import connect\n"
        "connect(sys.argv[1]).create_experiment(sys.argv[2])\n"
    )
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-W", "ignore", "-c", program, uri]
    children = [subprocess.Popen([*command, name]) for name in ("one", "two")]
    assert [child.wait(120) for child in children] == [0, 0]
    names = {experiment.name for experiment in connect(uri).search_experiments()}
    assert {"one", "two"} <= names
    assert not any(path.exists() for path in left)
