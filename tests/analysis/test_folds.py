"""Cross-validated pairs: finals over seeds x folds, statistics over folds."""

from __future__ import annotations

import dataclasses
from statistics import fmean, stdev

import pytest
from scipy import stats

from raybench.analysis.contract import summarize
from raybench.analysis.intervals import t_interval
from raybench.analysis.results import pair_result
from raybench.analysis.whole import Analysis
from raybench.records import PairRow
from tests.factories import final_trial, make_pair, make_snapshot, pair_id, search_trial

FOLDS = 5


def crossed(backbone: str, by_fold: list[tuple[float, float]]) -> PairRow:
    """Two seeds on every fold; ``by_fold`` holds the two seeds' accuracies."""
    name = pair_id(backbone)
    finals = [
        dataclasses.replace(final_trial(name, 2 * fold + seed, seed, value), fold=fold)
        for fold, values in enumerate(by_fold)
        for seed, value in enumerate(values)
    ]
    pair = make_pair(backbone, [search_trial(name, 0), *finals], seeds=(0, 1))
    return dataclasses.replace(pair, folds=FOLDS)


STRONG = crossed("timm:a", [(0.90, 0.92), (0.80, 0.82), (0.95, 0.93), (0.85, 0.87), (0.88, 0.90)])
WEAK = crossed("timm:b", [(0.60, 0.62), (0.52, 0.50), (0.66, 0.64), (0.55, 0.57), (0.59, 0.61)])


def test_units_are_folds_each_the_mean_of_its_seeds() -> None:
    final = pair_result(STRONG, "val/accuracy").final
    assert final.by_unit == pytest.approx({0: 0.91, 1: 0.81, 2: 0.94, 3: 0.86, 4: 0.89})
    assert final.wanted == len(final.by_run) == 10
    assert final.ci95 == t_interval(tuple(final.by_unit.values()), (0, 1), overlap=1 / 3)


def test_backbones_are_paired_by_fold() -> None:
    """Differences by hand: 0.30, 0.30, 0.29, 0.30, 0.29; s^2 (1/5 + 1/3)."""
    task = Analysis(make_snapshot(STRONG, WEAK)).tasks["digits"]
    first, second = task.standings
    assert first.result.pair is STRONG and not second.tied
    gaps = [0.30, 0.30, 0.29, 0.30, 0.29]
    error = stdev(gaps) * (1 / 5 + 1 / 3) ** 0.5
    expected = 2 * stats.t.sf(fmean(gaps) / error, 4)
    assert second.p_value == pytest.approx(expected, rel=1e-6)
    low, high = task.comparison.between(STRONG.id, WEAK.id).ci95 or (0, 0)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 4) * error)


def test_only_folds_that_both_have_are_compared() -> None:
    """The first fold is missing for one of the two."""
    short = dataclasses.replace(WEAK, trials=WEAK.trials[:1] + WEAK.trials[3:])
    task = Analysis(make_snapshot(STRONG, short)).tasks["digits"]
    gaps = [0.30, 0.29, 0.30, 0.29]
    found = task.comparison.between(STRONG.id, WEAK.id)
    assert (found.mean, found.degrees) == (pytest.approx(fmean(gaps)), 3)
    assert found.standard_error == pytest.approx(stdev(gaps) * (1 / 4 + 1 / 3) ** 0.5)


def test_chances_move_folds_together() -> None:
    """Folds differ by 5 points, the two backbones by 30 on each: no doubt who is best."""
    chances = Analysis(make_snapshot(STRONG, WEAK)).tasks["digits"].chances
    assert chances is not None and chances.scope == "folds"
    assert chances.best[STRONG.id] > 0.999


def test_more_seeds_are_no_plan_for_folds() -> None:
    power = Analysis(make_snapshot(STRONG, WEAK)).tasks["digits"].power
    assert power is not None and power.seeds is None and power.more_seeds is None
    assert power.separated and "with these folds a gap of" in power.text


def test_json_says_the_fold_of_every_value() -> None:
    (pair,) = summarize(make_snapshot(STRONG))["pairs"]
    assert pair["final"]["seeds"] == [0] * 5 + [1] * 5
    assert pair["final"]["folds"] == [0, 1, 2, 3, 4] * 2
    assert pair["final"]["test/accuracy"][1] == 0.80


def test_without_folds_the_json_has_no_such_key() -> None:
    (pair,) = summarize(make_snapshot(make_pair("timm:c")))["pairs"]
    assert "folds" not in pair["final"]


def answer(*pairs: PairRow) -> str:
    return Analysis(make_snapshot(*pairs)).headline.by_task["digits"]


def test_the_answer_names_seeds_and_folds() -> None:
    assert "(2 seeds x 5 folds)" in answer(STRONG, WEAK)
    pruned = dataclasses.replace(STRONG, trials=STRONG.trials[:-1])
    assert "(9 of 10 runs over seeds and folds)" in answer(pruned, WEAK)
