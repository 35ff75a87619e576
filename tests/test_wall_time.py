"""Wall time: hand-made cases, and what holds for any sweep on any number of devices."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench import wall_time
from raybench.wall_time import PARTS, Work, wall_seconds

SECONDS = st.floats(0.5, 600.0)
WORKS = st.lists(
    st.builds(
        Work,
        searches=st.integers(1, 9),
        search_s=SECONDS,
        finals=st.integers(0, 4),
        final_s=SECONDS,
        at_once=st.integers(1, 9),
        ladder=st.integers(1, 5),
        parts=st.sampled_from([1, 2, 4, 8]),
        features=st.sampled_from(["", "a", "b"]),
        features_s=st.floats(0.0, 60.0),
    ),
    min_size=1,
    max_size=6,
)


def charged_s(work: list[Work]) -> float:
    """Device-seconds that must be spent; whoever waits for features spends more."""
    return sum(
        (pair.searches * pair.search_s + pair.finals * pair.final_s) * pair.parts / PARTS
        for pair in work
    )


@pytest.mark.parametrize(
    ("devices", "expected_s"),
    [
        (1, 5 * 10 + 3 * 20),
        (2, 3 * 10 + 2 * 20),  # 10 10 | 10 10 | 10 - | 20 20 | 20
        (3, 2 * 10 + 20),
        (8, 10 + 20),
        (1000, 10 + 20),
    ],
)
def test_one_pair_by_hand(devices, expected_s):
    work = [Work(searches=5, search_s=10, finals=3, final_s=20, at_once=8)]
    assert wall_seconds(work, devices) == pytest.approx(expected_s)


def test_the_long_pair_goes_first_and_the_short_one_fills_what_it_leaves():
    """Slot 1: 4 x 10 of the long pair. Slot 2: 3 x 10 of it, then the short pair from 30 to 37."""
    long, short = (Work(4, seconds, 3, seconds, at_once=8) for seconds in (10.0, 1.0))
    assert wall_seconds([long, short], 2) == pytest.approx(40)


def test_trials_on_a_share_run_beside_each_other():
    work = [Work(searches=8, search_s=10, finals=0, final_s=0, at_once=8, parts=2)]
    assert [wall_seconds(work, devices) for devices in (1, 2)] == [20, 10]


def placed_s(work: list[Work], devices: int) -> float:
    """As the trials are placed, without the chain as a lower bound."""
    return wall_time._place(work, wall_time._in_order(work), devices)


def test_no_more_at_once_than_the_sampler_can_learn_from():
    work = Work(searches=12, search_s=10, finals=0, final_s=0, at_once=4)
    assert placed_s([work], 100) == 30 == work.chain_s
    ladder = dataclasses.replace(work, ladder=6)
    assert placed_s([ladder], 100) == 30 == ladder.chain_s  # six, then four, then two


def test_features_are_computed_once_and_waited_for():
    first = Work(3, 1, 1, 2, at_once=8, features="net on data", features_s=50)
    assert wall_seconds([first], 1) == 50 + 3 + 2
    assert wall_seconds([first], 3) == 50 + 1 + 2
    assert wall_seconds([first, first], 100) == 50 + 1 + 2
    assert wall_seconds([first, dataclasses.replace(first, features="other")], 1) == 2 * (50 + 5)


@settings(max_examples=150, deadline=None)
@given(WORKS, st.integers(1, 12))
def test_never_longer_with_a_device_more(work, devices):
    assert wall_seconds(work, devices + 1) <= wall_seconds(work, devices) + 1e-6


@settings(max_examples=150, deadline=None)
@given(WORKS, st.integers(1, 12))
def test_never_shorter_than_the_work_or_the_longest_chain_allows(work, devices):
    found_s = wall_seconds(work, devices)
    assert found_s >= charged_s(work) / devices - 1e-6
    assert found_s >= max(pair.chain_s for pair in work) - 1e-6
    alone = sum(pair.alone_s for pair in work)
    assert found_s <= alone + 1e-6, "one trial after the other"


@settings(max_examples=50, deadline=None)
@given(WORKS)
def test_with_a_device_for_each_trial_only_the_chain_counts(work):
    own = [dataclasses.replace(pair, features=str(n)) for n, pair in enumerate(work)]
    assert placed_s(own, 1000) == pytest.approx(max(pair.chain_s for pair in own))


@pytest.mark.parametrize("devices", [1, 3, 64])
def test_large_sweeps_are_placed_in_lumps(devices, monkeypatch):
    work = [Work(200, 10.0 + n, 3, 20.0, at_once=100, ladder=5) for n in range(10)]
    exact_s = wall_seconds(work, devices)
    monkeypatch.setattr(wall_time, "MOST_TRIALS", 500)
    placed: list[int] = []
    place = wall_time._place
    monkeypatch.setattr(
        wall_time, "_place", lambda *given: placed.append(len(given[1])) or place(*given)
    )
    assert wall_seconds(work, devices) == pytest.approx(exact_s, rel=0.2)
    assert max(placed) <= 510


def test_nothing_to_do_takes_no_time():
    assert wall_seconds([], 4) == 0
