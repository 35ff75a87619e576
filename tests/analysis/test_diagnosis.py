"""Calibration, recall, confusion and worst examples of whole pairs; seeds and folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from raybench.analysis.calibration import Calibration
from raybench.analysis.intervals import t_interval, wilson_interval
from raybench.analysis.mistakes import TaskMistakes
from raybench.analysis.outcomes import proper_scores
from raybench.analysis.whole import Analysis
from raybench.predictions import Predictions
from raybench.records import PairRow
from tests.analysis.finished import finished
from tests.factories import make_snapshot
from tests.predictions import Memory, make_predictions, random_predictions

IDS = ("one", "two", "three", "four")


def three_classes(guesses: Sequence[tuple[int, float]], labels: Sequence[int]) -> Predictions:
    """Each image's guess and its probability; the rest is shared by the others."""
    rows = np.full((len(guesses), 3), 0.0)
    for row, (guess, sure) in enumerate(guesses):
        rows[row] = (1 - sure) / 2
        rows[row, guess] = sure
    return make_predictions(labels, rows, ids=IDS[: len(guesses)])


def analysis(*found: tuple[PairRow, Sequence[Predictions]]) -> Analysis:
    """Of pairs with the predictions of each of their finals."""
    source = Memory(
        {t.key: p for pair, runs in found for t, p in zip(pair.final_trials(), runs, strict=True)}
    )
    return Analysis(make_snapshot(*(pair for pair, _ in found)), source)


def calibrated(pair: PairRow, runs: list[Predictions]) -> Calibration:
    (found,) = analysis((pair, runs)).calibration
    return found


def mistakes(*pairs: tuple[str, list[Predictions]]) -> TaskMistakes:
    made = [(finished(name, [0.5] * len(runs)), runs) for name, runs in pairs]
    (found,) = analysis(*made).mistakes
    return found


def test_scores_are_averaged_over_seeds_with_their_interval() -> None:
    runs = [random_predictions(60, 4, seed) for seed in range(3)]
    runs = [replace(run, labels=runs[0].labels) for run in runs]
    found = calibrated(finished("a", (0.5, 0.6, 0.7)), runs)
    scores = [proper_scores(run.probabilities, run.labels) for run in runs]
    for index, (value, interval) in enumerate(
        [(found.nll, found.nll_interval), (found.brier, found.brier_interval)]
    ):
        own = [score[index] for score in scores]
        assert value == pytest.approx(np.mean(own))
        assert interval == pytest.approx(stats.t.interval(0.95, 2, np.mean(own), stats.sem(own)))
    assert (found.runs, found.images) == (3, 60)
    assert sum(b.images for b in found.bins) == 180


def test_the_diagram_by_hand() -> None:
    """0.95 right, 0.95 wrong; 0.5 right; a quite sure one joins the last bin."""
    run = three_classes([(0, 0.95), (0, 0.95), (1, 0.5), (2, 1.0)], [0, 1, 1, 2])
    found = calibrated(finished("a", (0.75,)), [run])
    middle, last = found.bins
    assert (middle.low, middle.high) == pytest.approx((7 / 15, 8 / 15))
    assert (middle.images, middle.confidence, middle.accuracy) == pytest.approx((1, 0.5, 1.0))
    assert (last.images, last.high) == (3, 1.0)
    assert (last.confidence, last.accuracy) == pytest.approx((2.9 / 3, 2 / 3))
    assert found.confidence_gap == pytest.approx((3.4 - 3) / 4)
    assert found.ece == pytest.approx((0.9 + 0.5 + 0.0) / 4)
    assert "a on digits is too sure of itself by 10.0 points" in found.sentence
    assert found.nll_interval is None


def test_recall_counts_images_and_not_runs() -> None:
    """Class 0: one image right in both runs, one in one of two; 2 images, not 4, for Wilson."""
    labels = [0, 0, 1, 1]
    first = three_classes([(0, 0.9), (0, 0.9), (1, 0.9), (1, 0.9)], labels)
    second = three_classes([(0, 0.9), (2, 0.9), (1, 0.9), (1, 0.9)], labels)
    found = calibrated(finished("a", (1.0, 0.75)), [first, second])
    zero, one = found.recalls
    assert (zero.label, zero.images, zero.recall) == ("class0", 2, 0.75)
    assert zero.interval == wilson_interval(0.75, 2)
    assert one.recall == 1.0
    assert "it finds class0 least: 75% [" in found.sentence


def test_confusion_is_summed_over_runs_like_scikit_learn() -> None:
    runs = [random_predictions(80, 5, seed, skill=0.5) for seed in range(2)]
    runs[1] = replace(runs[1], labels=runs[0].labels)
    found = calibrated(finished("a", (0.5, 0.5)), runs).confusion
    expected = sum(confusion_matrix(r.labels, r.probabilities.argmax(axis=1)) for r in runs)
    np.testing.assert_array_equal(found.matrix, expected)
    top = found.most_confused[0]
    wrong = expected - np.diag(np.diag(expected))
    assert top.count == wrong.max()
    row, column = (int(name.removeprefix("class")) for name in (top.label, top.guess))
    assert top.share == pytest.approx(expected[row, column] / expected[row].sum())
    assert [c.count for c in found.most_confused] == sorted(wrong.ravel())[-1:-6:-1]


def test_folds_are_averaged_like_the_pairs_own_metric() -> None:
    """Two folds of two seeds on different images: the mean over folds of means over seeds."""
    pair = finished("a", (0.5,) * 4)
    finals = [replace(t, seed=i % 2, fold=i // 2) for i, t in enumerate(pair.final_trials())]
    pair = replace(pair, trials=(*pair.search_trials(), *finals), folds=2)
    runs = [random_predictions(40, 3, seed) for seed in range(4)]
    for number, run in enumerate(runs):
        ids = tuple(f"fold{number // 2}-{i}" for i in range(40))
        runs[number] = replace(run, ids=ids, labels=runs[number // 2 * 2].labels)
    found = calibrated(pair, runs)
    nll = [proper_scores(run.probabilities, run.labels)[0] for run in runs]
    folds = [np.mean(nll[:2]), np.mean(nll[2:])]
    assert found.nll == pytest.approx(np.mean(folds))
    assert found.nll_interval == pytest.approx(t_interval(folds, (0, np.inf)))
    assert found.images == 80
    assert sum(r.images for r in found.recalls) == 80


def test_only_the_reported_configuration_is_diagnosed() -> None:
    pair = finished("a", (0.5, 0.6))
    other = replace(pair.final_trials()[1], configs=("default",))
    pair = replace(pair, trials=(*pair.trials[:-1], other), final_configs=("tuned", "default"))
    runs = [random_predictions(30, 3, seed) for seed in range(2)]
    assert calibrated(pair, runs).runs == 1


def test_the_surest_mistakes_come_first() -> None:
    """Image two: 0.9 and 0.8 on class 2. Three: 0.99 in one run only. One: right in both."""
    labels = [0, 0, 1]
    first = three_classes([(0, 0.9), (2, 0.9), (2, 0.99)], labels)
    second = three_classes([(0, 0.9), (2, 0.8), (1, 0.9)], labels)
    (worst,) = mistakes(("a", [first, second])).worst
    two, three = worst.examples
    assert (two.image, two.label, two.guess) == ("two", "class0", "class2")
    assert (two.wrong, two.runs) == (2, 2) and two.confidence == pytest.approx(0.85)
    assert (three.image, three.wrong) == ("three", 1)
    assert three.confidence == pytest.approx(0.99)


def test_runs_that_are_wrong_in_different_ways_are_not_added_up() -> None:
    """0.6 and 0.5 on class 1 outweigh 0.9 on class 2."""
    runs = [three_classes([(guess, sure)], [0]) for guess, sure in ((1, 0.6), (2, 0.9), (1, 0.5))]
    (worst,) = mistakes(("a", runs)).worst
    (only,) = worst.examples
    assert (only.guess, only.wrong, only.runs) == ("class1", 2, 3)
    assert only.confidence == pytest.approx(0.55)


def test_images_that_nobody_gets_right() -> None:
    """Two: taken for class 2 by three of three runs. Three: by nobody right, but no agreement."""
    labels = [0, 0, 1, 1]
    a1 = three_classes([(0, 0.9), (2, 0.9), (2, 0.9), (1, 0.9)], labels)
    a2 = three_classes([(0, 0.9), (2, 0.9), (0, 0.9), (0, 0.9)], labels)
    b1 = three_classes([(1, 0.9), (2, 0.9), (0, 0.9), (1, 0.9)], labels)
    found = mistakes(("a", [a1, a2]), ("b", [b1]))
    assert [(m.image, m.guess) for m in found.missed_by_all] == [
        ("two", "class2"), ("three", "class0"),
    ]  # fmt: skip
    assert [m.share for m in found.missed_by_all] == pytest.approx([1, 2 / 3])
    assert (found.missed, found.agreed, found.images) == (2, 1, 4)
    assert found.missed_by_all[0].backbones == 2
    assert found.sentence == (
        "On digits 2 of 4 test images are missed by every run of every backbone; most runs take 1 "
        "of them for one other class: check the labels."
    )


def test_one_backbone_is_nobody() -> None:
    found = mistakes(("a", [three_classes([(1, 0.9)], [0])]))
    assert found.missed == 0 and found.sentence == ""


def test_at_most_twelve_are_shown() -> None:
    runs = [random_predictions(200, 4, seed, skill=-3.0) for seed in range(2)]
    runs[1] = replace(runs[1], labels=runs[0].labels)
    found = mistakes(("a", runs[:1]), ("b", runs[1:]))
    assert len(found.worst[0].examples) == len(found.missed_by_all) == 12
    assert found.missed > 12


def test_without_predictions_there_is_nothing() -> None:
    found = Analysis(make_snapshot(finished("a", (0.5, 0.6))))
    assert found.calibration == () and found.mistakes == ()
