"""What one pair has to show: a ``PairRow`` read by the rules, as one typed value.

Everything else in ``analysis`` and ``report`` is a view of these; no rule is written twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from raybench.analysis.intervals import Interval, metric_bounds, t_interval
from raybench.records import PairRow, SweepSnapshot, TrialRow, is_minimised
from raybench.selection import select_winner

TERMINAL = frozenset({"complete", "pruned", "failed"})
SELECTION = (
    "Chosen by validation: the complete search trial whose best epoch is best (then the lower "
    "val/nll, then the lower number); its finals report the test split at the best validation "
    "epoch. Oracle values are those of the best test epoch, which nobody could have known: shown "
    "beside, never ranked."
)


def final_metric(metric: str) -> str:
    """``test/accuracy`` for ``val/accuracy``."""
    return "test/" + metric.split("/", 1)[-1]


def task_name(pair: PairRow) -> str:
    """``digits`` or ``digits (10%)``."""
    return pair.dataset if pair.subset == "full" else f"{pair.dataset} ({pair.subset})"


Run = tuple[int, int]
"""Final seed and fold."""


@dataclass(frozen=True, slots=True)
class FinalValues:
    """One test metric over the finals: every seed, crossed with every fold where there are folds.

    Attributes:
        metric: ``test/...``.
        by_run: (seed, fold) -> value, in that order; only trials that are complete.
        wanted: how many finals the sweep file asks for.
        folds: 1 without cross-validation.
    """

    metric: str
    by_run: Mapping[Run, float]
    wanted: int
    folds: int = 1

    @property
    def by_unit(self) -> dict[int, float]:
        """What the statistics run over: seeds; or folds, each the mean over its seeds.

        Folds, because they differ by their images as well, and seeds of one fold share them.
        """
        units: dict[int, list[float]] = {}
        for (seed, fold), value in self.by_run.items():
            units.setdefault(fold if self.folds > 1 else seed, []).append(value)
        return {unit: fmean(values) for unit, values in sorted(units.items())}

    @property
    def overlap(self) -> float:
        """Test over training images of a fold (1 part over folds - 2); 0 for seeds."""
        return 1 / (self.folds - 2) if self.folds > 2 else 0.0

    @property
    def mean(self) -> float | None:
        return fmean(self.by_unit.values()) if self.by_run else None

    @property
    def ci95(self) -> Interval | None:
        """95% t interval over seeds (folds), clipped to what the metric can be; None under two."""
        return t_interval(tuple(self.by_unit.values()), metric_bounds(self.metric), self.overlap)


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
    final: FinalValues
    final_default: FinalValues | None
    oracle: FinalValues

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
        final=final_values(pair, config, metric),
        final_default=final_values(pair, "default", metric) if both else None,
        oracle=final_values(pair, config, metric, oracle=True),
    )


def pair_results(snapshot: SweepSnapshot) -> tuple[PairResult, ...]:
    """Results of the pairs that the sweep file names, in its order."""
    return tuple(pair_result(p, snapshot.metric) for p in snapshot.pairs if p.current)


@dataclass(frozen=True, slots=True)
class Optimism:
    """How much better one pair looks at its best test epoch than at its best validation epoch.

    ``gap``: oracle minus validation-selected over the same finals (positive: better than honest);
    ``interval``: 95% t interval over seeds (folds), None under two.
    """

    result: PairResult
    gap: float
    interval: Interval | None


def optimism(result: PairResult) -> Optimism | None:
    """None unless finals have both values."""
    honest, oracle = result.final.by_unit, result.oracle.by_unit
    sign = -1 if is_minimised(result.metric) else 1
    gaps = [sign * (oracle[unit] - honest[unit]) for unit in honest if unit in oracle]
    if not gaps:
        return None
    return Optimism(result, fmean(gaps), t_interval(gaps, overlap=result.final.overlap))


def finals(results: Iterable[PairResult]) -> Iterator[tuple[PairResult, TrialRow]]:
    """The complete finals that count, pair by pair."""
    for result in results:
        for trial in result.pair.final_trials():
            if trial.state == "complete":
                yield result, trial


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


def final_values(pair: PairRow, config: str, metric: str, oracle: bool = False) -> FinalValues:
    """``metric`` (``val/...`` or ``test/...``) over the complete finals of one configuration."""
    name = final_metric(metric)
    values: dict[Run, float] = {}
    for trial in pair.final_trials(config):
        if trial.state == "complete" and trial.end is not None and trial.seed is not None:
            found = trial.end.oracle if oracle else trial.end.test
            if name in found:
                values[(trial.seed, trial.fold)] = found[name]
    wanted = len(pair.final_seeds) * pair.folds
    return FinalValues(name, dict(sorted(values.items())), wanted, pair.folds)
