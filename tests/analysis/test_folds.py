"""Cross-validated pairs: finals over seeds x folds, statistics over folds."""

from __future__ import annotations

import dataclasses

import pytest

from raybench.analysis.contract import summarize
from raybench.analysis.intervals import paired_p_value, t_interval
from raybench.analysis.ranking import answer, rank_task
from raybench.analysis.results import pair_result
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
    results = [pair_result(pair, "val/accuracy") for pair in (STRONG, WEAK)]
    first, second = rank_task(results)
    units = [result.final.by_unit for result in results]
    assert first.result.pair is STRONG and not second.tied
    assert second.p_value == paired_p_value(*units, overlap=1 / 3)


def test_json_says_the_fold_of_every_value() -> None:
    (pair,) = summarize(make_snapshot(STRONG))["pairs"]
    assert pair["final"]["seeds"] == [0] * 5 + [1] * 5
    assert pair["final"]["folds"] == [0, 1, 2, 3, 4] * 2
    assert pair["final"]["test/accuracy"][1] == 0.80


def test_without_folds_the_json_has_no_such_key() -> None:
    (pair,) = summarize(make_snapshot(make_pair("timm:c")))["pairs"]
    assert "folds" not in pair["final"]


def test_the_answer_names_seeds_and_folds() -> None:
    assert "(2 seeds x 5 folds)" in answer(make_snapshot(STRONG, WEAK))
    pruned = dataclasses.replace(STRONG, trials=STRONG.trials[:-1])
    assert "(9 of 10 runs over seeds and folds)" in answer(make_snapshot(pruned, WEAK))
