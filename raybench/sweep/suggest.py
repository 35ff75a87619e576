"""What the next search trial of a pair should try, by Optuna's samplers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from raybench.plan import Pair
from raybench.seeding import derive_seed
from raybench.space import Params, Space
from raybench.spec import TUNABLE, SweepSpec

STARTUP_TRIALS = 5


def suggest(
    study: optuna.Study,
    spec: SweepSpec,
    pair: Pair,
    number: int,
    distributions: dict[str, BaseDistribution],
) -> Params:
    """Ask a study in memory that stands on the trials so far.

    TPE writes to the trial it samples for; in memory, a kill between suggesting and storing leaves
    nothing behind, and number and parameters go to the ledger in one transaction.
    """
    history: list[FrozenTrial] = []
    if spec.search.sampler != "random":
        history = [_for_sampler(trial) for trial in study.get_trials(deepcopy=False)]
    twin = optuna.create_study(
        storage=_Continued(history),
        sampler=_sampler(spec, pair, number),
        direction=study.direction,
    )
    return dict(twin.ask(distributions).params)


class _Continued(optuna.storages.InMemoryStorage):
    """One study that begins with ``history``, which is read, and neither copied nor changed.

    ``Study.add_trials`` would copy and check each trial again for every suggestion: four fifths of
    a suggestion's time after 300 trials.
    """

    def __init__(self, history: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._history = history

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id, template_trial)
        # TPE tells the trial it samples for from the others by its number.
        self.get_trial(trial_id).number += len(self._history)
        return trial_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        known = [trial for trial in self._history if states is None or trial.state in states]
        return known + super().get_all_trials(study_id, deepcopy, states)


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's ranges, in the order of their names."""
    distributions: dict[str, BaseDistribution] = {}
    for name, range_ in sorted(space.items()):
        if TUNABLE[name] is int:
            distributions[name] = IntDistribution(int(range_.low), int(range_.high), log=range_.log)
        else:
            distributions[name] = FloatDistribution(range_.low, range_.high, log=range_.log)
    return distributions


def _sampler(spec: SweepSpec, pair: Pair, number: int) -> optuna.samplers.BaseSampler:
    """Seeded by (sweep seed, pair, number), so that every attempt suggests the same."""
    seed = derive_seed(spec.seed, "sampler", pair.id, number)
    if spec.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            n_startup_trials=max(len(pair.ladder), STARTUP_TRIALS),
            multivariate=True,
            constant_liar=True,
            seed=seed,
        )


def _for_sampler(trial: FrozenTrial) -> FrozenTrial:
    """A drained trial comes back, so it counts as running: neither handed out nor forgotten."""
    if trial.state != TrialState.WAITING:
        return trial
    running = copy.copy(trial)
    running.state = TrialState.RUNNING
    return running
