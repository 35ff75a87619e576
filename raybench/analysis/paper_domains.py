"""The order of the paper's backbones per domain: in its Table 1, and in this sweep."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from raybench.analysis import paper
from raybench.analysis.results import PairResult
from raybench.analysis.scores import Scores, ranks_of, score_tasks

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

Config = Literal["default", "tuned"]
CONFIGS: tuple[Config, ...] = ("default", "tuned")


@dataclass(frozen=True, slots=True)
class DomainRanking:
    """One domain of the paper's Table 1 against this sweep.

    Attributes:
        domain: ``natural`` ...; ``overall``.
        config: ``default`` (the sweep's fixed configuration) or ``tuned``.
        paper: the paper's first three, best first.
        absent: those of the three that this sweep has not.
        sweep: this sweep's backbones of the paper, by the paper's names, best mean normalised score
            first; empty where the sweep has nothing finished in the domain.
        data_sets: this sweep's, in that domain.
        correlation: Spearman's, of the paper's places (all without one share the last) and the
            sweep's mean ranks; None under three backbones, or where none of the three is here.
    """

    domain: str
    config: Config
    paper: tuple[str, ...]
    absent: tuple[str, ...]
    sweep: tuple[str, ...]
    data_sets: tuple[str, ...]
    correlation: float | None


def value_of(result: PairResult, config: Config) -> float | None:
    """Mean final test metric of one configuration; a sweep that tunes nothing has the default."""
    final = result.final if config == config_of(result) else result.final_default
    if final is None or (config == "tuned" and config != config_of(result)):
        return None
    return final.mean


def config_of(result: PairResult) -> Config:
    return "default" if result.config == "default" or result.pair.quota == 1 else "tuned"


def domain_ranking(
    analysis: Analysis, domain: str, config: Config, known: Mapping[str, str]
) -> DomainRanking:
    three = paper.TOP_THREE[domain]
    found = domain_scores(analysis, domain, config, known)
    names = [known[backbone] for backbone in found.backbones]
    means = found.normalised.mean(axis=0).tolist() if found.data_sets else []
    ranked = [name for _, name in sorted(zip((-m for m in means), names, strict=False))]
    return DomainRanking(
        domain=domain,
        config=config,
        paper=three,
        absent=tuple(name for name in three if name not in names),
        sweep=tuple(ranked),
        data_sets=found.data_sets,
        correlation=_correlation(three, names, found),
    )


def domain_scores(
    analysis: Analysis, domain: str, config: Config, known: Mapping[str, str]
) -> Scores:
    tasks = _tasks(analysis, set(paper.TOP_THREE) if domain == "overall" else {domain})
    by_task = {task: [r for r in tasks[task] if r.pair.backbone in known] for task in tasks}
    by_task = {
        task: results
        for task, results in by_task.items()
        if any(value_of(result, config) is not None for result in results)
    }
    return score_tasks(by_task, list(known), lambda result: value_of(result, config))


def _tasks(analysis: Analysis, domains: Collection[str]) -> dict[str, list[PairResult]]:
    return {
        task: results
        for task, results in analysis.by_task.items()
        if any(result.pair.facts.get("domain") in domains for result in results)
    }


def _correlation(three: Sequence[str], names: Sequence[str], found: Scores) -> float | None:
    places = [three.index(name) if name in three else len(three) for name in names]
    if len(names) < 3 or min(places) == max(places) or not found.data_sets:
        return None
    return spearman(places, found.ranks.mean(axis=0).tolist())


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Rank correlation; None where one of the two is constant."""
    ranks = np.stack([ranks_of(np.array(values, dtype=float)) for values in (first, second)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return None
    return float(np.atleast_2d(np.corrcoef(ranks))[0, 1])
