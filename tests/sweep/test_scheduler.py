"""The early-stopping rules on hand-made curves."""

from __future__ import annotations

import pytest

from raybench.sweep.scheduler import Constants, grace_epochs, rungs, stops_early


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, ()), (2, (1,)), (9, (1, 3)), (20, (2, 6, 18)), (27, (3, 9)), (100, (11, 33, 99))],
)
def test_rungs(epochs: int, expected: tuple[int, ...]) -> None:
    assert rungs(epochs) == expected
    assert all(grace_epochs(epochs) <= rung < epochs for rung in expected)


def test_other_constants_can_be_compared() -> None:
    assert rungs(20, Constants(factor=2, grace=5)) == (4, 8, 16)
    curves = {n: [n / 10] for n in range(6)}
    others = {"half": Constants(factor=2), "later": Constants(grace=3), "more": Constants(peers=7)}
    kept = {
        name: [n for n in curves if not stops_early("asha", curves, n, 9, constants)]
        for name, constants in others.items()
    }
    assert kept == {"half": [3, 4, 5], "later": list(curves), "more": list(curves)}
    assert stops_early("median", curves, 0, 9) and not stops_early(
        "median", curves, 0, 9, others["more"]
    )


def test_asha_keeps_the_best_third() -> None:
    curves = {n: [n / 10] for n in range(6)}
    kept = [n for n in curves if not stops_early("asha", curves, n, 9)]
    assert kept == [4, 5]


def test_asha_compares_only_at_rungs() -> None:
    curves = {0: [0.9, 0.9], 1: [0.8, 0.8], 2: [0.7, 0.7], 3: [0.1, 0.1]}
    assert not stops_early("asha", curves, 3, 9)
    assert stops_early("asha", {n: c[:1] for n, c in curves.items()}, 3, 9)


def test_asha_waits_for_three() -> None:
    assert not stops_early("asha", {0: [0.9], 1: [0.1]}, 1, 9)


def test_asha_looks_at_the_best_so_far() -> None:
    """A trial that dipped at the rung's own epoch is judged by its best epoch, as selection is."""
    curves = {0: [0.5, 0.5, 0.5], 1: [0.5, 0.5, 0.5], 2: [0.5, 0.9, 0.1]}
    assert not stops_early("asha", curves, 2, 9)


def test_asha_spares_ties() -> None:
    curves = {n: [0.5] for n in range(5)}
    assert not any(stops_early("asha", curves, n, 9) for n in curves)


def test_median() -> None:
    curves = {0: [0.6, 0.6], 1: [0.5, 0.7], 2: [0.4, 0.8], 3: [0.3, 0.5]}
    assert stops_early("median", curves, 3, 9)
    assert not stops_early("median", curves, 0, 9)
    assert not stops_early("median", curves, 3, 2), "its last epoch: nothing is left to save"


def test_none_never_stops() -> None:
    assert not stops_early("none", {n: [n / 9] for n in range(9)}, 0, 9)
