"""What single predictions say: calibration, classes, worst examples; one pass over the files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from raybench.analysis.calibration import Calibration, pair_calibration
from raybench.analysis.mistakes import TaskMistakes, task_mistakes
from raybench.analysis.outcomes import Outcomes
from raybench.analysis.results import PairResult
from raybench.predictions import Predictions
from raybench.records import TrialRow


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Of all pairs with predictions, in the file's order; empty without any."""

    calibrations: tuple[Calibration, ...]
    mistakes: tuple[TaskMistakes, ...]


class DiagnosisCollector:
    """Takes the predictions of finals one file at a time and keeps what is needed of each."""

    def __init__(self) -> None:
        self._pairs: dict[str, Outcomes] = {}
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}

    def add(self, result: PairResult, trial: TrialRow, predictions: Predictions) -> None:
        """Of one final; those of another configuration than the reported one are passed over."""
        if result.config not in trial.configs:
            return
        pair = self._pairs.setdefault(result.pair.id, Outcomes(result, predictions.classes))
        ids = self._ids.setdefault(predictions.ids, predictions.ids)  # once, not in each pair
        pair.add(trial, replace(predictions, ids=ids))

    def finished(self) -> Diagnosis:
        """Of all that was added."""
        tasks: dict[str, list[Outcomes]] = {}
        for outcomes in self._pairs.values():
            tasks.setdefault(outcomes.result.task, []).append(outcomes)
        return Diagnosis(
            calibrations=tuple(pair_calibration(outcomes) for outcomes in self._pairs.values()),
            mistakes=tuple(task_mistakes(found) for found in tasks.values()),
        )
