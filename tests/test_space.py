"""Ranges and ladders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from raybench.space import Range, default_params, ladder_params

LR = Range(default=1e-3, low=1e-5, high=1e-1, log=True)
DECAY = Range(default=0.0, low=0.0, high=0.1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"default": 1, "low": 2, "high": 1}, "low 2 must be below high 1"),
        ({"default": 5, "low": 1, "high": 2}, "default 5 must lie between low 1 and high 2"),
        ({"default": 1, "low": 0, "high": 2, "log": True}, "low must be above 0"),
        ({"default": math.nan, "low": 0, "high": 2}, "finite"),
    ],
)
def test_impossible_ranges(values, words):
    with pytest.raises(ValidationError, match=words):
        Range(**values)


def test_midpoints_of_equal_cells():
    assert DECAY.midpoints(2) == (0.025, 0.075)
    assert LR.midpoints(4) == pytest.approx((10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5), rel=1e-5)


@settings(deadline=None)
@given(st.integers(1, 200))
def test_midpoints_lie_inside_and_rise(count):
    points = LR.midpoints(count)
    assert len(points) == count and LR.low < points[0] and points[-1] < LR.high
    assert list(points) == sorted(set(points))


def test_a_count_gives_the_default_and_midpoints_of_lr():
    steps = ladder_params({"weight_decay": DECAY, "lr": LR}, 4)
    assert steps[0] == {"lr": 1e-3, "weight_decay": 0.0}
    assert [step["lr"] for step in steps[1:]] == list(LR.midpoints(3))
    assert {step["weight_decay"] for step in steps} == {0.0}


def test_without_lr_the_first_name_is_stepped():
    steps = ladder_params({"weight_decay": DECAY, "drop_path": DECAY}, 3)
    assert [step["drop_path"] for step in steps] == [0.0, 0.025, 0.075]


def test_lists_put_the_default_first_once():
    assert [s["lr"] for s in ladder_params({"lr": LR}, {"lr": (1e-4, 1e-3)})] == [1e-3, 1e-4]
    assert [s["lr"] for s in ladder_params({"lr": LR}, {"lr": (1e-4, 1e-2)})] == [1e-3, 1e-4, 1e-2]


def test_lists_are_walked_in_step():
    ladder = {"lr": (1e-4, 1e-2), "weight_decay": (0.05, 0.1)}
    steps = ladder_params({"lr": LR, "weight_decay": DECAY}, ladder)
    assert steps[1:] == (
        {"lr": 1e-4, "weight_decay": 0.05},
        {"lr": 1e-2, "weight_decay": 0.1},
    )


def test_nothing_tuned_leaves_the_default_alone():
    assert ladder_params({}, 5) == ({},)
    assert default_params({"lr": LR, "drop_path": DECAY}) == {"drop_path": 0.0, "lr": 1e-3}


def test_steps_of_whole_numbers_are_whole_and_differ():
    neighbors = Range(default=20, low=1, high=20, log=True)
    assert [s["neighbors"] for s in ladder_params({"neighbors": neighbors}, 5)] == [20, 1, 3, 7, 14]
    steps = [s["neighbors"] for s in ladder_params({"neighbors": neighbors}, 100)]
    assert steps[0] == 20 and sorted(steps) == list(range(1, 21))
