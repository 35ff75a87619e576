"""Curves over subsets and their crossings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy import stats

from raybench.analysis.small_data import SmallData
from raybench.analysis.whole import Analysis
from raybench.records import PairRow
from tests.analysis.finished import finished
from tests.factories import FACTS, make_pair, make_snapshot


def at(backbone: str, images: int, values: Sequence[float], dataset: str = "digits") -> PairRow:
    subset = "full" if images == 1000 else f"{images} images"
    pair = finished(backbone, values, dataset=dataset, subset=subset)
    return replace(pair, facts={**FACTS, "train_images": images})


def of(*pairs: PairRow) -> SmallData:
    return Analysis(make_snapshot(*pairs)).small_data


VIT = at("vit", 1000, (0.95, 0.96, 0.97)), at("vit", 100, (0.60, 0.62, 0.61))
CNN = at("cnn", 1000, (0.90, 0.91, 0.92)), at("cnn", 100, (0.70, 0.71, 0.72))


def test_fewest_images_first_with_intervals() -> None:
    curve = next(c for c in of(*VIT, *CNN).curves if c.backbone == "vit")
    assert [(p.images, p.runs) for p in curve.points] == [(100, 3), (1000, 3)]
    assert [p.mean for p in curve.points] == pytest.approx([0.61, 0.96])
    expected = stats.t.interval(0.95, 2, 0.61, stats.sem((0.60, 0.62, 0.61)))
    assert curve.points[0].interval == pytest.approx(expected)


def test_a_crossing_beyond_chance() -> None:
    found = of(*VIT, *CNN)
    (crossing,) = found.crossings
    assert (crossing.small, crossing.large) == ("cnn", "vit")
    assert (crossing.fewer, crossing.more) == (100, 1000)
    assert crossing.shown and crossing.leads
    assert found.sentences[0].startswith(
        "On digits cnn is ahead of vit with 100 training images and behind with 1,000: beyond"
    )


def test_a_crossing_by_chance_is_listed_only_where_it_is_the_leaders() -> None:
    near = at("near", 1000, (0.91, 0.93, 0.92)), at("near", 100, (0.60, 0.74, 0.76))
    (crossing,) = of(*near, *CNN).crossings
    assert not crossing.shown and crossing.leads
    best = at("best", 1000, (0.99,) * 3), at("best", 100, (0.9,) * 3)
    assert of(*near, *CNN, *best).crossings == ()


def test_other_data_sets_do_not_mix() -> None:
    assert of(VIT[0], at("vit", 100, (0.6,), "other")).curves == ()


def test_without_subsets_or_results_nothing_is_shown() -> None:
    assert of(VIT[0], CNN[0]).curves == ()
    unknown = replace(make_pair("vit", subset="10%", state="waiting"), facts={})
    found = of(VIT[0], unknown)
    assert found.curves == () and found.crossings == () and found.sentences == ()
    begun = replace(unknown, facts=VIT[1].facts)
    assert of(VIT[0], begun).curves == ()


def test_a_backbone_without_a_result_on_one_subset_has_a_shorter_curve() -> None:
    failed = replace(make_pair("cnn", subset="100 images", state="failed"), facts=VIT[1].facts)
    found = of(*VIT, CNN[0], failed)
    assert {c.backbone: len(c.points) for c in found.curves} == {"vit": 2, "cnn": 1}
    assert found.crossings == ()
