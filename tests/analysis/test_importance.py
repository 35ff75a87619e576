"""Importance of hyperparameters, by Optuna from a study in memory."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from raybench.analysis.importance import MIN_TRIALS, Importance
from raybench.analysis.whole import Analysis
from raybench.records import PairRow
from tests.factories import make_pair, make_snapshot, pair_id, search_trial

SPACE = {
    "lr": {"default": 3e-4, "low": 1e-5, "high": 1e-2, "log": True},
    "dropout": {"default": 0.1, "low": 0.0, "high": 0.5, "log": False},
}


def searched(count: int, slope: float, values: float | None = None) -> PairRow:
    """Falls by 10 points a decade of lr, and by ``slope`` x dropout."""
    rng = np.random.default_rng(0)
    name, trials = pair_id("a"), []
    for number in range(count):
        lr, dropout = 10 ** rng.uniform(-5, -2), rng.uniform(0, 0.5)
        value = (
            0.9 - 0.1 * abs(math.log10(lr) + 3.5) - slope * dropout if values is None else values
        )
        trial = search_trial(name, number, lr, (value,))
        trials.append(replace(trial, params={"lr": lr, "dropout": dropout}))
    pair = make_pair("a", trials, quota=count)
    return replace(pair, default_params={"lr": 3e-4, "dropout": 0.1})


def of(pair: PairRow) -> tuple[Importance, ...]:
    return Analysis(make_snapshot(pair, space=SPACE)).importance


def test_what_matters_is_found_and_the_shares_sum_to_one() -> None:
    (found,) = of(searched(24, slope=0.02))
    assert list(found.by_name) == ["lr", "dropout"]
    assert found.by_name["lr"] > 0.8
    assert sum(found.by_name.values()) == pytest.approx(1)
    assert found.trials == 24
    assert of(searched(24, slope=0.02)) == (found,)
    (other,) = of(searched(24, slope=2.0))
    assert list(other.by_name) == ["dropout", "lr"]


def test_few_trials_say_nothing_and_pruned_ones_do_not_count() -> None:
    enough = searched(MIN_TRIALS, 0.02)
    assert len(of(enough)) == 1
    pruned = replace(enough.trials[0], state="pruned")
    assert of(replace(enough, trials=(pruned, *enough.trials[1:]))) == ()


def test_one_hyperparameter_or_one_value_says_nothing() -> None:
    pair = searched(MIN_TRIALS, 0.02)
    assert of(replace(pair, default_params={"lr": 3e-4})) == ()
    assert of(searched(MIN_TRIALS, 0.0, values=0.5)) == ()
