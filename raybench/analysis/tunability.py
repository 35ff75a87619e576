"""How a pair responds to a hyperparameter: what was tried, how much it matters, was it enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from raybench.analysis import numbers
from raybench.analysis.results import PairResult
from raybench.analysis.sensitivity import Width, curve_width
from raybench.records import SweepSnapshot, TrialRow, TrialState
from raybench.space import Range, ladder_params

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

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
        rungs: the ladder's trials that tell something: the hyperparameter's value, rising, and the
            metric; None where training diverged.
    """

    result: PairResult
    name: str
    range: Range | None
    points: tuple[Point, ...]
    default: float | None
    best: float | None
    edge: Edge | None
    rungs: tuple[tuple[float, float | None], ...]

    @property
    def width(self) -> Width | None:
        """Over how much of the range the ladder's metric stays near its best."""
        log = self.range is not None and self.range.log
        return curve_width(self.rungs, self.result.metric, log)

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


def responses(analysis: Analysis, name: str = "lr") -> tuple[Response, ...]:
    """How each pair of the file responds to ``name``; those that don't tune it are left out."""
    spec = analysis.snapshot.spec
    range_, ladder = space_of(spec).get(name), ladder_length(spec)
    return tuple(
        _response(result, name, range_, ladder)
        for result in analysis.results
        if name in result.pair.default_params
    )


def tuned_names(snapshot: SweepSnapshot) -> tuple[str, ...]:
    """Hyperparameters that any pair of the file tunes, lr first."""
    names = {name for p in snapshot.pairs if p.current for name in p.default_params}
    return tuple(sorted(names, key=lambda name: (name != "lr", name)))


def warnings(analysis: Analysis) -> tuple[str, ...]:
    """One sentence per pair and hyperparameter whose winner sits at an edge, and per cut batch."""
    found = (response.warning for group in analysis.responses.values() for response in group)
    cut = (_cut_batches(result, analysis.snapshot.spec) for result in analysis.results)
    return tuple(sentence for sentence in (*found, *cut) if sentence is not None)


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
    told = [t for t in trials if informs(t)]
    rungs = [(t.params[name], told_value(t, result.metric)) for t in told if t.number < ladder]
    best = result.winner.params.get(name) if result.winner else None
    return Response(
        result=result,
        name=name,
        range=range_,
        points=tuple(sorted(points, key=lambda p: (p.value, p.trial))),
        default=result.pair.default_params.get(name),
        best=best,
        edge=None if result.counts.owed else _edge(best, {t.params[name] for t in told}),
        rungs=tuple(sorted(rungs, key=lambda rung: rung[0])),
    )


def informs(trial: TrialRow) -> bool:
    """Whether the end says something about the parameters: a divergence does, a crash not."""
    if trial.state == "failed":
        return trial.end is not None and trial.end.failure == "diverged"
    return trial.state in {"complete", "pruned"}


def told_value(trial: TrialRow, metric: str) -> float | None:
    """What a trial that informs reached; None where it diverged, since it cannot win."""
    return None if trial.state == "failed" else trial.best_value(metric)


def _edge(best: float | None, tried: set[float]) -> Edge | None:
    if best is None or len(tried) < 2:
        return None
    if best >= max(tried):
        return "high"
    return "low" if best <= min(tried) else None


def space_of(spec: Mapping[str, Any]) -> dict[str, Range]:
    """The tuned ranges of a sweep's spec, by hyperparameter."""
    return {name: Range(**range_) for name, range_ in spec.get("space", {}).items()}


def ladder_length(spec: Mapping[str, Any]) -> int:
    """How many trials of every pair are the ladder's, the default's included."""
    return len(ladder_params(space_of(spec), spec.get("search", {}).get("ladder", 1)))
