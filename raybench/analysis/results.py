"""What one pair has to show: a ``PairRow`` read by the rules, as one typed value.

Everything else in ``analysis`` and ``report`` is a view of these; no rule is written twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from raybench.analysis.intervals import Interval, metric_bounds, t_interval
from raybench.records import PairRow, SweepSnapshot, TrialRow, is_minimised
from raybench.selection import select_winner

TERMINAL = frozenset({"complete", "pruned", "failed"})


def final_metric(metric: str) -> str:
    """``test/accuracy`` for ``val/accuracy``."""
    return "test/" + metric.split("/", 1)[-1]


def task_name(pair: PairRow) -> str:
    """``digits`` or ``digits (10%)``."""
    return pair.dataset if pair.subset == "full" else f"{pair.dataset} ({pair.subset})"


@dataclass(frozen=True, slots=True)
class SeedValues:
    """One test metric over final seeds.

    Attributes:
        metric: ``test/...``.
        by_seed: seed -> value, in order of seeds; only trials that are complete.
        wanted: seeds that the sweep file asks for.
    """

    metric: str
    by_seed: Mapping[int, float]
    wanted: int

    @property
    def mean(self) -> float | None:
        return fmean(self.by_seed.values()) if self.by_seed else None

    @property
    def ci95(self) -> Interval | None:
        """95% t interval over seeds, clipped to what the metric can be; None under two seeds."""
        return t_interval(tuple(self.by_seed.values()), metric_bounds(self.metric))


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """Search trials by state. A running or waiting trial is still owed."""

    quota: int
    complete: int
    pruned: int
    failed: int
    running: int

    @property
    def owed(self) -> int:
        return max(0, self.quota - self.complete - self.pruned - self.failed)


@dataclass(frozen=True, slots=True)
class PairResult:
    """One pair's search, winner and finals.

    Attributes:
        winner: the search trial that ``select_winner`` picks so far.
        tuned, default: validation value of the winner and of trial 0 (complete trials only).
        config: the configuration that ``final`` is about: ``tuned`` unless the file asks only for
            ``default``.
        final_default: finals of the default configuration, where the file asks for both.
        oracle: ``final`` at the best *test* epoch; empty unless the file asks for the oracle.
    """

    pair: PairRow
    metric: str
    counts: TrialCounts
    winner: TrialRow | None
    tuned: float | None
    default: float | None
    config: str
    final: SeedValues
    final_default: SeedValues | None
    oracle: SeedValues

    @property
    def task(self) -> str:
        return task_name(self.pair)

    @property
    def mean(self) -> float | None:
        """Mean final test metric over seeds."""
        return self.final.mean

    @property
    def gain(self) -> float | None:
        """How much better the winner validates than the defaults; positive is better."""
        if self.tuned is None or self.default is None:
            return None
        gain = self.tuned - self.default
        return -gain if is_minimised(self.metric) and gain else gain

    @property
    def epochs(self) -> int:
        return sum(len(t.epochs) for t in self.pair.search_trials())

    @property
    def search_device_seconds(self) -> float:
        return sum(t.device_seconds for t in self.pair.search_trials())

    @property
    def final_device_seconds(self) -> float:
        return sum(t.device_seconds for t in self.pair.final_trials())

    @property
    def parameters(self) -> int | None:
        """Parameters of the model, as any trial that ended reports them."""
        for trial in self.pair.trials:
            if trial.end is not None and "parameters" in trial.end.facts:
                return int(trial.end.facts["parameters"])
        return None

    @property
    def failures(self) -> tuple[TrialRow, ...]:
        """Failed trials of the search and of the finals that count."""
        trials = (*self.pair.search_trials(), *self.pair.final_trials())
        return tuple(t for t in trials if t.state == "failed")


def pair_result(pair: PairRow, metric: str) -> PairResult:
    """Reads one pair by the rules of design section 5."""
    winner = select_winner(pair.trials, metric)
    default = next((t for t in pair.search_trials() if t.number == 0), None)
    config = "default" if pair.final_configs == ("default",) else "tuned"
    both = {"tuned", "default"} <= set(pair.final_configs)
    return PairResult(
        pair=pair,
        metric=metric,
        counts=_counts(pair),
        winner=winner,
        tuned=winner.best_value(metric) if winner else None,
        default=default.best_value(metric) if default and default.state == "complete" else None,
        config=config,
        final=_seed_values(pair, config, metric),
        final_default=_seed_values(pair, "default", metric) if both else None,
        oracle=_seed_values(pair, config, metric, oracle=True),
    )


def pair_results(snapshot: SweepSnapshot) -> tuple[PairResult, ...]:
    """Results of the pairs that the sweep file names, in its order."""
    return tuple(pair_result(p, snapshot.metric) for p in snapshot.pairs if p.current)


def by_task(results: Iterable[PairResult]) -> dict[str, list[PairResult]]:
    """Results grouped by task, tasks in order of first appearance."""
    tasks: dict[str, list[PairResult]] = {}
    for result in results:
        tasks.setdefault(result.task, []).append(result)
    return tasks


def _counts(pair: PairRow) -> TrialCounts:
    states = Counter(t.state for t in pair.search_trials())
    return TrialCounts(
        pair.quota, states["complete"], states["pruned"], states["failed"], states["running"]
    )


def _seed_values(pair: PairRow, config: str, metric: str, oracle: bool = False) -> SeedValues:
    name = final_metric(metric)
    values: dict[int, float] = {}
    for trial in pair.final_trials(config):
        if trial.state == "complete" and trial.end is not None and trial.seed is not None:
            found = trial.end.oracle if oracle else trial.end.test
            if name in found:
                values[trial.seed] = found[name]
    return SeedValues(name, dict(sorted(values.items())), len(pair.final_seeds))
