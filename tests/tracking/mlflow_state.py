"""What stands in an MLflow store, as plain values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from raybench.tracking.client import connect, open_projection
from raybench.tracking.projection import Projection


@dataclass
class Store:
    """A home's MLflow store."""

    folder: Path
    checkpoint_root: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        return connect(self.uri)

    def projection(self) -> Projection:
        return open_projection(self.uri, str(self.folder / "artifacts"), self.checkpoint_root)

    def runs(self, sweep: str = "demo") -> dict[str, Run]:
        """Runs by key; fails where two runs have one key."""
        found: dict[str, Run] = {}
        experiment = self.client.get_experiment_by_name(sweep)
        for run in self.client.search_runs([experiment.experiment_id]):
            tags = run.data.tags
            key = tags.get("raybench.trial") or tags["raybench.pair"]
            assert key not in found, f"two runs of {key}"
            found[key] = run
        return found

    def state(self) -> dict[str, Any]:
        """Everything that a rebuild must bring back: no ids, no clock."""
        return {key: self._run_state(run) for key, run in self.runs().items()}

    def points(self, run: Run) -> list[tuple[str, float, int, int]]:
        return sorted(
            (metric.key, metric.value, metric.timestamp, metric.step)
            for key in run.data.metrics
            for metric in self.client.get_metric_history(run.info.run_id, key)
        )

    def _run_state(self, run: Run) -> dict[str, Any]:
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
            "models": len(run.outputs.model_outputs) if run.outputs else 0,
        }

    def close(self) -> None:
        self.client._tracking_client.store.engine.dispose()
