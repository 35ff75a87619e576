"""Sentences that tables and the page share: what the numbers are, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.analysis import numbers
from raybench.analysis.intervals import proportion_halfwidth
from raybench.analysis.ranking import Standing
from raybench.analysis.results import PairResult
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot, is_minimised

_FAILURES_SHOWN = 8
LOOSE = (
    "?: too uncertain to place: it cannot be told apart from the best of this tier, though another "
    "one that is ranked above it can."
)


def caption(analysis: Analysis) -> str:
    """What the leaderboard's numbers are: metric, seeds, selection, interval."""
    snapshot = analysis.snapshot
    metric = numbers.metric_title(snapshot.metric)
    direction = ", lower is better" if is_minimised(snapshot.metric) else ""
    seeds = sorted({seed for p in snapshot.pairs if p.current for seed in p.final_seeds})
    runs = f"final runs (seeds {numbers.listing(map(str, seeds))})" if seeds else "final runs"
    return (
        f"Test {metric}{direction}: mean of {runs} of {_chosen(snapshot, metric)}, "
        f"± or [ ] the 95% interval over {_units(analysis)}." + _oracle(snapshot.spec)
    )


def _units(analysis: Analysis) -> str:
    """What the intervals run over."""
    crossed = {pair.folds > 1 for pair in analysis.snapshot.pairs if pair.current}
    folds = "folds (Nadeau-Bengio, each fold the mean of its seeds)"
    known = [
        s.uncertainty for ranked in analysis.standings.values() for s in ranked if s.uncertainty
    ]
    by_images = any(one.images for one in known)
    seeds = "other seeds and other test images" if by_images else "other seeds (t)"
    return {frozenset({True}): folds, frozenset({True, False}): f"{seeds}, or {folds}"}.get(
        frozenset(crossed), seeds
    )


def limits(analysis: Analysis) -> tuple[str, ...]:
    """What the reader's limits leave; nothing where none were given."""
    return analysis.remaining.sentences if analysis.constraints else ()


def tier_text(standing: Standing) -> str:
    """``1``; ``1?`` where it is too uncertain to place; empty without a result."""
    return "" if standing.tier is None else f"{standing.tier}{'?' * standing.loose}"


def loose_note(standings: Sequence[Standing]) -> list[str]:
    """What ``?`` means, where one stands."""
    return [LOOSE] if any(standing.loose for standing in standings) else []


def leak_notes(snapshot: SweepSnapshot) -> list[str]:
    """One sentence per data set whose splits share images or groups."""
    marked = {p.dataset: str(p.facts["leaks"]) for p in snapshot.pairs if p.facts.get("leaks")}
    return [
        f"[leak] {dataset}: {leaks}; its results may be too good ('raybench check' shows which)."
        for dataset, leaks in marked.items()
    ]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed trials of one pair and phase with the same class and reason."""

    result: PairResult
    phase: str
    failure: str
    reason: str
    trials: tuple[int, ...]


def failure_groups(results: Sequence[PairResult]) -> list[FailureGroup]:
    """Failures of the file's pairs, equal ones together, in the file's order."""
    groups: list[FailureGroup] = []
    for result in results:
        numbers_of: dict[tuple[str, str, str], list[int]] = {}
        for trial in result.failures:
            failure = (trial.end.failure if trial.end else None) or "failed"
            reason = numbers.clean(trial.end.reason) if trial.end else ""
            numbers_of.setdefault((trial.phase, failure, reason), []).append(trial.number)
        groups += [FailureGroup(result, *key, tuple(found)) for key, found in numbers_of.items()]
    return groups


def failure_lines(analysis: Analysis) -> list[str]:
    """One line per group of failures; the rest counted beyond the first few."""
    lines = [
        f"{analysis.short[g.result.pair.backbone]} on {g.result.task}, {g.phase} "
        f"{'trial' if len(g.trials) == 1 else 'trials'} {numbers.listing(map(str, g.trials))}: "
        f"{g.failure}{': ' if g.reason else ''}{g.reason}"
        for g in failure_groups(analysis.results)
    ]
    more = len(lines) - _FAILURES_SHOWN
    return lines[:_FAILURES_SHOWN] + ([f"and {numbers.plural(more, 'more kind')}"] * (more > 0))


def sampling_note(result: PairResult) -> str | None:
    """How far sampling the test images alone moves the pair's accuracy (before there is one, at the
    worst case); None before the preflight and for other metrics.
    """
    images = int(result.pair.facts.get("test_images", 0))
    if images < 1 or result.final.metric != "test/accuracy":
        return None
    accuracy = 0.5 if result.mean is None else result.mean
    points = 100 * proportion_halfwidth(images, accuracy)
    return (
        f"{images:,} test images: at an accuracy of {100 * accuracy:.1f}% drawing other ones moves "
        f"it by about ±{points:.1f} points (95%), on top of the interval over seeds"
    )


def _chosen(snapshot: SweepSnapshot, metric: str) -> str:
    configs = {p.final_configs for p in snapshot.pairs if p.current}
    which = (
        "the default configuration"
        if configs == {("default",)}
        else f"the configuration with the best validation {metric}"
    )
    if snapshot.spec.get("final", {}).get("refit"):
        return f"{which}, refitted on train + validation"
    return f"{which}, each at its best validation epoch"


def _oracle(spec: Mapping[str, Any]) -> str:
    if spec.get("final", {}).get("selection") != "oracle":
        return ""
    return " Oracle selection was on: the test split was read after every final epoch."
