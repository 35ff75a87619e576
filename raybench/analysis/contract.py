"""``status --json`` and ``report --json``: the shape that other programs rely on.

Source: design, section 8. Keys may be added, never renamed or removed.
"""

from __future__ import annotations

from typing import Any

from raybench.analysis.results import FinalValues, PairResult, pair_result
from raybench.records import SweepSnapshot, TrialRow


def summarize(snapshot: SweepSnapshot) -> dict[str, Any]:
    """The whole sweep as JSON types. Pairs that left the file stand under ``former_pairs``.

    ``profiles``: what its backbones cost, measured alone (``records.Profile``).
    """
    current = [p for p in snapshot.pairs if p.current]
    former = [p for p in snapshot.pairs if not p.current]
    return {
        "sweep": snapshot.sweep,
        "description": snapshot.description,
        "attempt": snapshot.attempt,
        "metric": snapshot.metric,
        "lease": None if snapshot.lease is None else dict(snapshot.lease),
        "pairs": [_pair_json(pair_result(p, snapshot.metric)) for p in current],
        "former_pairs": [_pair_json(pair_result(p, snapshot.metric)) for p in former],
        "profiles": [profile.to_dict() for profile in snapshot.profiles],
    }


def _pair_json(result: PairResult) -> dict[str, Any]:
    pair, winner = result.pair, result.winner
    return {
        "id": pair.id,
        "backbone": pair.backbone,
        "dataset": pair.dataset,
        "subset": pair.subset,
        "state": pair.state,
        "trials": _counts_json(result),
        "epochs": result.epochs,
        "device_seconds": result.search_device_seconds,
        "best": {
            "trial": winner.number if winner else None,
            "params": dict(winner.params) if winner else None,
            result.metric: result.tuned,
        },
        "default": {"params": dict(pair.default_params), result.metric: result.default},
        "final": _final_json(result),
        "parameters": result.parameters,
        "facts": dict(pair.facts),
        "failures": [_failure_json(t) for t in result.failures],
    }


def _counts_json(result: PairResult) -> dict[str, int]:
    counts = result.counts
    return {
        "quota": counts.quota,
        "complete": counts.complete,
        "pruned": counts.pruned,
        "failed": counts.failed,
        "running": counts.running,
        "owed": counts.owed,
    }


def _final_json(result: PairResult) -> dict[str, Any]:
    finals = _values_json(result.final) | {
        "config": result.config,
        "wanted_seeds": list(result.pair.final_seeds),
        "device_seconds": result.final_device_seconds,
        "default": _values_json(result.final_default) if result.final_default else None,
    }
    if result.oracle.by_run:
        finals["oracle"] = _values_json(result.oracle)
    return finals


def _values_json(values: FinalValues) -> dict[str, Any]:
    interval = values.ci95
    folds = {"folds": [fold for _, fold in values.by_run]} if values.folds > 1 else {}
    return {
        "seeds": [seed for seed, _ in values.by_run],
        values.metric: list(values.by_run.values()),
        "mean": values.mean,
        "ci95": None if interval is None else list(interval),
    } | folds


def _failure_json(trial: TrialRow) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "phase": trial.phase,
        "seed": trial.seed,
        "failure": trial.end.failure if trial.end else None,
        "reason": trial.end.reason if trial.end else "",
    }
