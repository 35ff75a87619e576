"""This sweep held against the paper's ranking and claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from raybench.analysis import numbers
from raybench.analysis.paper_claims import Claim
from raybench.analysis.paper_domains import DomainRanking
from raybench.report.blocks import Block, Cell, Column, Row, Section, Table, Words
from raybench.report.view import View

_TONES = {"holds": "state good", "does not hold": "state bad"}


def literature_section(view: View) -> Section | None:
    """None where ``--reference`` was not given."""
    found = view.analysis.literature
    if found is None:
        return None
    judged = [claim for claim in found.claims if claim.is_judged]
    absent = dict.fromkeys(claim.text for claim in found.claims if not claim.is_judged)
    domains = [domain for domain in found.domains if domain.sweep]
    blocks: list[Block] = [
        Words([f"{found.title}. {found.source}"], "note"),
        *([_claims(judged)] if judged else []),
        *([_domains(view, domains)] if domains else []),
        Words([*found.notes, *_left_out(absent, domains)], "list"),
    ]
    return Section("literature", "Against the literature", "Literature", blocks)


def _left_out(absent: Iterable[str], domains: Sequence[DomainRanking]) -> Iterator[str]:
    """What has no row in the tables."""
    if absent:
        yield f"Claims that this sweep cannot speak to: {'; '.join(absent)}."
    if not domains:
        yield "None of the paper's backbones is in this sweep, so no ranking is compared."


def _claims(claims: Sequence[Claim]) -> Table:
    columns = [
        Column("Claim", numeric=False, wraps=True),
        Column("Under", numeric=False),
        Column("In this sweep", numeric=False),
        Column("Because", numeric=False, wraps=True),
    ]
    rows = [
        Row(
            [
                Cell(claim.text),
                Cell(_under(claim.config)),
                Cell(claim.verdict, tone=_TONES.get(claim.verdict, "state")),
                Cell(claim.because),
            ]
        )
        for claim in claims
    ]
    return Table("Which of its claims hold here", columns, rows)


def _domains(view: View, domains: Sequence[DomainRanking]) -> Table:
    columns = [
        Column("Domain", numeric=False),
        Column("Under", numeric=False),
        Column("First in the paper", numeric=False, wraps=True),
        Column("Order here", numeric=False, wraps=True),
        Column("Rank correlation"),
        Column("Data sets"),
    ]
    return Table("Rankings by domain", columns, [_domain(view, domain) for domain in domains])


def _domain(view: View, one: DomainRanking) -> Row:
    absent = f"not in this sweep: {', '.join(one.absent)}" if one.absent else ""
    here = ", ".join(view.looks[name].name for name in one.sweep if name in view.looks)
    correlation = one.correlation
    return Row(
        [
            Cell(one.domain),
            Cell(_under(one.config)),
            Cell(", ".join(one.paper) or numbers.MISSING, note=absent),
            Cell(here or numbers.MISSING),
            Cell() if correlation is None else Cell(f"{correlation:+.2f}", correlation),
            Cell(str(len(one.data_sets)), len(one.data_sets)),
        ]
    )


def _under(config: str) -> str:
    return "the one fixed rate" if config == "default" else "each one's tuned rate"
