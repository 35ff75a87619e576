"""Suggestions: what Optuna would say, whatever the history, and as quickly after hundreds."""

from __future__ import annotations

import copy
import datetime
import random
from collections.abc import Iterator

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from raybench.plan import make_plan
from raybench.spec import SweepSpec
from raybench.sweep import suggest as suggest_module
from raybench.sweep.suggest import distributions_of, suggest
from tests.specs import pairs_spec

SPACE = {
    "lr": {"default": 1e-3, "low": 1e-4, "high": 1e-1, "log": True},
    "smoothing": {"default": 0.1, "low": 0.0, "high": 0.3},
    "epochs": {"default": 5, "low": 2, "high": 9},
}
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
STATES = st.sampled_from((*ENDED, TrialState.RUNNING, TrialState.WAITING))


def spec_with(sampler: str) -> SweepSpec:
    search = {"sampler": sampler, "ladder": 1, "early_stop": "none"}
    return pairs_spec(1, 400, space=SPACE, search=search)


def trial_of(state: TrialState, rng: random.Random, value: float | None = None) -> FrozenTrial:
    params = {"lr": 10 ** rng.uniform(-4, -1), "smoothing": rng.uniform(0, 0.3)}
    return create_trial(
        state=state,
        params=params | {"epochs": rng.randint(2, 9)},
        distributions=distributions_of(spec_with("tpe").space),
        value=(value or rng.random()) if state == TrialState.COMPLETE else None,
        intermediate_values={1: rng.random()} if state == TrialState.PRUNED else {},
        user_attrs={"epoch:1": {"metrics": {"val/accuracy": 0.5}}},
    )


def study_of(states: list[TrialState], seed: int) -> optuna.Study:
    study, rng = optuna.create_study(direction="maximize"), random.Random(seed)
    study.add_trials(trial_of(state, rng) for state in states)
    return study


def suggest_from_copy(study: optuna.Study, spec: SweepSpec, number: int) -> dict[str, float]:
    """The plain way: every trial added to a new study, and that study asked."""
    pair = make_plan(spec).pairs[0]
    twin = optuna.create_study(
        sampler=suggest_module._sampler(spec, pair, number), direction=study.direction
    )
    for trial in study.get_trials(deepcopy=True):
        if trial.state == TrialState.WAITING:
            trial.state, trial.datetime_start = TrialState.RUNNING, datetime.datetime(2026, 1, 1)
        if spec.search.sampler != "random":
            twin.add_trial(trial)
    return dict(twin.ask(distributions_of(spec.space)).params)


@settings(max_examples=40, deadline=None)
@given(st.lists(STATES, max_size=24), st.integers(0, 99), st.sampled_from(("tpe", "random")))
def test_equals_a_study_that_holds_the_trials(
    states: list[TrialState], seed: int, sampler: str
) -> None:
    spec, study = spec_with(sampler), study_of(states, seed)
    pair, distributions = make_plan(spec).pairs[0], distributions_of(spec.space)
    before = copy.deepcopy(study.get_trials())
    found = suggest(study, spec, pair, len(states), distributions)
    assert found == suggest_from_copy(study, spec, len(states))
    assert found == suggest(study, spec, pair, len(states), distributions), "each attempt the same"
    assert study.get_trials() == before, "asking changes nothing"


def test_a_running_trial_is_avoided_and_its_end_counts() -> None:
    """What a suggestion depends on: trials that run, and how they have ended."""
    spec = spec_with("tpe")
    pair, distributions = make_plan(spec).pairs[0], distributions_of(spec.space)
    found = []
    for last in (TrialState.RUNNING, TrialState.WAITING, TrialState.COMPLETE, TrialState.FAIL):
        study = study_of([TrialState.COMPLETE] * 9, 0)
        study.add_trial(trial_of(last, random.Random(1), value=2.0))
        found.append(
            [suggest(study, spec, pair, number, distributions) for number in range(10, 18)]
        )
    running, waiting, complete, failed = found
    assert running == waiting
    assert running != complete
    assert running != failed


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Every object that ``copy.deepcopy`` is asked for, at any depth."""
    seen: list[object] = []
    deepcopy = copy.deepcopy

    def counting(value: object, memo: dict[int, object] | None = None) -> object:
        seen.append(value)
        return deepcopy(value, memo)

    monkeypatch.setattr(copy, "deepcopy", counting)
    yield seen


def test_no_trial_is_copied(copies: list[object]) -> None:
    """The time of a suggestion must not go into copying its history."""
    spec = spec_with("tpe")
    pair, distributions = make_plan(spec).pairs[0], distributions_of(spec.space)
    counts = []
    for number in (20, 200):
        study = study_of([TrialState.COMPLETE] * number, 0)
        copies.clear()
        suggest(study, spec, pair, number, distributions)
        counts.append(len(copies))
    assert counts[0] == counts[1] > 0
