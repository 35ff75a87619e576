"""The paper's claims, put to the tests of this sweep.

A claim that one kind of backbone beats another is judged within tasks: the best of the one kind
against the best of the other, where the two can be told apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from raybench.analysis import numbers, paper
from raybench.analysis.comparison import Comparison, compare
from raybench.analysis.intervals import ALPHA
from raybench.analysis.paper_domains import (
    CONFIGS,
    Config,
    config_of,
    domain_scores,
    spearman,
    value_of,
)
from raybench.analysis.results import PairResult
from raybench.analysis.samples import Sample

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

Verdict = Literal["holds", "holds in part", "does not hold", "cannot be told", "not in this sweep"]
_POOR_GUIDE = 0.5  # Spearman's correlation that would make ImageNet accuracy more than a poor guide


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the paper, held against this sweep; ``config`` as in ``DomainRanking``."""

    text: str
    config: Config
    verdict: Verdict
    because: str

    @property
    def is_judged(self) -> bool:
        return self.verdict != "not in this sweep"


@dataclass(frozen=True, slots=True)
class _Contest:
    """A claim that the best of one kind of backbone beats the best of another.

    ``better``, ``worse``: the kinds; ``where``: which tasks it speaks of, by their first result.
    """

    text: str
    better: Callable[[str], bool]
    worse: Callable[[str], bool]
    where: Callable[[PairResult], bool] = lambda result: True
    configs: tuple[Config, ...] = CONFIGS


def _contests(known: Mapping[str, str]) -> tuple[_Contest, ...]:
    def one_of(*names: str) -> Callable[[str], bool]:
        return lambda backbone: known.get(backbone) in names

    def other_than(*names: str) -> Callable[[str], bool]:
        return lambda backbone: backbone in known and known[backbone] not in names

    def domain(*names: str) -> Callable[[PairResult], bool]:
        return lambda result: result.pair.facts.get("domain") in names

    leaders = (paper.CONVNEXT, paper.REGNET, paper.EFFICIENTNET)
    return (
        _Contest(
            "Convolutional backbones beat those with attention when little data is fine-tuned",
            lambda backbone: not paper.has_attention(backbone),
            paper.has_attention,
        ),
        _Contest(
            "ConvNeXt, RegNet and EfficientNet are the most consistent",
            one_of(*leaders),
            other_than(*leaders),
        ),
        _Contest(
            "ConvNeXt-Tiny is the one to take for natural images",
            one_of(paper.CONVNEXT),
            other_than(paper.CONVNEXT),
            domain("natural"),
        ),
        _Contest(
            "WaveMix is best on astronomy and medical images",
            one_of(paper.WAVEMIX),
            other_than(paper.WAVEMIX),
            domain("astronomy", "medical"),
        ),
        _Contest(
            "ResNet-50 is ahead of ConvNeXt-Tiny on BreakHis at one rate of 1e-3 for all",
            one_of(paper.RESNET),
            one_of(paper.CONVNEXT),
            lambda result: result.pair.dataset.startswith("breakhis"),
            ("default",),
        ),
    )


def claims(analysis: Analysis, known: Mapping[str, str]) -> tuple[Claim, ...]:
    compared = {
        (task, config): compare(_samples(analysis, task, config))
        for task in analysis.by_task
        for config in CONFIGS
    }
    contests = [
        _held(contest, config, analysis, compared)
        for contest in _contests(known)
        for config in contest.configs
    ]
    return (*contests, *(_imagenet(analysis, config, known) for config in CONFIGS))


def _samples(analysis: Analysis, task: str, config: Config) -> tuple[Sample, ...]:
    results = analysis.by_task[task]
    wanted = {result.pair.id for result in results if value_of(result, config) is not None}
    own = {config_of(result) for result in results} == {config}
    return tuple(
        one for one in analysis.samples(task, None if own else config) if one.pair in wanted
    )


def _held(
    contest: _Contest,
    config: Config,
    analysis: Analysis,
    compared: Mapping[tuple[str, Config], Comparison],
) -> Claim:
    outcomes = Counter(
        outcome
        for task, results in analysis.by_task.items()
        if contest.where(results[0])
        and (outcome := _outcome(contest, results, compared[task, config])) is not None
    )
    if not outcomes:
        missing = "the backbones or the domain are missing, or nothing is finished"
        return Claim(contest.text, config, "not in this sweep", missing)
    total = numbers.plural(outcomes.total(), "task")
    because = f"ahead on {outcomes['ahead']} of {total}, behind on {outcomes['behind']}"
    if outcomes["open"]:
        because += f", cannot be told apart on {outcomes['open']}"
    return Claim(contest.text, config, _verdict(outcomes), because)


def _outcome(
    contest: _Contest, results: Iterable[PairResult], comparison: Comparison
) -> Literal["ahead", "behind", "open"] | None:
    """The best of one kind against the best of the other; None where a kind is missing."""
    backbone = {result.pair.id: result.pair.backbone for result in results}
    first, second = (
        next((row for row, pair in enumerate(comparison.pairs) if kind(backbone[pair])), None)
        for kind in (contest.better, contest.worse)
    )
    if first is None or second is None:
        return None
    if not comparison.adjusted[first, second] < ALPHA:
        return "open"
    return "ahead" if first < second else "behind"


def _verdict(outcomes: Counter[Literal["ahead", "behind", "open"]]) -> Verdict:
    if outcomes["ahead"] and outcomes["behind"]:
        return "holds in part"
    if outcomes["ahead"]:
        return "holds"
    return "does not hold" if outcomes["behind"] else "cannot be told"


def _imagenet(analysis: Analysis, config: Config, known: Mapping[str, str]) -> Claim:
    """By the 95% interval of Spearman's correlation (Bonett and Wright 2000)."""
    text = "ImageNet accuracy alone is a poor guide to the choice"
    found = domain_scores(analysis, "overall", config, known)
    top1 = [paper.IMAGENET_TOP1[known[backbone]] for backbone in found.backbones]
    means = found.normalised.mean(axis=0).tolist() if found.data_sets else []
    correlation = spearman(top1, means) if len(means) > 3 else None
    if correlation is None:
        return Claim(text, config, "not in this sweep", "it takes four backbones of the paper")
    half = 1.96 * math.sqrt((1 + correlation**2 / 2) / (len(top1) - 3))
    centre = math.atanh(max(-0.999999, min(0.999999, correlation)))
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    verdict: Verdict = "cannot be told"
    if high < _POOR_GUIDE:
        verdict = "holds"
    elif low > _POOR_GUIDE:
        verdict = "does not hold"
    because = f"Spearman {correlation:.2f} [{low:.2f}, {high:.2f}] over {len(top1)} backbones"
    return Claim(text, config, verdict, because)
