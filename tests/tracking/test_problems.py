"""One sentence per kind of trouble: what is wrong, what to do, no secret."""

from __future__ import annotations

import pytest

from raybench.tracking.problems import what_is_wrong

SERVER = "http://anna:pw123456@mlflow.internal:5000"
FILE = "sqlite:////home/anna/mlflow.db"
REFUSED = "HTTPConnectionPool: Max retries exceeded with url: /x (Caused by ... Connection refused)"
HOST = "failed with error code 403 != 200. Response body: 'Invalid Host header - possible DNS ...'"
READ = "HTTPConnectionPool(host='mlflow.internal'): Read timed out. (read timeout=60)"
LOCKED = "(sqlite3.OperationalError) database is locked"
SCHEMA = "Detected out-of-date database schema (found version 1, but expected 2). Take a backup"


@pytest.mark.parametrize(
    ("uri", "said", "kind", "words", "passes"),
    [
        (
            SERVER,
            REFUSED,
            "unreachable",
            "start the server, or correct RAYBENCH_TRACKING_URI",
            True,
        ),
        (SERVER, "error code 503 != 200", "unreachable", "cannot be reached", True),
        (SERVER, READ, "slow", "MLFLOW_HTTP_REQUEST_TIMEOUT", True),
        (SERVER, HOST, "host check", "--allowed-hosts mlflow.internal:5000,localhost:*", False),
        (SERVER, "error code 401 != 200", "refused", "set MLFLOW_TRACKING_USERNAME", False),
        (SERVER, LOCKED, "locked", "holds MLflow's database of http://mlflow.internal", True),
        (FILE, LOCKED, "locked", "holds MLflow's database /home/anna/mlflow.db locked", True),
        (FILE, SCHEMA, "schema", "'mlflow db upgrade sqlite:////home/anna/mlflow.db'", False),
        (FILE, SCHEMA, "schema", "(mv /home/anna/mlflow.db /home/anna/mlflow.db.old)", False),
        (FILE, "Can't locate revision identified by 'ab'", "schema", "another version", False),
        (FILE, "file is not a database", "damaged", "'raybench sync' then builds it anew", False),
        (FILE, "database disk image is malformed", "damaged", "is damaged", False),
        (SERVER, SCHEMA, "schema", "another version of MLflow; 'mlflow db upgrade", False),
    ],
)
def test_each_kind_says_what_to_do(
    uri: str, said: str, kind: str, words: str, passes: bool
) -> None:
    problem = what_is_wrong(RuntimeError(said), uri)
    assert (problem.kind, problem.passes) == (kind, passes)
    assert words in problem.text
    assert "pw123456" not in problem.text
    assert "\n" not in problem.text


def test_what_came_before_an_error_counts() -> None:
    try:
        try:
            raise OSError(LOCKED)
        except OSError as error:
            raise ValueError("no run") from error
    except ValueError as error:
        assert what_is_wrong(error, FILE).kind == "locked"


def test_anything_else_is_said_in_its_own_first_line_without_secrets() -> None:
    problem = what_is_wrong(KeyError(f"at {SERVER} and password=hunter2hunter\nmore"), SERVER)
    assert problem.kind == "KeyError"
    assert "pw123456" not in problem.text and "hunter2" not in problem.text
    assert len(problem.text) < 350


def test_a_server_that_is_moved_away_is_nobodys_advice() -> None:
    assert "mv " not in what_is_wrong(RuntimeError(SCHEMA), SERVER).text
