"""Brings MLflow to what the ledger says: compares what each run should hold with what it holds.

One experiment per sweep, a parent run per pair, a child run per trial. Runs are found by tag at a
look, and then kept in memory. Whatever died in between, applying again is harmless: a run is there
once, a parameter is never changed, and the store keeps one row per identical point.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.tracking.client import asked_once, connect
from raybench.tracking.entries import (
    CLOSED,
    SENT_TAG,
    Point,
    RunEntry,
    params_as_sent,
    trial_entry,
)
from raybench.tracking.experiment import open_experiment
from raybench.tracking.held import HeldRun, held_runs
from raybench.tracking.models import dataset_input, export_winner, reference_weights
from raybench.tracking.strangers import drop_strangers, tell_left_alone
from raybench.tracking.summary import condense, exported_trial, pair_entry

_MAX_TAG = 5000
# Tags that come and go with the ledger's rows; others of ours stay once set.
_PASSING = frozenset(
    {"raybench.failure", "raybench.reason", "raybench.superseded", "raybench.leaks"}
)


def _nobody(key: str) -> None:
    """Nobody counts."""


class Projection:
    """The MLflow side of one sweep. Not thread-safe; after an error, look again.

    Args:
        tracking_uri: SQLite file or server.
        artifact_root: folder or URL for a new experiment's artefacts; None: the server decides.
        checkpoints: folder or URL that the records' paths are relative to.
        own_store: nobody but this home writes to the store.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: str | None,
        checkpoints: Path | str,
        own_store: bool,
    ) -> None:
        self.tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._checkpoints = checkpoints
        self._own_store = own_store
        self._experiment_id = ""
        self._runs: dict[str, HeldRun] = {}
        self._must_compare = False
        self._left_alone: set[str] = set()
        self._ended: dict[str, dict[str, TrialRow]] = {}
        self._not_exported: set[str] = set()

    @cached_property
    def _client(self) -> MlflowClient:
        """Made at the first use: a client opens its store, which may take long or fail."""
        return connect(self.tracking_uri)

    def look(self, header: SweepSnapshot) -> bool:
        """See what the store holds; True when it is what this projection has left there.

        Otherwise the whole sweep is to be applied, as read from the ledger after this look: what
        MLflow holds by now was in the ledger before.
        """
        self._experiment_id, is_new = open_experiment(
            self._client, header, self._artifact_root, self._own_store
        )
        held = {} if is_new else held_runs(self._client, self._experiment_id)
        as_left = bool(self._runs)
        for key, mine in self._runs.items():
            if key in held and held[key].id == mine.id:
                held[key].points = mine.points
            as_left &= key in held and held[key].is_same(mine)
        if as_left:  # else all are judged anew
            for key in self._left_alone - self._runs.keys():
                held.pop(key, None)
        self._runs, self._must_compare = held, not as_left
        return as_left

    def apply(self, snapshot: SweepSnapshot, sent: Callable[[str], None] = _nobody) -> None:
        """Send what the store lacks; the first one after a look that was not True is whole.

        Trials that ``snapshot`` leaves out are remembered. ``sent`` is called with the key of each
        run that MLflow now holds as the ledger does.

        Raises:
            mlflow.exceptions.MlflowException: the store cannot be reached or refuses.
        """
        if self._must_compare:
            self._drop_strangers(snapshot)
            self._must_compare = False
        pairs = [self._apply_pair(snapshot, pair, sent) for pair in snapshot.pairs]
        for pair in pairs:
            # Models last: an artefact store that refuses them must not hold back a curve.
            self._export(snapshot, pair)
            sent(pair.id)

    def _apply_pair(
        self, snapshot: SweepSnapshot, pair: PairRow, sent: Callable[[str], None]
    ) -> PairRow:
        """Bring the pair's runs up to date; returns the pair with all ended trials known so far."""
        ended = self._ended.setdefault(pair.id, {})
        for trial in pair.trials:
            if trial.state in ("complete", "pruned", "failed"):
                ended[trial.key] = condense(trial, snapshot.metric)
        whole = dataclasses.replace(pair, trials=tuple(ended.values()))
        entry = pair_entry(snapshot.sweep, snapshot.metric, whole)
        parent = self._find_or_create(entry)
        for trial in pair.trials:
            child_entry = trial_entry(snapshot, pair, trial, self._checkpoints)
            tags = {**child_entry.tags, "mlflow.parentRunId": parent.id}
            child_entry = dataclasses.replace(child_entry, tags=tags)
            self._update(self._find_or_create(child_entry), child_entry, pair)
            sent(trial.key)
        self._update(parent, entry, pair)
        return whole

    def _drop_strangers(self, snapshot: SweepSnapshot) -> None:
        left_alone = drop_strangers(
            self._client,
            self._runs,
            snapshot,
            self._checkpoints,
            in_own_store=self._own_store,
        )
        if left_alone - self._left_alone:
            tell_left_alone(len(left_alone))
        self._left_alone = left_alone

    def _update(self, run: HeldRun, entry: RunEntry, pair: PairRow) -> None:
        """Status last: a closed run is one that lacks nothing."""
        closed = run.status in CLOSED and run.status == entry.status
        if not (closed and entry.settled):
            self._log_dataset(run, pair)
            if entry.weights is not None:
                reference_weights(self._client, self._experiment_id, run, entry)
        self._log(run, entry, points=() if closed and entry.settled else entry.points)
        if run.status != entry.status:
            self._set_status(run, entry)

    def _log(self, run: HeldRun, entry: RunEntry, points: Iterable[Point]) -> None:
        new_points = [p for p in points if p not in run.points]
        new_params = {k: v for k, v in params_as_sent(entry).items() if k not in run.params}
        new_tags = {k: v for k, v in _cut(entry.tags).items() if run.tags.get(k) != v}
        for key in _PASSING & run.tags.keys() - entry.tags.keys():
            self._client.delete_tag(run.id, key)
            del run.tags[key]
        if not (new_points or new_params or new_tags):
            return
        self._client.log_batch(
            run.id,
            metrics=[_metric(point, entry, run) for point in new_points],
            params=[Param(key, value) for key, value in new_params.items()],
            tags=[RunTag(key, value) for key, value in new_tags.items()],
        )
        run.points.update(new_points)
        run.params.update(new_params)
        run.tags.update(new_tags)

    def _set_status(self, run: HeldRun, entry: RunEntry) -> None:
        if entry.status in CLOSED:
            self._client.set_terminated(run.id, entry.status, entry.end_ms)
            if entry.settled:
                run.points.clear()
        else:
            self._client.update_run(run.id, entry.status)
        run.status = entry.status

    def _log_dataset(self, run: HeldRun, pair: PairRow) -> None:
        dataset = None if run.has_dataset else dataset_input(pair)
        if dataset is not None:
            self._client.log_inputs(run.id, [dataset])
            run.has_dataset = True

    def _export(self, snapshot: SweepSnapshot, pair: PairRow) -> None:
        """Log the winner once; ``raybench.model_of`` on the pair's run says which trial it is."""
        parent, trial = self._runs[pair.id], exported_trial(pair)
        if trial is None or trial.key in self._not_exported:  # said once
            return
        there = f"models:/{parent.models.get(trial.key)}"
        if (parent.tags.get("raybench.model_of"), parent.tags.get("raybench.model")) == (
            trial.key,
            there,
        ):
            return
        model_uri = export_winner(
            self._client, self._experiment_id, parent, snapshot, pair, trial, self._checkpoints
        )
        if model_uri is None:
            self._not_exported.add(trial.key)
            return
        tags = {"raybench.model_of": trial.key, "raybench.model": model_uri}
        self._client.log_batch(parent.id, tags=[RunTag(k, v) for k, v in tags.items()])
        parent.tags.update(tags)

    def _find_or_create(self, entry: RunEntry) -> HeldRun:
        if entry.key not in self._runs:
            tags = _cut(entry.tags)
            tags.pop(SENT_TAG, None)  # nothing has been sent yet
            start_ms = entry.start_ms or round(time.time() * 1000)
            with asked_once():
                run = self._client.create_run(self._experiment_id, start_ms, tags, entry.name)
            self._runs[entry.key] = HeldRun(run.info.run_id, run.info.status, tags)
        return self._runs[entry.key]


def _metric(point: Point, entry: RunEntry, run: HeldRun) -> Metric:
    """The end's metrics are also those of the weights, so that MLflow's model table ranks them."""
    return Metric(*point, model_id=run.models[entry.key] if point.key in entry.scores else None)


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value[:_MAX_TAG] for key, value in tags.items()}
