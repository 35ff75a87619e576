"""An audit as one HTML file: no script, no request; pictures stand in it as small JPEGs.

The template escapes whatever it prints, since file and class names are anybody's. At most
``MAX_SETS`` sets of pictures are shown, the gravest findings first; the rest is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.analysis import numbers
from raybench.datasets.audit.findings import (
    SEVERITIES,
    Audit,
    AuditReport,
    Finding,
    reference,
)
from raybench.datasets.listing import plural
from raybench.report.templating import html_environment

MAX_SETS = 60
_PER_FINDING = 24
_PER_SET = 4
_MAX_LISTED = 200
_COMPARED = ("exact_", "near_", "label_", "group_", "overlap")


@dataclass(frozen=True, slots=True)
class Picture:
    """``uri``: a ``data:`` address, empty where unreadable; ``split``: empty where in none."""

    uri: str
    label: str
    split: str


def shown_images(report: AuditReport) -> frozenset[str]:
    """Which pictures ``render_audit`` wants, by ``reference``."""
    return frozenset(ref for sets in _shown(report).values() for refs in sets for ref in refs)


def render_audit(report: AuditReport, pictures: Mapping[str, Picture]) -> str:
    """The page as text; the same report gives the same bytes."""
    environment = html_environment()
    return environment.get_template("audit.html").render(_context(report, pictures))


def verdict(report: AuditReport) -> str:
    """The report in one sentence."""
    images = plural(sum(audit.images for audit in report.audits), "image")
    where = images if len(report.audits) == 1 else f"{images} of {len(report.audits)} data sets"
    counts = [
        plural(report.count(severity), severity)
        for severity in SEVERITIES[:-1]
        if report.count(severity)
    ]
    told = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
    return f"{told} in {where}." if told else f"Nothing wrong in {where}."


def _context(report: AuditReport, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    shown = _shown(report)
    sections = [_section(audit, shown, pictures) for audit in report.audits]
    return {
        "title": numbers.clean(report.name),
        "verdict": verdict(report),
        "tone": next((s for s in SEVERITIES[:-1] if report.count(s)), "clean"),
        "sections": sections,
        "alone": len(sections) == 1 and report.audits[0].dataset == report.name,
        "overlaps": [
            _finding(finding, shown[("", place)], pictures)
            for place, finding in enumerate(report.overlaps)
        ],
    }


def _section(
    audit: Audit,
    shown: Mapping[tuple[str, int], Sequence[Sequence[str]]],
    pictures: Mapping[str, Picture],
) -> dict[str, Any]:
    bad = list(audit.bad.items())
    return {
        "name": numbers.clean(audit.dataset),
        "facts": _facts(audit),
        "findings": [
            _finding(finding, shown[(audit.dataset, place)], pictures)
            for place, finding in enumerate(audit.findings)
        ],
        "classes": _bars(audit.statistics["classes"]),
        "bad": [(numbers.clean(name), numbers.clean(why)) for name, why in bad[:_MAX_LISTED]],
        "bad_rest": max(0, len(bad) - _MAX_LISTED),
    }


def _facts(audit: Audit) -> dict[str, str]:
    facts = {"images": f"{audit.images:,}", "classes": f"{len(audit.statistics['classes']):,}"}
    facts |= {name: f"{count:,}" for name, count in audit.splits.items()}
    for side in ("width", "height"):
        if side in audit.statistics:
            low, _, high = audit.statistics[side]
            facts[side] = f"{low:,.0f}" if low == high else f"{low:,.0f}–{high:,.0f}"
    return facts


def _bars(classes: Mapping[str, int]) -> list[dict[str, Any]]:
    """Classes with the width of their bar in percent, largest first."""
    most = max(classes.values(), default=0) or 1
    ordered = sorted(classes.items(), key=lambda item: -item[1])[:_MAX_LISTED]
    return [
        {"name": numbers.clean(name), "count": f"{count:,}", "width": round(100 * count / most, 1)}
        for name, count in ordered
    ]


def _finding(
    finding: Finding,
    shown: Sequence[Sequence[str]],
    pictures: Mapping[str, Picture],
) -> dict[str, Any]:
    tiles = [
        {
            "pictures": [
                _tile(numbers.clean(name), pictures.get(ref))
                for ref, name in zip(refs, members, strict=False)
            ],
            "more": len(members) - len(refs),
        }
        for refs, members in zip(shown, finding.sets, strict=False)
    ]
    return {
        "severity": finding.severity,
        "sentence": numbers.clean(finding.sentence),
        "sets": tiles,
        "rest": finding.count - len(shown) if shown else 0,
    }


def _tile(name: str, picture: Picture | None) -> dict[str, Any]:
    label = numbers.clean(picture.label) if picture else ""
    return {"name": name, "picture": picture, "label": label}


def _shown(report: AuditReport) -> dict[tuple[str, int], list[tuple[str, ...]]]:
    """(data set, place of the finding) -> references to show; overlaps stand under ``""``."""
    shown: dict[tuple[str, int], list[tuple[str, ...]]] = {}
    left = MAX_SETS
    for key, finding in sorted(_keyed(report), key=lambda item: _gravity(item[1])):
        compared = finding.kind.startswith(_COMPARED)
        sets = finding.sets[: min(left, _PER_FINDING)] if compared else ()
        shown[key] = [tuple(_reference(key[0], name) for name in m[:_PER_SET]) for m in sets]
        left -= len(sets)
    return shown


def _keyed(report: AuditReport) -> Iterator[tuple[tuple[str, int], Finding]]:
    for audit in report.audits:
        yield from (((audit.dataset, place), f) for place, f in enumerate(audit.findings))
    yield from ((("", place), f) for place, f in enumerate(report.overlaps))


def _gravity(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _reference(dataset: str, name: str) -> str:
    return reference(dataset, name) if dataset else name
