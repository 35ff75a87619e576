"""This sweep against Jeevan and Sethi's: rankings per domain, and which of their claims hold.

Both at the sweep's one default configuration, as the paper has it, and under tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raybench.analysis import numbers, paper
from raybench.analysis.paper_claims import Claim, claims
from raybench.analysis.paper_domains import CONFIGS, DomainRanking, domain_ranking

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis


@dataclass(frozen=True, slots=True)
class Literature:
    """Everything that ``--reference paper`` shows."""

    title: str
    source: str
    domains: tuple[DomainRanking, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]


def literature(analysis: Analysis) -> Literature:
    """Holds the sweep against the paper."""
    known = paper.backbones_of_paper(analysis.short)
    return Literature(
        title=paper.TITLE,
        source=paper.SOURCE,
        domains=tuple(
            domain_ranking(analysis, domain, config, known)
            for domain in paper.TOP_THREE
            for config in CONFIGS
        ),
        claims=claims(analysis, known),
        notes=_notes(analysis, known),
    )


def _notes(analysis: Analysis, known: Mapping[str, str]) -> tuple[str, ...]:
    """How far the comparison carries."""
    notes = ["The paper's numbers are single runs, selected on the test split, at one rate."]
    absent = [name for name in paper.IMAGENET_TOP1 if name not in known.values()]
    if absent:
        notes.append(f"Not in this sweep: {numbers.listing(absent)}.")
    rates = {r.pair.default_params["lr"] for r in analysis.results if "lr" in r.pair.default_params}
    if rates and rates != {paper.LEARNING_RATE}:
        own = numbers.listing(numbers.hyperparameter("lr", rate) for rate in sorted(rates))
        notes.append(f"This sweep's fixed rate is {own}, the paper's 1.0e-03.")
    others = sum(not name.startswith(("torchvision:", "wavemix:")) for name in known)
    if others:
        notes.append(f"{numbers.plural(others, 'backbone')} of timm may have other weights.")
    return tuple(notes)
