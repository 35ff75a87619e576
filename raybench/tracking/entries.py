"""What one MLflow run should hold, as plain values: functions of the ledger's rows.

Weights in a folder are referred to only while their file is there: a home moves, a storage changes
its place. An object store is not asked: a request for each trial, at each look, would be too many.

The time stamps come from the records, so that projecting the same rows again gives the same points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from raybench.records import (
    EndRecord,
    EpochRecord,
    PairRow,
    SweepSnapshot,
    TrialRow,
    TrialState,
)
from raybench.storage import is_url
from raybench.sweep.retries import TAKEN_UP_AGAIN

_MAX_PARAM = 6000  # MLflow refuses longer ones

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
CLOSED = frozenset({"FINISHED", "FAILED", "KILLED"})
SENT_TAG = "raybench.sent"
"""How far a run has been told: its last epoch and, at the end, the end; with their times."""

# A pruned trial is FINISHED: stopping early is an outcome that the sweep wanted, and its curve is
# as good as any. KILLED would tell people that someone intervened. `raybench.state` holds the rest.
TRIAL_STATUS: Mapping[TrialState, RunStatus] = {
    "waiting": "SCHEDULED",
    "running": "RUNNING",
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
}


class Point(NamedTuple):
    """One value of one metric: what MLflow's SQL store keeps only one row of."""

    key: str
    value: float
    timestamp_ms: int
    step: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Best weights, by reference: where they lie and their SHA-256."""

    uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run as it should stand in MLflow.

    Attributes:
        key: ``raybench.trial`` of a trial's run, ``raybench.pair`` of a pair's.
        start_ms: Unix milliseconds, None while unknown. end_ms: None unless ``status`` is closed.
        settled: a closed run of this kind never gets another point.
        scores: names of the metrics that belong to ``weights``.
        past: every value that ``SENT_TAG`` has had or may have.
    """

    key: str
    name: str
    status: RunStatus
    settled: bool
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]
    start_ms: int | None = None
    end_ms: int | None = None
    weights: Weights | None = None
    scores: frozenset[str] = frozenset()
    past: frozenset[str] = frozenset()


def params_as_sent(entry: RunEntry) -> dict[str, str]:
    """The run's parameters, cut to what MLflow takes."""
    return {key: value[:_MAX_PARAM] for key, value in entry.params.items()}


def milliseconds(seconds: float) -> int:
    """Unix seconds as MLflow's time stamp."""
    return round(seconds * 1000)


def pair_tags(sweep: str, pair: PairRow) -> dict[str, str]:
    """The tags that a pair's run shares with those of its trials."""
    facts = {
        "domain": pair.facts.get("domain"),
        "raybench.pretrained_sha256": pair.facts.get("weights_sha256"),
        "raybench.leaks": pair.facts.get("leaks"),
    }
    return {
        "raybench.sweep": sweep,
        "raybench.pair": pair.id,
        "backbone": pair.backbone,
        "dataset": pair.dataset,
        "subset": pair.subset,
        "mlflow.source.name": "raybench",
    } | {key: str(value) for key, value in facts.items() if value}


def trial_entry(
    snapshot: SweepSnapshot, pair: PairRow, trial: TrialRow, root: Path | str
) -> RunEntry:
    """The child run of one trial; ``root`` is that of all checkpoints, a folder or a URL."""
    status = TRIAL_STATUS[trial.state]
    closing = trial.end if status in CLOSED else None
    end = closing if _is_last_word(closing) else None
    first = trial.epochs[0] if trial.epochs else None
    weights = _weights(end, root) if end else None
    tags = pair_tags(snapshot.sweep, pair) | _trial_tags(snapshot.attempt, trial)
    marks = _marks(trial, end)
    return RunEntry(
        key=trial.key,
        name=_trial_name(pair, trial),
        status=status,
        settled=True,
        tags=tags
        | (_end_tags(closing, weights) if closing else {})
        | ({SENT_TAG: marks[-1]} if marks else {}),
        params=_trial_params(pair, trial),
        points=tuple(_trial_points(trial, end)),
        start_ms=milliseconds(first.finished_at - first.duration_s) if first else None,
        end_ms=milliseconds(closing.finished_at) if closing else None,
        weights=weights,
        scores=frozenset(_end_metrics(end)) if weights and end else frozenset(),
        past=frozenset(marks),
    )


def _is_last_word(end: EndRecord | None) -> bool:
    """Not that of a trial whose environment failed: the next attempt goes on with it."""
    return end is not None and end.failure not in TAKEN_UP_AGAIN


def _marks(trial: TrialRow, end: EndRecord | None) -> list[str]:
    marks = [f"{record.epoch} {record.finished_at!r}" for record in trial.epochs]
    last = marks[-1] if marks else "0"
    return marks if end is None else [*marks, f"{last} end {end.finished_at!r}"]


def _trial_name(pair: PairRow, trial: TrialRow) -> str:
    if trial.phase == "final":
        fold = f" fold {trial.fold}" if pair.folds > 1 else ""
        return f"final seed {trial.seed}{fold} of trial {trial.source}"
    tuned = " ".join(f"{name}={value:.3g}" for name, value in sorted(trial.params.items()))
    return f"search {trial.number} {tuned}".strip()


def _trial_tags(attempt: int, trial: TrialRow) -> dict[str, str]:
    tags = {
        "raybench.kind": "trial",
        "raybench.trial": trial.key,
        "raybench.phase": trial.phase,
        "raybench.state": trial.state,
    }
    if trial.epochs:
        tags["raybench.attempt"] = str(trial.epochs[-1].attempt)
    elif trial.state == "running":
        tags["raybench.attempt"] = str(attempt)
    if trial.phase == "final":
        tags["raybench.configs"] = ",".join(trial.configs) or "none"
    if trial.superseded:
        tags["raybench.superseded"] = "true"
    return tags


def _end_tags(end: EndRecord, weights: Weights | None) -> dict[str, str]:
    found = {
        "raybench.failure": end.failure,
        "raybench.reason": end.reason,
        "raybench.weights": weights.uri if weights else None,
        "raybench.weights_sha256": weights.sha256 if weights else None,
        "raybench.predictions": end.predictions_path,
        "raybench.predictions_sha256": end.predictions_sha256,
    }
    facts = {f"facts.{key}": str(value) for key, value in end.facts.items()}
    return {key: value for key, value in found.items() if value} | facts


def _trial_params(pair: PairRow, trial: TrialRow) -> dict[str, str]:
    params = {name: str(value) for name, value in trial.params.items()}
    params |= {"backbone": pair.backbone, "dataset": pair.dataset, "subset": pair.subset}
    if trial.seed is None:
        return params
    fold = {"final_fold": str(trial.fold)} if pair.folds > 1 else {}
    return params | {"final_seed": str(trial.seed)} | fold


def _trial_points(trial: TrialRow, end: EndRecord | None) -> Iterator[Point]:
    for record in trial.epochs:
        yield from _epoch_points(record)
    if end is None:
        return
    step, time_ms = end.best_epoch or len(trial.epochs), milliseconds(end.finished_at)
    for key, value in _end_metrics(end).items():
        yield Point(key, value, time_ms, step)
    yield Point("perf/device_seconds", trial.device_seconds, time_ms, step)


def _epoch_points(record: EpochRecord) -> Iterator[Point]:
    time_ms = milliseconds(record.finished_at)
    extra = {"train/lr": record.lr, "perf/epoch_s": record.duration_s}
    for key, value in {**record.metrics, **extra}.items():
        yield Point(key, float(value), time_ms, record.epoch)


def _end_metrics(end: EndRecord) -> dict[str, float]:
    metrics = {"best/" + key.removeprefix("val/"): float(v) for key, v in end.best.items()}
    metrics |= {key: float(value) for key, value in end.test.items()}
    metrics |= {"oracle/" + key.removeprefix("test/"): float(v) for key, v in end.oracle.items()}
    return metrics if end.best_epoch is None else metrics | {"best/epoch": float(end.best_epoch)}


def _weights(end: EndRecord, root: Path | str) -> Weights | None:
    if end.weights_path is None or end.weights_sha256 is None:
        return None
    if is_url(str(root)):
        return Weights(f"{root}/{end.weights_path}", end.weights_sha256)
    path = (Path(root) / end.weights_path).absolute()
    return Weights(path.as_uri(), end.weights_sha256) if _is_there(path) else None


def _is_there(path: Path) -> bool:
    """A storage that is out of reach holds back the reference, not the curve."""
    try:
        return path.is_file()
    except OSError:
        return False
