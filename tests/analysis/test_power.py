"""What would separate the two leaders."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from raybench.analysis.comparison import compare
from raybench.analysis.detection import detectable_gap, power
from raybench.analysis.power import PowerLine, data_set_power, task_power
from raybench.analysis.samples import Sample
from tests.analysis.finished import crossed_sample, sample

NAMES = {"a": "Net A", "b": "Net B", "c": "Net C"}


def line(*samples: Sample) -> PowerLine:
    found = task_power(compare(samples), NAMES)
    assert found is not None
    return found


def spread(mean: float, width: float, count: int = 3) -> Sequence[float]:
    """``count`` values with that mean and standard deviation."""
    values = np.linspace(-1, 1, count)
    return list(mean + width * values / values.std(ddof=1))


def test_power_of_one_part_is_the_noncentral_t() -> None:
    threshold, shift = stats.t.ppf(0.975, 4), 0.03 / 0.01
    expected = stats.nct.sf(threshold, 4, shift) + stats.nct.cdf(-threshold, 4, shift)
    assert power(0.03, [(0.01**2, 4)]) == pytest.approx(expected, abs=1e-3)
    assert power(0.0, [(0.01**2, 4)]) == pytest.approx(0.05, abs=2e-3)


def test_welchs_test_of_three_seeds_finds_less_than_its_mean_degrees_promise() -> None:
    """Two equal spreads: four degrees of freedom at best, two at worst."""
    parts = [(0.01**2 / 2, 2.0)] * 2
    assert power(0.04, [(0.01**2, 2)]) < power(0.04, parts) < power(0.04, [(0.01**2, 4)])


def test_the_detectable_gap_has_80_percent() -> None:
    few, two, many = [(1e-4, 2.0)], [(1e-4, 2.0), (2e-4, 4.0)], [(1e-4, 1e4)]
    for parts, alpha in ((few, 0.05), (two, 0.001), (many, 0.05)):
        assert power(detectable_gap(parts, alpha), parts, alpha) == pytest.approx(0.8, abs=1e-6)
    # the textbook's (1.960 + 0.842) standard errors for a known spread
    assert detectable_gap([(1.0, 1e6)]) == pytest.approx(2.8016, abs=1e-3)


def test_more_seeds_by_the_very_test() -> None:
    """Gap 0.01, spread 0.01: per group 17 (Cohen's table for d = 1), so 14 more than 3."""
    found = line(sample("a", spread(0.91, 0.01)), sample("b", spread(0.90, 0.01)))
    assert (found.leader, found.second, found.seeds) == ("a", "b", 3)
    assert found.gap == pytest.approx(0.01) and not found.separated
    assert (found.more_seeds, found.more_images, found.images) == (14, 0, 0)
    assert found.text == (
        "Net A and Net B differ by 1.0 points; with 3 seeds each a gap of 3.5 points is "
        "what can be found with 80% chance; about 14 more seeds each would separate them."
    )


def test_holm_makes_it_harder_among_many() -> None:
    rivals = [sample("c", spread(0.90, 0.01))]
    two = line(sample("a", spread(0.91, 0.01)), sample("b", spread(0.905, 0.01)))
    three = line(sample("a", spread(0.91, 0.01)), sample("b", spread(0.905, 0.01)), *rivals)
    assert two.more_seeds is not None and three.more_seeds is not None
    assert three.more_seeds > two.more_seeds


def test_leaders_that_are_told_apart_need_nothing() -> None:
    found = line(sample("a", spread(0.95, 0.002)), sample("b", spread(0.90, 0.002)))
    assert found.separated and (found.more_seeds, found.more_images) == (0, 0)
    assert "are told apart by 5.0 points" in found.text


def test_where_images_forbid_it_more_images_are_named() -> None:
    """Probes that differ on 4 of 100 images: (6 - 4) / 100, no seed changes that."""
    base = np.zeros(100)
    base[:50] = 1
    a, b = base.copy(), base.copy()
    a[50:56], a[:4] = 1, 0
    found = line(sample("a", [a.mean()] * 3, a), sample("b", [b.mean()] * 3, b))
    assert found.more_seeds == 0 and found.images == 100
    gap = a - b
    needed = ((1.96 + 0.8416) * gap.std(ddof=1) / gap.mean()) ** 2
    assert found.more_images is not None
    assert found.more_images + 100 == pytest.approx(2 * needed, rel=0.05)  # twice: room for seeds
    assert "no number of seeds separates them on these images" in found.text
    assert re.search(r"about [\d,]+ more test images would", found.text)


def test_with_those_images_and_seeds_power_is_enough() -> None:
    """The plan for images and seeds, checked by the test's own formula."""
    rng = np.random.default_rng(3)
    common = rng.normal(0.8, 0.2, 150)
    a, b = (crossed_sample(n, common + rng.normal(shift, 0.25, 150) + rng.normal(0, 0.002, (3, 1)))
            for n, shift in (("a", 0.02), ("b", 0.0)))  # fmt: skip
    found = line(a, b)
    assert found.more_seeds is not None and found.more_images and found.seeds == 3
    comparison = compare([a, b])
    n, factor = found.seeds + found.more_seeds, 1 + found.more_images / found.images
    runs = [one.run_variance or 0 for one in (a, b)]
    images = float(comparison.variances.images[0, 1]) / factor
    parts = [(run / n, n - 1.0) for run in runs] + [(images, 150 * factor - 1)]
    assert power(found.gap, parts) >= 0.8


def test_nothing_known_and_nothing_to_find() -> None:
    unknown = line(sample("a", (0.9,)), sample("b", (0.8,)))
    assert (unknown.detectable, unknown.more_seeds, unknown.more_images) == (None, None, None)
    assert "two final seeds at least" in unknown.text
    equal = line(sample("a", spread(0.9, 0.01)), sample("b", spread(0.9, 0.01)))
    assert equal.more_seeds is None and "differ by 0.0 points" in equal.text
    assert task_power(compare([sample("a", (0.9, 0.8))]), NAMES) is None


def test_a_hopeless_gap_says_so() -> None:
    found = line(sample("a", spread(0.9001, 0.05)), sample("b", spread(0.9, 0.05)))
    assert found.more_seeds is None
    assert "not even 1,000 seeds would separate them" in found.text


def test_a_gap_that_neither_seeds_nor_images_find() -> None:
    """Seeds alone would need more than there may be, so no number of images helps."""
    rng = np.random.default_rng(5)
    common = rng.normal(0.8, 0.2, 150)
    noise = [rng.normal(0, 0.2, 150) for _ in "ab"]
    runs = [common + n - n.mean() + np.array([[-0.1], [0], [0.1]]) for n in noise]
    found = line(crossed_sample("a", runs[0] + 1e-5), crossed_sample("b", runs[1]))
    assert (found.more_seeds, found.more_images, found.images) == (None, None, 150)
    assert found.text.endswith(
        "not even 1,000 seeds and 1,000 times the images would separate them."
    )


def test_data_sets_by_wilcoxon() -> None:
    """d = 1: a paired t test takes 10 (Cohen), Wilcoxon's 10 pi / 3, rounded up 11."""
    found = data_set_power(
        spread(0.2, 0.2, 6), "Net A", "Net B", separated=False, tests=1, metric="test/accuracy"
    )
    assert found.more_data_sets == 11 - 6
    assert found.text == (
        "Over 6 data sets Net A is ahead of Net B by 20.0 points of mean accuracy; about 5 more "
        "data sets would separate them."
    )


def test_data_sets_enough_for_the_smallest_p_value() -> None:
    """A gap on every data set is found at once by t; 2 / 2^n must pass 5% / 10 as well: n = 9."""
    found = data_set_power(
        spread(0.5, 0.001, 6), "A", "B", separated=False, tests=10, metric="test/accuracy"
    )
    assert found.more_data_sets == 9 - 6


def test_data_sets_told_apart_or_hopeless() -> None:
    assert (
        data_set_power(
            [0.5] * 7, "A", "B", separated=True, tests=1, metric="test/accuracy"
        ).more_data_sets
        == 0
    )
    hopeless = data_set_power(
        spread(1e-4, 0.3, 6), "A", "B", separated=False, tests=1, metric="test/accuracy"
    )
    assert hopeless.more_data_sets is None and "no number of data sets" in hopeless.text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((0.9,), "Nothing says how far Net A and Net B may be off: it takes two final seeds"),
        ((0.9, 0.9), "Seeds change nothing between Net A and Net B here; stored predictions"),
    ],
)
def test_what_would_tell_where_nothing_varies(values: tuple[float, ...], says: str) -> None:
    found = line(sample("a", values), sample("b", [value - 0.1 for value in values]))
    assert found.text.startswith(says) and found.detectable is None
