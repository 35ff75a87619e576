"""Brings MLflow to what the ledger says: compares what each run should hold with what it holds.

One experiment per sweep, a parent run per pair, a child run per trial. Runs are found by tag, once,
and then kept in memory. Whatever died in between, applying again is harmless: a run is created
once, a parameter is never changed, and the store keeps one row per identical point.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType

from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.tracking.client import connect
from raybench.tracking.entries import CLOSED, Point, RunEntry, trial_entry
from raybench.tracking.models import dataset_input, export_winner, reference_weights
from raybench.tracking.summary import condense, exported_trial, pair_entry

_PAGE = 1000
_MAX_TAG = 5000
_MAX_PARAM = 6000  # MLflow refuses longer ones


@dataclass(slots=True)
class _KnownRun:
    """What the store holds of one run, as far as this process knows."""

    id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    points: set[Point] = field(default_factory=set)
    has_dataset: bool = False
    weights_model: str | None = None
    is_new: bool = False


class Projection:
    """The MLflow side of one sweep. Not thread-safe; after an error, make a new one.

    Args:
        tracking_uri: SQLite file or server.
        artifact_root: local folder for a new experiment's artefacts; None: the server decides.
        checkpoint_root: folder that the records' paths are relative to.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | None, checkpoint_root: Path) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._checkpoint_root = checkpoint_root
        self._experiment_id: str | None = None
        self._runs: dict[str, _KnownRun] = {}
        self._ended: dict[str, dict[str, TrialRow]] = {}
        self._not_exported: set[str] = set()

    @cached_property
    def _client(self) -> MlflowClient:
        """Made at the first use: a client opens its store, which may take long or fail."""
        return connect(self._tracking_uri)

    def apply(self, snapshot: SweepSnapshot) -> None:
        """Send what the store lacks. Trials that ``snapshot`` leaves out are remembered.

        Raises:
            mlflow.exceptions.MlflowException: the store cannot be reached or refuses.
        """
        if self._experiment_id is None:
            self._experiment_id = self._open_experiment(snapshot)
        for pair in [self._apply_pair(self._experiment_id, snapshot, p) for p in snapshot.pairs]:
            # Models last: an artefact store that refuses them must not hold back a curve.
            self._export(self._experiment_id, snapshot, pair)

    def _apply_pair(self, experiment_id: str, snapshot: SweepSnapshot, pair: PairRow) -> PairRow:
        """Bring the pair's runs up to date; returns the pair with all ended trials known so far."""
        ended = self._ended.setdefault(pair.id, {})
        for trial in pair.trials:
            if trial.state in ("complete", "pruned", "failed"):
                ended[trial.key] = condense(trial, snapshot.metric)
        whole = dataclasses.replace(pair, trials=tuple(ended.values()))
        entry = pair_entry(snapshot.sweep, snapshot.metric, whole)
        parent = self._find_or_create(experiment_id, entry, parent=None)
        for trial in pair.trials:
            child_entry = trial_entry(snapshot, pair, trial, self._checkpoint_root)
            child = self._find_or_create(experiment_id, child_entry, parent)
            self._update(experiment_id, child, child_entry, pair)
        self._update(experiment_id, parent, entry, pair)
        return whole

    def _update(self, experiment_id: str, run: _KnownRun, entry: RunEntry, pair: PairRow) -> None:
        """Status last: a closed run is one that lacks nothing."""
        closed = run.status in CLOSED and run.status == entry.status
        if not (closed and entry.settled):
            self._log_dataset(run, pair)
            if entry.weights is not None and run.weights_model is None:
                run.weights_model = reference_weights(
                    self._client, experiment_id, run.id, entry, new_run=run.is_new
                )
        self._log(run, entry, points=() if closed and entry.settled else entry.points)
        if run.status != entry.status:
            self._set_status(run, entry)

    def _log(self, run: _KnownRun, entry: RunEntry, points: Iterable[Point]) -> None:
        new_points = [p for p in points if p not in run.points]
        new_params = {k: v for k, v in entry.params.items() if k not in run.params}
        new_tags = {k: v for k, v in _cut(entry.tags).items() if run.tags.get(k) != v}
        if not (new_points or new_params or new_tags):
            return
        self._client.log_batch(
            run.id,
            metrics=[_metric(point, entry, run) for point in new_points],
            params=[Param(key, value[:_MAX_PARAM]) for key, value in new_params.items()],
            tags=[RunTag(key, value) for key, value in new_tags.items()],
        )
        run.points.update(new_points)
        run.params.update(new_params)
        run.tags.update(new_tags)

    def _set_status(self, run: _KnownRun, entry: RunEntry) -> None:
        if entry.status in CLOSED:
            self._client.set_terminated(run.id, entry.status, entry.end_ms)
            if entry.settled:
                run.points.clear()
        else:
            self._client.update_run(run.id, entry.status)
        run.status = entry.status

    def _log_dataset(self, run: _KnownRun, pair: PairRow) -> None:
        dataset = None if run.has_dataset else dataset_input(pair)
        if dataset is not None:
            self._client.log_inputs(run.id, [dataset])
            run.has_dataset = True

    def _export(self, experiment_id: str, snapshot: SweepSnapshot, pair: PairRow) -> None:
        """Log the winner once; ``raybench.model_of`` on the pair's run says which trial it is."""
        parent, trial = self._runs[pair.id], exported_trial(pair)
        if trial is None or parent.tags.get("raybench.model_of") == trial.key:
            return
        if trial.key in self._not_exported:  # said once
            return
        model_uri = export_winner(
            self._client, experiment_id, parent.id, snapshot, pair, trial, self._checkpoint_root
        )
        if model_uri is None:
            self._not_exported.add(trial.key)
            return
        tags = {"raybench.model_of": trial.key, "raybench.model": model_uri}
        self._client.log_batch(parent.id, tags=[RunTag(k, v) for k, v in tags.items()])
        parent.tags.update(tags)

    def _find_or_create(
        self, experiment_id: str, entry: RunEntry, parent: _KnownRun | None
    ) -> _KnownRun:
        if entry.key not in self._runs:
            tags = _cut(entry.tags) | ({"mlflow.parentRunId": parent.id} if parent else {})
            start_ms = entry.start_ms or round(time.time() * 1000)
            run = self._client.create_run(experiment_id, start_ms, tags, entry.name)
            self._runs[entry.key] = _KnownRun(run.info.run_id, run.info.status, tags, is_new=True)
        return self._runs[entry.key]

    def _open_experiment(self, snapshot: SweepSnapshot) -> str:
        found = self._client.get_experiment_by_name(snapshot.sweep)
        if found is None:
            root = self._artifact_root
            location = None if root is None else (Path(root) / snapshot.sweep).absolute().as_uri()
            # The kind makes MLflow's pages open on training runs rather than on its GenAI side.
            tags = {
                "raybench.sweep": snapshot.sweep,
                "mlflow.experimentKind": "custom_model_development",
            }
            if snapshot.description:
                tags["mlflow.note.content"] = snapshot.description
            return str(self._client.create_experiment(snapshot.sweep, location, tags))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        self._load_runs(found.experiment_id)
        return str(found.experiment_id)

    def _load_runs(self, experiment_id: str) -> None:
        """A request that timed out may have made a second run: the fuller one stays."""
        for key, run in _known_runs(self._client, experiment_id):
            other = self._runs.get(key)
            if other is None:
                self._runs[key] = run
                continue
            keep, drop = (run, other) if _weight(run) > _weight(other) else (other, run)
            self._client.delete_run(drop.id)
            self._runs[key] = keep


def _metric(point: Point, entry: RunEntry, run: _KnownRun) -> Metric:
    """The end's metrics are also those of the weights, so that MLflow's model table ranks them."""
    return Metric(*point, model_id=run.weights_model if point.key in entry.scores else None)


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value[:_MAX_TAG] for key, value in tags.items()}


def _known_runs(client: MlflowClient, experiment_id: str) -> Iterator[tuple[str, _KnownRun]]:
    """All runs of the experiment that raybench made, by their key."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], "", ViewType.ACTIVE_ONLY, _PAGE, ["attributes.start_time DESC"], token
        )
        for run in page:
            key = run.data.tags.get("raybench.trial") or run.data.tags.get("raybench.pair")
            if key is not None:
                yield key, _known_run(run)
        token = page.token
        if not token:
            return


def _weight(run: _KnownRun) -> tuple[bool, int, int]:
    return run.status in CLOSED, len(run.params), len(run.tags)


def _known_run(run: Run) -> _KnownRun:
    models = run.outputs.model_outputs if run.outputs else ()
    return _KnownRun(
        id=run.info.run_id,
        status=run.info.status,
        tags=dict(run.data.tags),
        params=set(run.data.params),
        has_dataset=bool(run.inputs and run.inputs.dataset_inputs),
        weights_model=models[0].model_id if models else None,
    )
