"""What trials report and what the ledger returns: frozen, typed values, shared by every layer.

A trial yields one ``EpochRecord`` per epoch and one ``EndRecord`` at the end. The ledger stores
them as JSON and hands back ``SweepSnapshot`` > ``PairRow`` > ``TrialRow``. Nothing here imports
torch, ray, optuna or mlflow.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raybench.measurements import Profile

Phase = Literal["search", "final"]
EndState = Literal["complete", "pruned", "failed", "interrupted"]
TrialState = Literal["waiting", "running", "complete", "pruned", "failed"]
PairState = Literal["waiting", "searching", "final", "done", "failed", "incomplete"]
FailureClass = Literal["oom", "diverged", "data", "user", "disk", "infrastructure", "pair_failed"]

MINIMISED_METRICS = frozenset({"val/nll", "val/ece", "val/brier", "val/loss"})


def is_minimised(metric: str) -> bool:
    """Whether a smaller value of ``metric`` (``val/...`` or ``test/...``) is better."""
    return "val/" + metric.split("/", 1)[-1] in MINIMISED_METRICS


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether ``value`` beats ``than``; a NaN never beats anything and is beaten by any number."""
    if math.isnan(value):
        return False
    if math.isnan(than):
        return True
    return value < than if is_minimised(metric) else value > than


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One finished epoch of one trial.

    Attributes:
        epoch: 1-based, counted over all stages.
        stage: 0-based index into ``recipe.stages``.
        lr: learning rate of the epoch's last step (first parameter group).
        finished_at: Unix seconds; MLflow's time stamp of this epoch.
        duration_s: wall seconds of training and validation, without checkpointing, summed over
            interruptions.
        device_share: GPU share (CPU: cores) the trial held.
        attempt: the driver's attempt that trained it.
        metrics: ``train/...``, ``val/...``, ``perf/...``; a metric that is undefined (AUROC of one
            class) is absent, never NaN.
    """

    epoch: int
    stage: int
    lr: float
    finished_at: float
    duration_s: float
    device_share: float
    attempt: int
    metrics: Mapping[str, float]

    @property
    def device_seconds(self) -> float:
        """Wall seconds x share: what the pair's budget is charged."""
        return self.duration_s * self.device_share


@dataclass(frozen=True, slots=True)
class EndRecord:
    """How one trial ended.

    Attributes:
        state: ``interrupted`` is a drain: the ledger keeps the trial WAITING.
        failure: class of a failure; None unless ``state`` is ``failed``.
        reason: one sentence for people (``failed``; or ``budget``, ``early_stop`` when pruned).
        best_epoch: the epoch with the best ``search.metric`` on validation.
        best: that epoch's ``val/...`` metrics.
        test: ``test/...`` metrics of the best validation epoch; final phase only.
        oracle: ``test/...`` metrics of the best *test* epoch; with ``final.selection: oracle``.
        weights_path: best weights (safetensors), relative to the checkpoints root.
        weights_sha256: their digest.
        predictions_path: ids, labels and class probabilities on the test split, likewise.
        predictions_sha256: their digest.
        facts: parameters, device, precision, threads, library versions.
        finished_at: Unix seconds.
    """

    state: EndState
    finished_at: float
    failure: FailureClass | None = None
    reason: str = ""
    best_epoch: int | None = None
    best: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    oracle: Mapping[str, float] = field(default_factory=dict)
    weights_path: str | None = None
    weights_sha256: str | None = None
    predictions_path: str | None = None
    predictions_sha256: str | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)


Record = EpochRecord | EndRecord
_FIELDS = {
    cls: {field.name for field in dataclasses.fields(cls)} for cls in (EpochRecord, EndRecord)
}


def to_dict(record: Record) -> dict[str, Any]:
    """One record as JSON types.

    Raises:
        ValueError: a NaN or an infinity, which SQL and MLflow would mangle.
    """
    kind = "epoch" if isinstance(record, EpochRecord) else "end"
    data = {"kind": kind} | dataclasses.asdict(record)
    json.dumps(data, allow_nan=False)
    return data


def from_dict(data: Mapping[str, Any]) -> Record:
    """Inverse of ``to_dict``; keys of a newer version are ignored."""
    record_type = EpochRecord if data["kind"] == "epoch" else EndRecord
    known = _FIELDS[record_type]
    return record_type(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as the ledger holds it.

    ``number`` is Optuna's. ``params`` are the tuned hyperparameters. For the final phase ``seed``,
    ``fold`` (0 without cross-validation), ``configs`` (``tuned``, ``default``) and ``source`` (the
    search trial whose parameters it runs) are set, and ``superseded`` says that another winner has
    replaced it. ``failures`` are those that were retried.
    """

    pair_id: str
    phase: Phase
    number: int
    state: TrialState
    params: Mapping[str, float]
    epochs: tuple[EpochRecord, ...]
    end: EndRecord | None
    seed: int | None = None
    fold: int = 0
    configs: tuple[str, ...] = ()
    source: int | None = None
    superseded: bool = False
    failures: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """``<pair>/<phase>/<number>``: the MLflow tag ``raybench.trial``."""
        return f"{self.pair_id}/{self.phase}/{self.number}"

    @property
    def device_seconds(self) -> float:
        return sum(record.device_seconds for record in self.epochs)

    def best_value(self, metric: str) -> float | None:
        """Best epoch's ``metric`` so far, None before the first epoch."""
        values = [record.metrics[metric] for record in self.epochs if metric in record.metrics]
        if not values:
            return None
        return min(values) if is_minimised(metric) else max(values)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One backbone x task of a sweep, with all its trials (search first, by number).

    Attributes:
        facts: what the preflight found: ``classes``, ``train_images``, ``val_images``,
            ``test_images``, ``data_digest``, ``split_digest``, ``domain`` ...; empty before it.
        quota: search trials owed in total.
        default_params: trial 0's hyperparameters.
        current: whether the sweep file still names this pair.
        owed: search trials that are not terminal yet; less than the quota leaves once the pair's
            device hours are spent. None: quota minus terminal ones.
        backbone_spec: name, weights and arguments, as the sweep file gives them.
        folds: how many folds the finals cross their seeds with; 1 without cross-validation.
    """

    id: str
    backbone: str
    dataset: str
    subset: str
    state: PairState
    quota: int
    default_params: Mapping[str, float]
    final_seeds: tuple[int, ...]
    final_configs: tuple[str, ...]
    trials: tuple[TrialRow, ...]
    facts: Mapping[str, str | float] = field(default_factory=dict)
    current: bool = True
    owed: int | None = None
    backbone_spec: Mapping[str, Any] = field(default_factory=dict)
    folds: int = 1

    def search_trials(self) -> tuple[TrialRow, ...]:
        return tuple(t for t in self.trials if t.phase == "search")

    def final_trials(self, config: str | None = None) -> tuple[TrialRow, ...]:
        """Final trials that count (not superseded), all or of one configuration."""
        return tuple(
            t
            for t in self.trials
            if t.phase == "final" and not t.superseded and (config is None or config in t.configs)
        )


@dataclass(frozen=True, slots=True)
class SweepSnapshot:
    """A whole sweep at one moment, read in one transaction.

    ``profiles`` are those of its backbones at its image size. ``ledger_id`` names the ledger, also
    after it was copied or moved; empty for one of before there were any.
    """

    sweep: str
    description: str
    attempt: int
    metric: str
    spec: Mapping[str, Any]
    pairs: tuple[PairRow, ...]
    lease: Mapping[str, Any] | None = None
    profiles: tuple[Profile, ...] = ()
    ledger_id: str = ""
