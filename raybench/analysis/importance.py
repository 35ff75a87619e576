"""How much of a search's differences each hyperparameter explains: Optuna's fANOVA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raybench.analysis.results import PairResult
from raybench.analysis.tunability import space_of
from raybench.records import TrialRow
from raybench.seeding import derive_seed
from raybench.space import Range

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

MIN_TRIALS = 20
# A forest that costs 0.1 s a pair whatever the number of trials; depth 5 tells 32 regions apart.
_TREES, _DEPTH = 16, 5
NOTE = (
    "Share of the variance of the validation metric over the whole space that each hyperparameter "
    "explains by itself (fANOVA, Hutter et al. 2014, by Optuna), for pairs with at least "
    f"{MIN_TRIALS} complete trials; pruned ones saw fewer epochs and are left out. It says what "
    "mattered within the ranges that were searched, not outside of them."
)


@dataclass(frozen=True, slots=True)
class Importance:
    """One pair; ``by_name`` sums to 1, the largest first; ``trials``: how many it rests on."""

    task: str
    backbone: str
    by_name: Mapping[str, float]
    trials: int


def importances(analysis: Analysis) -> tuple[Importance, ...]:
    """Of pairs that tune two hyperparameters or more and have trials enough."""
    space = space_of(analysis.snapshot.spec)
    return tuple(found for result in analysis.results for found in _importance(result, space))


def _importance(result: PairResult, space: Mapping[str, Range]) -> Iterator[Importance]:
    names = sorted(result.pair.default_params.keys() & space.keys())
    trials = [
        (trial, value)
        for trial in result.pair.search_trials()
        if trial.state == "complete"
        and set(names) <= trial.params.keys()
        and (value := trial.best_value(result.metric)) is not None
    ]
    values = {value for _, value in trials}
    if len(names) < 2 or len(trials) < MIN_TRIALS or len(values) < 2:
        return
    seed = derive_seed(0, "importance", result.pair.id)
    by_name = _fanova(trials, {name: space[name] for name in names}, seed)
    yield Importance(result.task, result.pair.backbone, by_name, len(trials))


def _fanova(
    trials: Sequence[tuple[TrialRow, float]], space: Mapping[str, Range], seed: int
) -> dict[str, float]:
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution

    ranges: dict[str, BaseDistribution] = {
        name: FloatDistribution(r.low, r.high, log=r.log) for name, r in space.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every new study
    study = optuna.create_study(direction="maximize")
    for trial, value in trials:
        params = {name: trial.params[name] for name in space}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(
        n_trees=_TREES, max_depth=_DEPTH, seed=seed
    )
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}
