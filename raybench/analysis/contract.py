"""``status --json`` and ``report --json``: the shape that other programs rely on.

Source: design, section 8. Keys may be added, never renamed or removed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from raybench.analysis.constraints import remaining
from raybench.analysis.results import FinalValues, PairResult, pair_result
from raybench.analysis.tunability_json import tunability_json
from raybench.records import SweepSnapshot, TrialRow

if TYPE_CHECKING:
    from raybench.analysis.overall import Overall
    from raybench.analysis.ranking import Standing
    from raybench.analysis.whole import Analysis, TaskAnalysis


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


def report_json(analysis: Analysis) -> dict[str, Any]:
    """``summarize`` and what follows from it: ``headline``, ``tasks``, ``overall``, ``tunability``.

    ``limits``, ``literature`` and ``notes`` stand there only where they were asked for, or there
    are any.
    """
    found = summarize(analysis.snapshot) | {
        "headline": dataclasses.asdict(analysis.headline),
        "tasks": [_task_json(task) for task in analysis.tasks.values()],
        "overall": _overall_json(analysis.overall),
        "tunability": tunability_json(analysis),
    }
    if analysis.constraints:
        found["limits"] = dataclasses.asdict(remaining(analysis, analysis.constraints))
    if analysis.literature is not None:
        found["literature"] = dataclasses.asdict(analysis.literature)
    return found | ({"notes": list(analysis.notes)} if analysis.notes else {})


def _task_json(task: TaskAnalysis) -> dict[str, Any]:
    """Keys are pair ids. ``chances``: to be best; ``differences``: from the leader."""
    return {
        "task": task.name,
        "dataset": task.dataset,
        "subset": task.subset,
        "metric": task.metric,
        "tiers": [list(tier) for tier in task.comparison.tiers],
        "chances": {s.result.pair.id: s.chance for s in task.standings} if task.chances else None,
        "standings": [_standing_json(task, standing) for standing in task.standings],
        "power": dataclasses.asdict(task.power) if task.power else None,
    }


def _standing_json(task: TaskAnalysis, standing: Standing) -> dict[str, Any]:
    """``behind``: the leader's mean less its own, with the interval before Holm's correction."""
    pair, sure = standing.result.pair.id, standing.uncertainty
    behind = None
    if sure is not None and not standing.leads:
        behind = task.comparison.between(task.comparison.pairs[0], pair)
    return {
        "pair": pair,
        "rank": standing.rank,
        "tier": standing.tier,
        "tied": standing.tied,
        "loose": standing.loose,
        "ci95": {
            "seeds": _ends(sure.seeds if sure else None),
            "images": _ends(sure.images if sure else None),
            "both": _ends(sure.both if sure else None),
        },
        "behind": behind.mean if behind else None,
        "behind_ci95": _ends(behind.ci95 if behind else None),
        "p_holm": standing.p_value,
    }


def _overall_json(overall: Overall) -> dict[str, Any]:
    """``chance_of``: what the backbones' ``chance`` is of, in words."""
    best = overall.chances
    return {
        "data_sets": list(overall.data_sets),
        "metric": overall.metric,
        "chance_of": f"{best.of} over {best.scope}" if best else None,
        "backbones": [dataclasses.asdict(score) for score in overall.scores],
        "tiers": [list(tier) for tier in overall.tiers],
        "critical_difference": _optional(overall.critical_difference),
        "wilcoxon": [dataclasses.asdict(pair) for pair in overall.wilcoxon],
        "power": _optional(overall.power),
        "aside": dict(overall.aside),
        "note": overall.note,
    }


def _optional(value: Any) -> dict[str, Any] | None:
    return None if value is None else dataclasses.asdict(value)


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


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
    folds = {"folds": [fold for _, fold in values.by_run]} if values.folds > 1 else {}
    return {
        "seeds": [seed for seed, _ in values.by_run],
        values.metric: list(values.by_run.values()),
        "mean": values.mean,
        "ci95": _ends(values.ci95),
    } | folds


def _failure_json(trial: TrialRow) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "phase": trial.phase,
        "seed": trial.seed,
        "failure": trial.end.failure if trial.end else None,
        "reason": trial.end.reason if trial.end else "",
    }
