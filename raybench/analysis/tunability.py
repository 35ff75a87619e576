"""What tuning bought: how a pair responds to a hyperparameter, and was the range enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from raybench.analysis import numbers
from raybench.analysis.results import PairResult, pair_results
from raybench.records import SweepSnapshot, TrialRow, TrialState
from raybench.space import Range, ladder_params

Edge = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class Point:
    """One search trial: the hyperparameter's value and the best validation metric it reached.

    ``metric_value`` is None for a trial that ended before its first epoch.
    """

    trial: int
    value: float
    metric_value: float | None
    state: TrialState
    on_ladder: bool


@dataclass(frozen=True, slots=True)
class Response:
    """One pair's response to one hyperparameter.

    Attributes:
        points: search trials by value, then number.
        default, best: the hyperparameter's value in trial 0 and in the winner.
        edge: the side on which nothing beyond the winner was tried, once the search is over.
    """

    result: PairResult
    name: str
    range: Range | None
    points: tuple[Point, ...]
    default: float | None
    best: float | None
    edge: Edge | None

    @property
    def warning(self) -> str | None:
        """One sentence where the winner sits at the edge of what was tried."""
        if self.edge is None or self.best is None:
            return None
        extreme = "smallest" if self.edge == "low" else "largest"
        beyond = "below" if self.edge == "low" else "above"
        best = numbers.hyperparameter(self.name, self.best)
        backbone, task = numbers.clean(self.result.pair.backbone), self.result.task
        return (
            f"{backbone} on {task}: the best {self.name} ({best}) is the {extreme} one tried; the "
            f"optimum may lie {beyond} it{self._limit()}."
        )

    def _limit(self) -> str:
        if self.range is None:
            return ""
        end = self.range.low if self.edge == "low" else self.range.high
        return f" (the range ends at {numbers.hyperparameter(self.name, end)})"


def responses(snapshot: SweepSnapshot, name: str = "lr") -> tuple[Response, ...]:
    """How each pair of the file responds to ``name``; those that don't tune it are left out."""
    space = _space(snapshot.spec)
    ladder = len(ladder_params(space, _ladder(snapshot.spec)))
    return tuple(
        _response(result, name, space.get(name), ladder)
        for result in pair_results(snapshot)
        if name in result.pair.default_params
    )


def tuned_names(snapshot: SweepSnapshot) -> tuple[str, ...]:
    """Hyperparameters that any pair of the file tunes, lr first."""
    names = {name for p in snapshot.pairs if p.current for name in p.default_params}
    return tuple(sorted(names, key=lambda name: (name != "lr", name)))


def warnings(snapshot: SweepSnapshot) -> tuple[str, ...]:
    """One sentence per pair and hyperparameter whose winner sits at an edge, and per cut batch."""
    found = (r.warning for name in tuned_names(snapshot) for r in responses(snapshot, name))
    cut = (_cut_batches(result, snapshot.spec) for result in pair_results(snapshot))
    return tuple(w for w in (*found, *cut) if w is not None)


def _cut_batches(result: PairResult, spec: Mapping[str, Any]) -> str | None:
    """Trials that ran out of memory and were trained in micro-batches, which BatchNorm can see."""
    batch_size = spec["recipe"].get("batch_size", 0)
    sizes = [
        int(trial.end.facts["micro_batch"])
        for trial in result.pair.trials
        if trial.end is not None
        and float(trial.end.facts.get("micro_batch", math.inf))
        < float(trial.params.get("batch_size", batch_size))
    ]
    if not sizes:
        return None
    trials = numbers.plural(len(sizes), "trial")
    return (
        f"{result.pair.backbone} on {result.task}: for lack of memory {trials} trained in "
        f"micro-batches of {min(sizes)} images; BatchNorm takes its statistics over them."
    )


def _response(result: PairResult, name: str, range_: Range | None, ladder: int) -> Response:
    trials = [t for t in result.pair.search_trials() if name in t.params]
    points = [
        Point(t.number, t.params[name], t.best_value(result.metric), t.state, t.number < ladder)
        for t in trials
    ]
    best = result.winner.params.get(name) if result.winner else None
    return Response(
        result=result,
        name=name,
        range=range_,
        points=tuple(sorted(points, key=lambda p: (p.value, p.trial))),
        default=result.pair.default_params.get(name),
        best=best,
        edge=None
        if result.counts.owed
        else _edge(best, {t.params[name] for t in trials if _informs(t)}),
    )


def _informs(trial: TrialRow) -> bool:
    """Whether the end says something about the parameters: a divergence does, a crash not."""
    if trial.state == "failed":
        return trial.end is not None and trial.end.failure == "diverged"
    return trial.state in {"complete", "pruned"}


def _edge(best: float | None, tried: set[float]) -> Edge | None:
    if best is None or len(tried) < 2:
        return None
    if best >= max(tried):
        return "high"
    return "low" if best <= min(tried) else None


def _space(spec: Mapping[str, Any]) -> dict[str, Range]:
    return {name: Range(**range_) for name, range_ in spec.get("space", {}).items()}


def _ladder(spec: Mapping[str, Any]) -> Mapping[str, tuple[float, ...]] | int:
    ladder: Mapping[str, tuple[float, ...]] | int = spec.get("search", {}).get("ladder", 1)
    return ladder
