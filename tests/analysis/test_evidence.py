"""Predictions of many finals, folded into one table per task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raybench.analysis.evidence import Evidence, EvidenceCollector
from raybench.analysis.results import PairResult, pair_result
from raybench.predictions import Predictions
from tests.factories import final_trial, make_pair
from tests.predictions import from_hits


def result_of(backbone: str, folds: int = 1) -> PairResult:
    return pair_result(replace(make_pair(backbone), folds=folds), "val/accuracy")


def collect(*runs: tuple[str, int, Predictions], configs: tuple[str, ...] = ("tuned",)) -> Evidence:
    """Of (backbone, seed, predictions)."""
    collector = EvidenceCollector()
    for backbone, seed, predictions in runs:
        result = result_of(backbone)
        trial = final_trial(result.pair.id, seed, seed, 0.9, configs=configs)
        collector.add(result, trial, predictions)
    (evidence,) = collector.finish().values()
    return evidence


def test_values_are_averaged_over_seeds_in_one_order_of_images() -> None:
    evidence = collect(
        ("a", 0, from_hits([1, 1, 0], ["x", "y", "z"])),
        ("a", 1, from_hits([1, 0, 0], ["z", "y", "x"])),
        ("b", 0, from_hits([0, 0, 1], ["y", "x", "z"])),
    )
    assert evidence.keys == (("a.digits.full", "tuned"), ("b.digits.full", "tuned"))
    np.testing.assert_allclose(evidence.values, [[0.5, 0], [0.5, 0], [0.5, 1]])
    assert (evidence.images, evidence.clusters, evidence.grouped) == (3, 3, False)
    assert evidence.column(("b.digits.full", "tuned")) == 1
    assert evidence.column(("b.digits.full", "default")) is None


def test_the_residual_is_that_of_the_two_way_layout() -> None:
    """Against the textbook formula on the full table of seeds x images."""
    rng = np.random.default_rng(5)
    hits = rng.integers(0, 2, (3, 40))
    evidence = collect(*(("a", seed, from_hits(hits[seed])) for seed in range(3)))
    rest = hits - hits.mean(axis=1, keepdims=True) - hits.mean(axis=0) + hits.mean()
    expected = (rest**2).sum() / (2 * 39) / (3 * 40)
    assert evidence.residual == pytest.approx([expected])


def test_one_seed_has_no_residual() -> None:
    assert collect(("a", 0, from_hits([1, 0, 1]))).residual.tolist() == [0]


def test_a_group_is_one_value_and_large_ones_weigh_more() -> None:
    """Mean 3/5; group g (3 images, 1 hit): 0.6 + 3/5 (1 - 1.8), alone: 0.6 + 3/5 (1 - 0.6)."""
    groups = ["g", "g", "g", None, None]
    evidence = collect(("a", 0, from_hits([1, 0, 0, 1, 1], groups=groups)))
    assert (evidence.images, evidence.clusters, evidence.grouped) == (5, 3, True)
    np.testing.assert_allclose(evidence.values[:, 0], [0.12, 0.84, 0.84], rtol=1e-6)
    assert evidence.values.mean() == pytest.approx(0.6)


def test_a_trial_may_stand_for_both_configurations() -> None:
    evidence = collect(("a", 0, from_hits([1, 0])), configs=("tuned", "default"))
    assert [config for _, config in evidence.keys] == ["tuned", "default"]
    assert np.ptp(evidence.values, axis=1).tolist() == [0, 0]


def test_other_images_stand_apart(caplog: pytest.LogCaptureFixture) -> None:
    evidence = collect(
        ("a", 0, from_hits([1, 1], ["x", "y"])),
        ("b", 0, from_hits([1, 0], ["x", "y"])),
        ("c", 0, from_hits([1, 0], ["x", "other"])),
    )
    assert [pair for pair, _ in evidence.keys] == ["a.digits.full", "b.digits.full"]
    assert evidence.values.tolist() == [[1, 1], [1, 0]]
    assert "tested on other images" in caplog.text


def test_folds_are_put_together() -> None:
    """Two seeds on two folds of two images: every image is tested once per seed."""
    collector = EvidenceCollector()
    result = result_of("a", folds=2)
    for seed, fold, hits in ((0, 0, [1, 0]), (0, 1, [1, 1]), (1, 0, [1, 1]), (1, 1, [0, 1])):
        trial = replace(final_trial(result.pair.id, 2 * fold + seed, seed, 0.9), fold=fold)
        ids = [f"{fold}{image}" for image in range(2)]
        collector.add(result, trial, from_hits(hits, ids))
    (evidence,) = collector.finish().values()
    assert evidence.values[:, 0].tolist() == [1, 0.5, 0.5, 1]
    assert (evidence.images, evidence.residual.tolist()) == (4, [0])


def test_a_metric_that_images_do_not_define_gives_no_evidence() -> None:
    collector = EvidenceCollector()
    result = pair_result(make_pair("a"), "val/auroc")
    collector.add(result, final_trial(result.pair.id, 0, 0, 0.9), from_hits([1, 0]))
    assert collector.finish() == {}
