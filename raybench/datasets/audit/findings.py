"""What an audit hands out: findings in words, with the images that they are about.

Nothing heavy is imported: pages and tables are made from these values alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["mistake", "leak", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("mistake", "leak", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, or is worth knowing.

    Attributes:
        kind: a name for programs, e.g. ``near_across_splits``.
        severity: ``mistake``: the data cannot be used as given; ``leak``: ``run`` refuses without
            ``--accept-leaks``; ``warning``; ``info``: no finding, only told.
        sentence: for people, with what to do about it.
        count: how many sets (or images, classes) it is about, also where not all are listed.
        sets: ids of images that belong together: pairs, groups, or single images.
    """

    kind: str
    severity: Severity
    sentence: str
    count: int = 0
    sets: tuple[tuple[str, ...], ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """Every id once, in order."""
        return tuple(dict.fromkeys(name for members in self.sets for name in members))

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``raybench check --json`` prints them."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "sentence": self.sentence,
            "count": self.count,
            "sets": [list(members) for members in self.sets],
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """One data set's findings, gravest first.

    Attributes:
        images: how many were looked at.
        splits: images per split, as ``run`` would use them; empty where none can be cut.
        bad: id -> why it cannot be read.
        statistics: images per class, sizes, aspect ratios, share of grey pictures.
    """

    dataset: str
    images: int
    splits: Mapping[str, int]
    findings: tuple[Finding, ...]
    bad: Mapping[str, str]
    statistics: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``raybench check --json`` prints them."""
        return {
            "dataset": self.dataset,
            "images": self.images,
            "splits": dict(self.splits),
            "findings": [finding.as_json() for finding in self.findings],
            "unreadable": dict(self.bad),
            "statistics": dict(self.statistics),
        }


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What one ``raybench check`` found.

    Attributes:
        overlaps: pictures that data sets share; their ids read as ``reference`` makes them.
    """

    name: str
    audits: tuple[Audit, ...]
    overlaps: tuple[Finding, ...] = ()

    def count(self, severity: Severity) -> int:
        """How many findings of this severity there are, overlaps included."""
        found = [*self.overlaps, *(finding for audit in self.audits for finding in audit.findings)]
        return sum(finding.severity == severity for finding in found)

    @property
    def clean(self) -> bool:
        """Whether nothing was found; what is only told does not count."""
        return not any(self.count(severity) for severity in SEVERITIES if severity != "info")

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``raybench check --json`` prints them."""
        return {
            "name": self.name,
            "clean": self.clean,
            "mistakes": self.count("mistake"),
            "leaks": self.count("leak"),
            "warnings": self.count("warning"),
            "datasets": [audit.as_json() for audit in self.audits],
            "overlaps": [finding.as_json() for finding in self.overlaps],
        }


def reference(dataset: str, image: str) -> str:
    """How an image is named where several data sets are told of."""
    return f"{dataset}: {image}"


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Gravest first (``SEVERITIES``), otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
