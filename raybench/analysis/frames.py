"""The sweep as tidy tables: one row per epoch, one row per trial.

Hyperparameters stand in ``params/<name>``, metrics under their own names; every trial of the ledger
is there, also failed, superseded and former ones, so that nothing has to be asked for twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raybench.records import EpochRecord, PairRow, SweepSnapshot, TrialRow

_TRIAL_COLUMNS = (
    "sweep pair backbone dataset subset current phase trial state seed config source superseded"
).split()
_EPOCH_COLUMNS = (
    "epoch stage epoch_lr finished_at duration_s device_share device_seconds attempt".split()
)
_END_COLUMNS = "epochs device_seconds failure reason best_epoch".split()


def records_frame(snapshot: SweepSnapshot) -> pd.DataFrame:
    """One row per trial and epoch. ``epoch_lr`` is the rate of the epoch's last step.

    Put together column by column: a table of 200,000 rows as dictionaries takes gigabytes.
    """
    trials = [(pair, trial) for pair in snapshot.pairs for trial in pair.trials]
    first = [*_TRIAL_COLUMNS, *_params(snapshot)]
    of_trials = _frame((_trial_cells(snapshot, *both) for both in trials if both[1].epochs), first)
    counts = [len(trial.epochs) for _, trial in trials if trial.epochs]
    repeated = of_trials.loc[of_trials.index.repeat(counts)].reset_index(drop=True)
    epochs = _epoch_columns([record for _, trial in trials for record in trial.epochs])
    for name in _EPOCH_COLUMNS:
        repeated[name] = epochs.pop(name)
    others = pd.DataFrame({name: epochs[name] for name in sorted(epochs)})
    both = pd.concat([repeated, others], axis=1)
    fixed = [*first, *_EPOCH_COLUMNS]
    return both[fixed + sorted(set(both.columns) - set(fixed))]


def trials_frame(snapshot: SweepSnapshot) -> pd.DataFrame:
    """One row per trial: its best epoch's ``val/...`` and, for finals, ``test/...``.

    A trial that has not ended yet shows the best ``search.metric`` so far.
    """
    rows = [
        _trial_cells(snapshot, pair, trial) | _end_cells(trial, snapshot.metric)
        for pair in snapshot.pairs
        for trial in pair.trials
    ]
    return _frame(rows, [*_TRIAL_COLUMNS, *_params(snapshot), *_END_COLUMNS, snapshot.metric])


def _params(snapshot: SweepSnapshot) -> list[str]:
    return sorted({f"params/{n}" for p in snapshot.pairs for t in p.trials for n in t.params})


def _trial_cells(snapshot: SweepSnapshot, pair: PairRow, trial: TrialRow) -> dict[str, Any]:
    return {
        "sweep": snapshot.sweep,
        "pair": pair.id,
        "backbone": pair.backbone,
        "dataset": pair.dataset,
        "subset": pair.subset,
        "current": pair.current,
        "phase": trial.phase,
        "trial": trial.number,
        "state": trial.state,
        "seed": trial.seed,
        "fold": trial.fold,
        "config": "+".join(trial.configs) or None,
        "source": trial.source,
        "superseded": trial.superseded,
    } | {f"params/{name}": value for name, value in trial.params.items()}


def _epoch_columns(records: Sequence[EpochRecord]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: [getattr(record, name.removeprefix("epoch_")) for record in records]
        for name in _EPOCH_COLUMNS
    }
    metrics = dict.fromkeys(name for record in records for name in record.metrics)
    found = {
        name: np.array([record.metrics.get(name, math.nan) for record in records])
        for name in metrics
    }
    return columns | found


def _end_cells(trial: TrialRow, metric: str) -> dict[str, Any]:
    end = trial.end
    return {
        "epochs": len(trial.epochs),
        "device_seconds": trial.device_seconds,
        "failure": end.failure if end else None,
        "reason": end.reason if end else None,
        "best_epoch": end.best_epoch if end else None,
        metric: trial.best_value(metric),
    } | ({**_metrics(end.best), **_metrics(end.test)} if end else {})


def _metrics(values: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(values.items()))


def _frame(rows: Iterable[Mapping[str, Any]], first: list[str]) -> pd.DataFrame:
    rows = list(rows)
    found = sorted({key for row in rows for key in row} - set(first))
    frame = pd.DataFrame(rows, columns=[*first, *found])
    for name in ("seed", "source", "best_epoch"):
        if name in frame:
            frame[name] = frame[name].astype("Int64")
    return frame
