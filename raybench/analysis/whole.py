"""One sweep, analysed once: page, tables, JSON and plots are views of one ``Analysis``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from raybench.analysis import numbers
from raybench.analysis.budget import Budget, budget
from raybench.analysis.calibration import Calibration
from raybench.analysis.comparison import Comparison, compare
from raybench.analysis.constraints import NO_CONSTRAINTS, Constraints, Remaining, remaining
from raybench.analysis.curves import MeanResponse, mean_responses
from raybench.analysis.diagnosis import Diagnosis, DiagnosisCollector
from raybench.analysis.evidence import Evidence, EvidenceCollector
from raybench.analysis.gains import Tunability, tunability
from raybench.analysis.headline import Headline, headline
from raybench.analysis.importance import Importance, importances
from raybench.analysis.literature import Literature, literature
from raybench.analysis.mistakes import TaskMistakes
from raybench.analysis.overall import Overall, overall
from raybench.analysis.pareto import Front, fronts
from raybench.analysis.power import PowerLine, task_power
from raybench.analysis.probability import Chances, Draws, draw_means, task_chances
from raybench.analysis.ranking import Standing, board, rank_task
from raybench.analysis.results import (
    Optimism,
    PairResult,
    by_task,
    finals,
    optimism,
    pair_results,
)
from raybench.analysis.samples import Sample, samples
from raybench.analysis.small_data import SmallData, small_data
from raybench.analysis.tunability import Response, responses, tuned_names
from raybench.analysis.uncertainty import Uncertainty, uncertainties
from raybench.predictions import NO_PREDICTIONS, PredictionSource
from raybench.records import SweepSnapshot

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class TaskAnalysis:
    """One task.

    Attributes:
        name: ``digits`` or ``digits (10%)``.
        results: its pairs, in the file's order.
        evidence: None without predictions.
        comparison: of the pairs with a final result.
        standings: every pair, best first, those without a result last.
        draws: (DRAWS, P) plausible means, columns as ``comparison.samples``; None: nothing says how
            far the means may be off.
        chances: None without draws or with fewer than two results.
        power: None with fewer than two results.
    """

    name: str
    dataset: str
    subset: str
    metric: str
    results: tuple[PairResult, ...]
    evidence: Evidence | None
    comparison: Comparison
    standings: tuple[Standing, ...]
    draws: Draws | None
    chances: Chances | None
    power: PowerLine | None

    @property
    def uncertainties(self) -> Mapping[str, Uncertainty]:
        """Of the pairs with a final result, by their id."""
        return {s.result.pair.id: s.uncertainty for s in self.standings if s.uncertainty}


class Analysis:
    """Everything that is shown of a sweep; each property is computed once, when first asked for.

    Args:
        snapshot: what the ledger holds.
        predictions: of the finals, for what the test images say.
        constraints: what a backbone may cost.
        reference: ``paper``: compare with its ranking.
        notes: what is to be known of the snapshot (joined sweeps), in words.
    """

    def __init__(
        self,
        snapshot: SweepSnapshot,
        predictions: PredictionSource = NO_PREDICTIONS,
        *,
        constraints: Constraints = NO_CONSTRAINTS,
        reference: Literal["paper"] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.snapshot, self.predictions = snapshot, predictions
        self.constraints, self.reference, self.notes = constraints, reference, notes

    @cached_property
    def results(self) -> tuple[PairResult, ...]:
        """One per pair that the sweep file names, in its order."""
        return pair_results(self.snapshot)

    @cached_property
    def by_task(self) -> Mapping[str, list[PairResult]]:
        return by_task(self.results)

    @cached_property
    def short(self) -> Mapping[str, str]:
        """Backbones of the file as people read them."""
        return numbers.short_names(result.pair.backbone for result in self.results)

    @cached_property
    def tasks(self) -> Mapping[str, TaskAnalysis]:
        return {name: self._task(name, results) for name, results in self.by_task.items()}

    @cached_property
    def standings(self) -> Mapping[str, tuple[Standing, ...]]:
        """By task."""
        return {name: task.standings for name, task in self.tasks.items()}

    @cached_property
    def overall(self) -> Overall:
        return overall(self.tasks, list(self.short), self.short)

    @cached_property
    def headline(self) -> Headline:
        return headline(self.tasks, self.overall, self.short)

    @cached_property
    def optimism(self) -> tuple[Optimism, ...]:
        return tuple(found for r in self.results if (found := optimism(r)) is not None)

    @cached_property
    def tunability(self) -> Tunability:
        return tunability(self)

    @cached_property
    def responses(self) -> Mapping[str, tuple[Response, ...]]:
        """By hyperparameter, lr first."""
        return {name: responses(self, name) for name in tuned_names(self.snapshot)}

    @cached_property
    def curves(self) -> tuple[MeanResponse, ...]:
        return mean_responses(self)

    @cached_property
    def budget(self) -> Budget:
        return budget(self)

    @cached_property
    def importance(self) -> tuple[Importance, ...]:
        return importances(self)

    @cached_property
    def fronts(self) -> tuple[Front, ...]:
        return fronts(self)

    @cached_property
    def remaining(self) -> Remaining:
        return remaining(self, self.constraints)

    @cached_property
    def small_data(self) -> SmallData:
        return small_data(self)

    @property
    def calibration(self) -> tuple[Calibration, ...]:
        return self._seen[1].calibrations

    @property
    def mistakes(self) -> tuple[TaskMistakes, ...]:
        return self._seen[1].mistakes

    @cached_property
    def literature(self) -> Literature | None:
        return literature(self) if self.reference == "paper" else None

    def samples(self, task: str, config: str | None = None) -> tuple[Sample, ...]:
        """Of one task's pairs; None: the configuration that each pair's result is about."""
        return samples(self.by_task[task], self._seen[0].get(task), config)

    def leaderboard(self) -> pd.DataFrame:
        """One row per pair, ranked within each task; see ``ranking.board``."""
        names = {name for result in self.results for name in result.pair.default_params}
        return board((s for task in self.tasks.values() for s in task.standings), names)

    @cached_property
    def _seen(self) -> tuple[Mapping[str, Evidence], Diagnosis]:
        """One pass over the predictions of all finals that count, one file at a time."""
        evidence, diagnosis = EvidenceCollector(), DiagnosisCollector()
        for result, trial in finals(self.results):
            found = self.predictions.read(trial)
            if found is not None:
                evidence.add(result, trial, found)
                diagnosis.add(result, trial, found)
        return evidence.finish(), diagnosis.finished()

    def _task(self, name: str, results: list[PairResult]) -> TaskAnalysis:
        pair = results[0].pair
        comparison = compare(self.samples(name))
        known = comparison.samples
        draws = draw_means(known, pair.dataset, pair.subset)
        chances = task_chances(known, draws)
        sure = uncertainties(known, pair.dataset, pair.subset)
        names = {r.pair.id: self.short[r.pair.backbone] for r in results}
        evidence = self._seen[0].get(name)
        return TaskAnalysis(
            name=name,
            dataset=pair.dataset,
            subset=pair.subset,
            metric=results[0].final.metric,
            results=tuple(results),
            evidence=evidence,
            comparison=comparison,
            standings=rank_task(results, comparison, chances, sure),
            draws=draws,
            chances=chances,
            power=task_power(comparison, names, evidence is not None and evidence.grouped),
        )
