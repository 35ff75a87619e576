"""What tuning bought, as JSON types: the key ``tunability`` of ``report --json``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from raybench.analysis.budget import TaskBudget
from raybench.analysis.comparison import Difference
from raybench.analysis.gains import Gain
from raybench.analysis.rank_change import Place, RankChange
from raybench.analysis.reversals import Reversal
from raybench.analysis.tunability import Response, warnings

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis


def tunability_json(analysis: Analysis) -> dict[str, Any]:
    """Gains per pair, rank changes per task, sensitivity per pair, who leads at which budget."""
    found, budget = analysis.tunability, analysis.budget
    responses = [r for responses in analysis.responses.values() for r in responses]
    return {
        "rule": found.note,
        "sentences": list(found.sentences),
        "warnings": list(warnings(analysis)),
        "pairs": [_gain(gain) for gain in found.gains],
        "tasks": [_change(change) for change in found.changes],
        "sensitivity": [_sensitivity(response) for response in responses],
        "importance": [asdict(importance) for importance in analysis.importance],
        "budget": {
            "rule": budget.note,
            "sentences": list(budget.sentences),
            "tasks": [_budget(task) for task in budget.tasks],
        },
    }


def _gain(gain: Gain) -> dict[str, Any]:
    return {
        "id": gain.result.pair.id,
        "validation_gain": gain.validation,
        "test_default": gain.test_default,
        "test_tuned": gain.test_tuned,
        "same": gain.same,
        "test_gain": None if gain.test is None else _difference(gain.test),
    }


def _difference(found: Difference) -> dict[str, Any]:
    interval = None if found.ci95 is None else list(found.ci95)
    return {"mean": found.mean, "ci95": interval, "p": found.p_value}


def _change(change: RankChange) -> dict[str, Any]:
    return {
        "task": change.task,
        "metric": change.metric,
        "default_at": change.at,
        "kendall_tau": change.tau,
        "leader_default": change.leader_default or None,
        "leader_tuned": change.leader_tuned or None,
        "leader_changes": change.leader_flips,
        "beyond_chance": change.flip_shown,
        "pairs_of_backbones": change.pairs,
        "pairs_reversed": change.changed,
        "pairs_reversed_beyond_chance": change.shown,
        "ranks": [_place(place) for place in change.places],
        "reversals": _reversals(change.reversals),
        "sentence": change.sentence,
    }


def _place(place: Place) -> dict[str, Any]:
    ends = (place.default_interval, place.tuned_interval)
    default, tuned = (None if interval is None else list(interval) for interval in ends)
    return asdict(place) | {"default_interval": default, "tuned_interval": tuned}


def _reversals(found: Iterable[Reversal]) -> list[dict[str, Any]]:
    return [asdict(reversal) | {"beyond_chance": reversal.shown} for reversal in found]


def _sensitivity(response: Response) -> dict[str, Any]:
    width = response.width
    return {
        "id": response.result.pair.id,
        "hyperparameter": response.name,
        "default": response.default,
        "best": response.best,
        "edge": response.edge,
        "width": None if width is None else asdict(width) | {"decades": width.decades},
    }


def _budget(task: TaskBudget) -> dict[str, Any]:
    return {
        "task": task.task,
        "metric": task.metric,
        "leaders": [asdict(leader) for leader in task.leaders],
        "curves": [
            {
                "backbone": curve.backbone,
                "trials": list(curve.trials),
                "expected": list(curve.expected),
                "device_seconds": list(curve.device_seconds),
                "chance": list(curve.chance),
            }
            for curve in task.curves
        ],
    }
