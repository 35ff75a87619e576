"""The bundle in ``docs/results`` gives the numbers of ``docs/results.md``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from raybench.analysis import numbers
from raybench.reporting import open_report
from raybench.validate import check_spec
from raybench.yamlio import parse_yaml

DOCS = Path(__file__).resolve().parents[1] / "docs"
BUNDLE = DOCS / "results" / "one-rate-or-tuned.zip"


@pytest.fixture(scope="module")
def report() -> Any:
    with open_report([str(BUNDLE)]) as found:
        yield found


def test_every_row_of_the_table(report: Any) -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if re.match(r"\| [\w-]+ \| (vit|mobile|squeeze)", line)
    ]
    assert len(rows) == len(report.analysis.results) == 16
    for row, result in zip(rows, report.analysis.results, strict=True):
        default, metric = result.final_default, result.final.metric
        shown = [
            numbers.with_interval(metric, one.mean, one.ci95, unit=False)
            for one in (default, result.final)
        ]
        assert row[:4] == [result.task, report.analysis.short[result.pair.backbone], *shown]
        assert float(row[4]) == result.winner.params["lr"]


def test_its_sentences(report: Any) -> None:
    page = " ".join((DOCS / "results.md").read_text(encoding="utf-8").split())
    found = report.as_json()
    leader = found["overall"]["backbones"][0]
    assert f"with a chance of {100 * leader['chance']:.0f}%" in page
    assert f"about {found['overall']['power']['more_data_sets']} more" in page
    changes = report.analysis.tunability.changes
    assert "Thirteen of 24 pairs" in page and sum(change.changed for change in changes) == 13
    assert "two pairs, among them the leaders on the brain scans" in page
    assert sum(change.shown for change in changes) == 2
    brain = next(sentence for sentence in found["tunability"]["sentences"] if "28.3" in sentence)
    assert "23.3" in brain and "p = 0.0021" in brain and "28.3 points" in page


def test_the_sweep_file_is_the_bundles(report: Any) -> None:
    """But for places, which a bundle shortens; the data need not be here."""
    text = (DOCS / "results" / "one-rate-or-tuned.yaml").read_text(encoding="utf-8")
    data, lines = parse_yaml(text)
    packed = report.analysis.snapshot.spec
    assert data["name"] == packed["name"] and data["budget"]["trials"] == packed["budget"]["trials"]
    assert [b["name"] for b in data["backbones"]] == [b["name"] for b in packed["backbones"]]
    data["datasets"], data["backbones"] = ["digits"], ["timm:resnet18"]
    spec = check_spec(data, lines, DOCS)
    dumped = spec.model_dump(mode="json")
    for section in ("recipe", "space", "search", "final"):
        assert dumped[section] == packed[section], section
