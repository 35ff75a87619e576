"""What tuning bought: default against tuned for each pair, and what it does to the rankings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.comparison import Difference, compare, difference
from raybench.analysis.intervals import ALPHA, holm_adjusted
from raybench.analysis.rank_change import RankChange, rank_change
from raybench.analysis.results import PairResult, final_metric
from raybench.analysis.reversals import Side, tested_side
from raybench.analysis.samples import Sample
from raybench.analysis.uncertainty import uncertainties

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

NOTE = (
    "Default: trial 0, the same hyperparameters for every backbone; tuned: the trial with the best "
    "validation metric. On test where the finals ran both configurations; else on validation, "
    "where part of the gain is luck, since the winner is the best of many. Two backbones change "
    "places beyond chance where both of their differences, at the default and tuned, hold at 5%: "
    "the larger of the two p-values, Holm over all pairs of the task."
)


@dataclass(frozen=True, slots=True)
class Gain:
    """One pair; differences are tuned minus default, positive is better.

    Attributes:
        validation: of the search's winner; None before both have ended.
        test_default, test_tuned: means over the finals.
        test: their difference with its interval; None unless both configurations have finals.
        same: the default won the search, so that both are the same runs.
    """

    result: PairResult
    validation: float | None
    test_default: float | None
    test_tuned: float | None
    test: Difference | None
    same: bool


@dataclass(frozen=True, slots=True)
class Tunability:
    """Per pair and per task, in the file's order."""

    metric: str
    gains: tuple[Gain, ...]
    changes: tuple[RankChange, ...]
    note: str = NOTE

    @property
    def sentences(self) -> tuple[str, ...]:
        """How often the leader changes, what tuning did at most and at least, then each task."""
        compared = [change for change in self.changes if change.pairs]
        return (
            *self._summary(compared),
            *self._extremes(),
            *(change.sentence for change in compared),
        )

    def _summary(self, compared: list[RankChange]) -> Iterator[str]:
        tested = [change for change in compared if change.split == "test"]
        others = [change for change in compared if change.split == "validation"]
        if tested:
            shown = sum(change.flip_shown for change in tested)
            yield f"Tuning changes the leader on {_flips(tested)}, {shown} of them beyond chance."
        if others:
            yield f"On validation, one run each, tuning changes the leader on {_flips(others)}."

    def _extremes(self) -> Iterator[str]:
        """Of the pairs whose winner is not the default itself."""
        tested = [(g.test, g.result) for g in self.gains if g.test is not None and not g.same]
        if len(tested) < 2:
            return
        ranked = sorted(tested, key=lambda item: -item[0].mean)
        names = numbers.short_names(gain.result.pair.backbone for gain in self.gains)
        most, least = (_gain_words(test, result, names) for test, result in (ranked[0], ranked[-1]))
        yield f"Tuning helped {most} most, {least} least{_harm([test for test, _ in ranked])}."


def _harm(ranked: Sequence[Difference]) -> str:
    """What to say of the last of all gains where it is a loss: it was picked among many."""
    lowest = ranked[-1]
    if lowest.ci95 is None or lowest.ci95[1] >= 0:
        return ""
    p_values = np.array([math.nan if one.p_value is None else one.p_value for one in ranked])
    if holm_adjusted(p_values)[-1] < ALPHA:
        return ": there validation chose what test would not have"
    return f": a loss, which may be chance among {len(ranked)} pairs"


def _gain_words(test: Difference, result: PairResult, names: Mapping[str, str]) -> str:
    """``vit on digits (+6.7 [+5.0, +8.4] points)``."""
    metric = result.final.metric
    text = numbers.metric_change(metric, test.mean)
    if test.ci95 is not None:
        text += f" [{', '.join(numbers.metric_change(metric, end) for end in test.ci95)}]"
    unit = " points" if numbers.is_percent(metric) else ""
    return f"{names[result.pair.backbone]} on {result.task} ({text}{unit})"


def _flips(changes: Sequence[RankChange]) -> str:
    """``2 of 4 tasks``."""
    flips = sum(change.leader_flips for change in changes)
    return f"{flips} of {numbers.plural(len(changes), 'task')}"


def tunability(analysis: Analysis) -> Tunability:
    """Of every pair and task of the file."""
    gains: list[Gain] = []
    changes = []
    for task, results in analysis.by_task.items():
        default, tuned = (
            {sample.pair: sample for sample in analysis.samples(task, config)}
            for config in ("default", "tuned")
        )
        gains += (
            _gain(result, default.get(result.pair.id), tuned.get(result.pair.id))
            for result in results
        )
        changes.append(_change(analysis, task, list(default.values()) if tuned else []))
    return Tunability(analysis.snapshot.metric, tuple(gains), tuple(changes))


def _gain(result: PairResult, default: Sample | None, tuned: Sample | None) -> Gain:
    same = result.winner is not None and result.winner.params == result.pair.default_params
    return Gain(
        result=result,
        validation=result.gain,
        test_default=default.mean if default else None,
        test_tuned=tuned.mean if tuned else None,
        test=_difference(tuned, default, same) if tuned and default else None,
        same=same,
    )


def _difference(tuned: Sample, default: Sample, same: bool) -> Difference:
    """Of the same runs it is 0, not 0 give or take two samples' spread."""
    return Difference(0.0, None, None, None, None) if same else difference(tuned, default)


def _change(analysis: Analysis, task: str, default: Sequence[Sample]) -> RankChange:
    """On test where there are finals of both configurations, else on validation."""
    results, metric = analysis.by_task[task], analysis.snapshot.metric
    if default:
        names = {result.pair.id: result.pair.backbone for result in results}
        found = analysis.tasks[task]
        sure = uncertainties(default, found.dataset, found.subset)
        before = tested_side(compare(default), names, sure)
        after = tested_side(found.comparison, names, found.uncertainties)
        return rank_change(results, "test", final_metric(metric), before, after)
    before = Side({r.pair.backbone: r.default for r in results if r.default is not None})
    after = Side({r.pair.backbone: r.tuned for r in results if r.tuned is not None})
    return rank_change(results, "validation", metric, before, after)
