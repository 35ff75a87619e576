"""What the next search trial of a pair should try, by Optuna's samplers."""

from __future__ import annotations

import copy
import warnings

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
    """Ask a copy of the study in memory.

    TPE writes to the trial it samples for; on the copy, a kill between suggesting and storing
    leaves nothing behind, and number and parameters go to the ledger in one transaction.
    """
    twin = optuna.create_study(sampler=_sampler(spec, pair, number), direction=study.direction)
    if spec.search.sampler != "random":
        twin.add_trials(_for_sampler(t) for t in study.get_trials(deepcopy=False))
    return dict(twin.ask(distributions).params)


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
    """A copy without records, which the sampler does not read and Optuna would copy deeply.

    A drained trial comes back: the study that is asked must neither hand it out nor forget it.
    """
    lean = copy.copy(trial)
    lean.user_attrs = {}
    if lean.state == TrialState.WAITING:
        lean.state = TrialState.RUNNING
    return lean
