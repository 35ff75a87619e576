"""What it would take to separate the two leaders: more seeds, more test images, more data sets.

Power is that of the very test that is used, at the place of the difference among Holm's. The gap
and the spreads are taken as they look now, so the numbers are a plan, not a promise: a gap that is
luck shrinks when more is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.comparison import Comparison
from raybench.analysis.detection import POWER, Part, detectable_gap, power
from raybench.analysis.intervals import ALPHA

MOST = 1_000
"""Seeds and data sets beyond, or so many times the images, are called hopeless."""
WILCOXON_EFFICIENCY = 3 / math.pi  # against the t test, for normal differences (Lehmann 1975)


@dataclass(frozen=True, slots=True)
class PowerLine:
    """The two leaders of one task and what would separate them at 80% power.

    Attributes:
        leader, second: pair ids.
        gap: how much better the leader's mean is (never negative).
        separated: whether they are told apart already.
        detectable: the gap that is found with 80% with the runs and images there are; None unknown.
        seeds: final seeds that each has now; None with folds.
        more_seeds: additional ones for each; None where no number does it, or unknown.
        images: test images now, or groups of them where ``grouped``; 0 without predictions.
        more_images: additional ones, beside ``more_seeds``; 0 where those there are can do it; None
            unknown.
        text: all this in one sentence.
    """

    leader: str
    second: str
    gap: float
    separated: bool
    detectable: float | None
    seeds: int | None
    more_seeds: int | None
    images: int
    more_images: int | None
    grouped: bool
    text: str


@dataclass(frozen=True, slots=True)
class DataSetPower:
    """The two leaders over all data sets, by the mean metric.

    Attributes:
        leader, second: backbones.
        gap: how much better the leader's mean is (never negative).
        separated: whether they are told apart already.
        data_sets: now.
        more_data_sets: additional ones; 0 where ``separated``; None: hopeless, or unknown.
        text: all this in one sentence.
    """

    leader: str
    second: str
    gap: float
    separated: bool
    data_sets: int
    more_data_sets: int | None
    text: str


def task_power(
    comparison: Comparison, names: Mapping[str, str], grouped: bool = False
) -> PowerLine | None:
    """Of the two best of one task; None with fewer than two.

    Args:
        comparison: of the task.
        names: of pairs, for people.
        grouped: whether its clusters are groups of test images.
    """
    if len(comparison.samples) < 2:
        return None
    first, second = comparison.samples[:2]
    folds = first.final.folds > 1
    gap, plan = float(comparison.difference[0, 1]), _Plan.of(comparison)
    line = PowerLine(
        leader=first.pair,
        second=second.pair,
        gap=gap,
        separated=bool(comparison.adjusted[0, 1] < ALPHA),
        detectable=None if plan is None else detectable_gap(plan.now, plan.alpha),
        seeds=None if folds else min(first.runs, second.runs),
        more_seeds=None,
        images=int(comparison.variances.clusters[0, 1]),
        more_images=None,
        grouped=grouped,
        text="",
    )
    if plan is not None and gap > 0 and not folds:
        line = _with_needs(line, plan)
    return replace(line, text=_sentence(line, first.final.metric, names))


def data_set_power(
    gaps: Sequence[float], leader: str, second: str, separated: bool, tests: int, metric: str
) -> DataSetPower:
    """From how much better the leader is, one per data set; ``tests``: Holm's divisor.

    The test is Wilcoxon's: what a paired t test needs, over its efficiency, and at least so many
    that its smallest p-value can pass. ``leader``, ``second``: as people read them.
    """
    mean = fmean(gaps)
    spread = stdev(gaps) if len(gaps) > 1 else 0.0
    more = 0 if separated else None
    if not separated and mean > 0 and spread > 0:
        alpha = ALPHA / tests
        least = math.ceil(1 - math.log2(alpha))  # 2 / 2^n, the smallest p-value of n data sets
        needed = _smallest(lambda n: power(mean, [(spread**2 / n, n - 1)], alpha) >= POWER)
        if needed is not None:
            needed = max(least, math.ceil(needed / WILCOXON_EFFICIENCY))
            more = max(1, needed - len(gaps))
    lead = f"{leader} is ahead of {second} by {_amount(metric, mean)}"
    start = f"Over {numbers.plural(len(gaps), 'data set')} {lead} of mean"
    text = f"{start} {numbers.metric_title(metric)}{_what_separates(separated, more)}."
    return DataSetPower(leader, second, mean, separated, len(gaps), more, text)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The two leaders' test, as a function of seeds and images.

    Attributes:
        runs: variances of the two's single seeds.
        images: the images' part of the variance now, over ``clusters``.
        alpha: 5% over this difference's place among Holm's.
        now: the parts of the test as it is.
    """

    runs: tuple[float, float]
    images: float
    clusters: int
    alpha: float
    now: tuple[Part, ...]

    @classmethod
    def of(cls, comparison: Comparison) -> _Plan | None:
        """None where the two cannot be tested at all."""
        p_value, variances = comparison.p_value, comparison.variances
        if math.isnan(p_value[0, 1]):
            return None
        place = int((p_value[np.triu_indices(len(p_value), k=1)] >= p_value[0, 1]).sum())
        first, second = comparison.samples[:2]
        images, clusters = float(variances.images[0, 1]), int(variances.clusters[0, 1])
        if first.final.folds > 1:
            now = [(float(variances.seeds[0, 1]), float(variances.degrees[0, 1]))]
        else:
            now = [(one.seed_variance or 0.0, one.runs - 1.0) for one in (first, second)]
            now.append((images, max(1.0, clusters - 1.0)))
        runs = (first.run_variance or 0.0, second.run_variance or 0.0)
        return cls(runs, images, clusters, ALPHA / place, tuple(now))

    def finds(self, gap: float, seeds: int, images: float = 1.0) -> bool:
        """With so many seeds each, and ``images`` times the test images."""
        parts = [(run / seeds, seeds - 1.0) for run in self.runs]
        parts.append((self.images / images, max(1.0, images * self.clusters - 1)))
        return not sum(v for v, _ in parts) or power(gap, parts, self.alpha) >= POWER


def _with_needs(line: PowerLine, plan: _Plan) -> PowerLine:
    """More seeds, where the images there are allow it; else images as well.

    Of images twice what they alone would need, so that a handful of seeds does the rest.
    """
    assert line.seeds is not None
    if line.separated:
        return replace(line, more_seeds=0, more_images=0)
    factor = 1.0
    seeds = _smallest(lambda n: plan.finds(line.gap, n))
    if seeds is None and plan.images > 0 and plan.finds(line.gap, MOST, MOST / 2):
        factor = 2.0 * _smallest_factor(lambda f: plan.finds(line.gap, MOST, f))
        seeds = _smallest(lambda n: plan.finds(line.gap, n, factor))
    if seeds is None:
        return line
    more_images = math.ceil((factor - 1) * line.images)
    return replace(
        line, more_seeds=max(int(not more_images), seeds - line.seeds), more_images=more_images
    )


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """The smallest whole number from 2 to MOST that is enough, by bisection."""
    if not enough(MOST):
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _smallest_factor(enough: Callable[[float], bool]) -> float:
    """Between 1, which is not enough, and MOST / 2, which is; to a hundredth."""
    low, high = 1.0, MOST / 2
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _sentence(line: PowerLine, metric: str, names: Mapping[str, str]) -> str:
    """Stands behind the task's answer, so it does not name the task."""
    both = f"{names[line.leader]} and {names[line.second]}"
    gap = _amount(metric, line.gap)
    if line.detectable is None:
        return _nothing_known(line, both)
    finds = f"a gap of {_amount(metric, line.detectable)} is what can be found with 80% chance"
    has = _what_there_is(line)
    if line.separated:
        return f"{both} are told apart by {gap}; with {has} {finds}."
    start = f"{both} differ by {gap}; with {has} {finds}"
    return f"{start}; {_needs(line)}." if line.gap > 0 else f"{start}."


def _nothing_known(line: PowerLine, both: str) -> str:
    if line.seeds is not None and line.seeds < 2:
        return f"Nothing says how far {both} may be off: it takes two final seeds at least."
    runs = "Folds" if line.seeds is None else "Seeds"
    rest = "nor do the test images" if line.images else "stored predictions would tell"
    return f"{runs} change nothing between {both} here; {rest}."


def _needs(line: PowerLine) -> str:
    if line.seeds is None:
        return "more folds or images would be needed"
    if line.more_seeds is None:
        images = f" and {MOST:,} times the images" if line.images else ""
        return f"not even {MOST:,} seeds{images} would separate them"
    seeds = f"about {numbers.plural(line.more_seeds, 'more seed')} each"
    if not line.more_images:
        return f"{seeds} would separate them"
    images = f"about {_rounded(line.more_images):,} more {_images(line)}"
    wanted = f"{images} and {seeds}" if line.more_seeds else images
    return f"no number of seeds separates them on these images; {wanted} would"


def _what_there_is(line: PowerLine) -> str:
    runs = "these folds" if line.seeds is None else f"{numbers.plural(line.seeds, 'seed')} each"
    return f"{runs} and {line.images:,} {_images(line)}" if line.images else runs


def _images(line: PowerLine) -> str:
    return "groups of test images" if line.grouped else "test images"


def _what_separates(separated: bool, more: int | None) -> str:
    if separated:
        return ", and the two are told apart"
    if more is None:
        return f"; no number of data sets below {MOST:,} would separate them"
    return f"; about {numbers.plural(more, 'more data set')} would separate them"


def _amount(metric: str, gap: float) -> str:
    """``1.2 points`` of a percentage, else the number."""
    if numbers.is_percent(metric):
        return f"{100 * gap:.1f} points" if 100 * gap >= 0.1 or not gap else "under 0.1 points"
    return f"{gap:.3f}"


def _rounded(count: int) -> int:
    """Two digits that count."""
    digits = max(0, len(str(count)) - 2)
    return round(count, -digits)
