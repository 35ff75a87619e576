"""What stands in a home, by plain SQL: a second pair of eyes beside the product's own readers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TERMINAL = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Trial:
    """One row of Optuna's ``trials``, with its user attributes and parameters."""

    key: str
    state: str
    attributes: dict[str, Any]
    params: dict[str, float]

    @property
    def phase(self) -> str:
        return self.key.split("/")[1]

    @property
    def pair(self) -> str:
        return self.key.split("/")[0]

    @property
    def end(self) -> dict[str, Any]:
        """The end record; empty without one."""
        return dict(self.attributes.get("end", {}))

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The epochs' records, in the order in which they were written."""
        return [value for name, value in self.attributes.items() if name.startswith("epoch:")]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A SQLite file, read-only."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def read_trials(home: Path, sweep: str) -> list[Trial]:
    """All trials of the sweep; none while there is no ledger, or not yet its tables."""
    try:
        with reading(home / "ledger.db") as ledger:
            return _trials(ledger, sweep)
    except sqlite3.OperationalError:
        return []


def _trials(ledger: sqlite3.Connection, sweep: str) -> list[Trial]:
    query = (
        "SELECT trial_id, number, state, study_name FROM trials JOIN studies USING (study_id) "
        "WHERE study_name LIKE ? ORDER BY trial_id"
    )
    rows = ledger.execute(query, (f"{sweep}/%",)).fetchall()
    return [_trial(ledger, row, sweep) for row in rows]


def _trial(ledger: sqlite3.Connection, row: sqlite3.Row, sweep: str) -> Trial:
    pair, _, phase = row["study_name"].removeprefix(f"{sweep}/").partition("/")
    attributes = ledger.execute(
        "SELECT key, value_json FROM trial_user_attributes WHERE trial_id = ? "
        "ORDER BY trial_user_attribute_id",
        (row["trial_id"],),
    )
    params = ledger.execute(
        "SELECT param_name, param_value FROM trial_params WHERE trial_id = ?", (row["trial_id"],)
    )
    return Trial(
        key=f"{pair}/{phase or 'search'}/{row['number']}",
        state=row["state"],
        attributes={a["key"]: json.loads(a["value_json"]) for a in attributes},
        params={p["param_name"]: p["param_value"] for p in params},
    )


def epochs_done(home: Path, sweep: str) -> int:
    """Epochs committed so far; 0 while there is no ledger."""
    query = (
        "SELECT count(*) FROM trial_user_attributes JOIN trials USING (trial_id) "
        "JOIN studies USING (study_id) WHERE key LIKE 'epoch:%' AND study_name LIKE ?"
    )
    try:
        with reading(home / "ledger.db") as ledger:
            return int(ledger.execute(query, (f"{sweep}/%",)).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def attempt_of(home: Path, sweep: str) -> int:
    """The lease's attempt; 0 while there is none."""
    try:
        with reading(home / "ledger.db") as ledger:
            query = "SELECT attempt FROM raybench_leases WHERE sweep = ?"
            row = ledger.execute(query, (sweep,)).fetchone()
    except sqlite3.OperationalError:
        return 0
    return 0 if row is None else int(row[0])


@dataclass(frozen=True)
class Run:
    """One MLflow run of a trial: its metrics' (time stamp, step), in the order of time."""

    key: str
    status: str
    points: dict[str, list[tuple[int, int]]]


def read_runs(home: Path, sweep: str) -> list[Run]:
    """All MLflow runs of the sweep's trials that were not deleted; none without a store."""
    if not (home / "mlflow.db").exists():
        return []
    query = (
        "SELECT runs.run_uuid AS id, status, tags.value AS key FROM runs "
        "JOIN experiments USING (experiment_id) JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE tags.key = 'raybench.trial' AND experiments.name = ? "
        "AND runs.lifecycle_stage = 'active'"
    )
    with reading(home / "mlflow.db") as store:
        rows = store.execute(query, (sweep,)).fetchall()
        return [Run(row["key"], row["status"], _points(store, row["id"])) for row in rows]


def _points(store: sqlite3.Connection, run: str) -> dict[str, list[tuple[int, int]]]:
    points: dict[str, list[tuple[int, int]]] = {}
    query = "SELECT key, timestamp, step FROM metrics WHERE run_uuid = ? ORDER BY timestamp, step"
    for row in store.execute(query, (run,)):
        points.setdefault(row["key"], []).append((row["timestamp"], row["step"]))
    return points
