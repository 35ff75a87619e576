"""An audit in the terminal: the findings as sentences, the splits as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.analysis import numbers
from raybench.report.audit_page import verdict
from raybench.report.grid import grid

if TYPE_CHECKING:
    from raybench.datasets.audit.findings import Audit, AuditReport, Finding

_MARKS = {
    "mistake": ("MISTAKE", "bold red"),
    "leak": ("LEAK   ", "bold red"),
    "warning": ("warning", "yellow"),
    "info": ("info   ", "dim"),
}
_MAX_EXAMPLES = 5
_MAX_BAD = 200
_INDENT = " " * 9


def audit_table(report: AuditReport) -> RenderableType:
    """Per data set: splits, findings with examples, every unreadable file; then the verdict."""
    parts: list[RenderableType] = []
    for audit in report.audits:
        parts += [_sizes(audit), Text()]
        parts += [line for finding in audit.findings for line in _lines(finding, audit.bad)]
        parts.append(Text())
    if report.overlaps:
        parts.append(Text("between the data sets", style="bold"))
        parts += [line for finding in report.overlaps for line in _lines(finding)]
        parts.append(Text())
    return Group(*parts, Text(verdict(report), style="bold"))


def _sizes(audit: Audit) -> RenderableType:
    columns = {"images": "right", "classes": "right"} | dict.fromkeys(audit.splits, "right")
    counts = (audit.images, len(audit.statistics["classes"]), *audit.splits.values())
    return grid(audit.dataset, columns, [[f"{count:,}" for count in counts]])


def _lines(finding: Finding, bad: Mapping[str, str] = MappingProxyType({})) -> list[Text]:
    """The sentence, then examples; of unreadable images (``bad``) all, as far as one can read."""
    mark, style = _MARKS[finding.severity]
    lines = [Text.assemble((mark, style), "  ", numbers.clean(finding.sentence))]
    if finding.severity == "info":
        return lines
    most = _MAX_BAD if finding.kind == "unreadable" else _MAX_EXAMPLES
    lines += [Text(f"{_INDENT}{_members(m, bad)}", style="dim") for m in finding.sets[:most]]
    rest = len(finding.sets) - most
    return lines + ([Text(f"{_INDENT}and {rest:,} more", style="dim")] if rest > 0 else [])


def _members(members: Sequence[str], bad: Mapping[str, str]) -> str:
    if members[0] in bad:
        return f"{numbers.clean(members[0])}: {numbers.clean(bad[members[0]])}"
    names = " = ".join(numbers.clean(name) for name in members[:3])
    return f"{names} and {len(members) - 3:,} more" if len(members) > 3 else names
