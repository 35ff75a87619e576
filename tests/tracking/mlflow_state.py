"""What stands in an MLflow store, as plain values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from raybench.tracking.client import _let_go, connect, open_projection
from raybench.tracking.projection import Projection
from raybench.tracking.reader import LedgerReader
from raybench.tracking.session import Session


@dataclass
class Store:
    """A home's MLflow store; not ``own``: one that other homes write to as well.

    ``address``: of a server or database; empty: a SQLite file in ``folder``.
    """

    folder: Path
    checkpoint_root: Path
    own: bool = True
    address: str = ""

    @property
    def uri(self) -> str:
        return self.address or f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        return connect(self.uri)

    def projection(self) -> Projection:
        artifact_root = str(self.folder / "artifacts") if self.own else None
        return open_projection(self.uri, artifact_root, self.checkpoint_root, own_store=self.own)

    def session(self, ledger: LedgerReader) -> Session:
        return Session(ledger, self.projection())

    def send(self, ledger: LedgerReader) -> None:
        """All of it, as a driver that was started now would."""
        self.session(ledger).project(to_the_end=False)

    def runs(self, sweep: str = "demo") -> dict[str, Run]:
        """Runs of pairs and trials by key; fails where two runs have one key."""
        found: dict[str, Run] = {}
        of_these = "tags.`raybench.kind` != 'sweep'"
        for run in self.client.search_runs([self.experiment_id(sweep)], of_these):
            tags = run.data.tags
            key = tags.get("raybench.trial") or tags["raybench.pair"]
            assert key not in found, f"two runs of {key}"
            found[key] = run
        return found

    def state(self, sweep: str = "demo") -> dict[str, Any]:
        """Everything that a rebuild must bring back: no ids, no clock."""
        active = {model.model_id for model in self.models(sweep)}
        return {key: self._run_state(run, active) for key, run in self.runs(sweep).items()}

    def experiment_id(self, sweep: str = "demo") -> str:
        return str(self.client.get_experiment_by_name(sweep).experiment_id)

    def models(self, sweep: str = "demo") -> list[LoggedModel]:
        return list(self.client.search_logged_models([self.experiment_id(sweep)]))

    def points(self, run: Run) -> list[tuple[str, float, int, int]]:
        return sorted(
            (metric.key, metric.value, metric.timestamp, metric.step)
            for key in run.data.metrics
            for metric in self.client.get_metric_history(run.info.run_id, key)
        )

    def _run_state(self, run: Run, active: set[str]) -> dict[str, Any]:
        volatile = {"mlflow.parentRunId", "raybench.model"}
        return {
            "name": run.info.run_name,
            "status": run.info.status,
            "end": run.info.end_time,
            "params": run.data.params,
            "tags": {k: v for k, v in run.data.tags.items() if k not in volatile},
            "points": self.points(run),
            "datasets": [
                (item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs
            ],
            "models": [m.model_id in active for m in run.outputs.model_outputs]
            if run.outputs
            else [],
        }

    def close(self) -> None:
        """Its connections, which MLflow would keep until they are collected as garbage."""
        _let_go(self.uri)
