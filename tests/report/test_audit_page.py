"""The audit's page and table: complete, bounded, escaped, self-contained."""

from __future__ import annotations

import re

import pytest

from raybench.datasets.audit.findings import Audit, AuditReport, Finding
from raybench.report import audit_page
from raybench.report.audit_page import Picture, render_audit, shown_images, verdict
from raybench.report.grid import to_text
from raybench.terminal.audit import audit_table
from tests.report.test_page import Outline

EVIL = "a\"b'<script>alert(1)</script>\n\u202egnp.jpg"
PIXEL = "data:image/jpeg;base64,AAAA"


def audit(*findings: Finding, dataset: str = "scans", **changes: object) -> Audit:
    values = {
        "dataset": dataset,
        "images": 1200,
        "splits": {"train": 1000, "val": 100, "test": 100},
        "findings": findings,
        "bad": {},
        "statistics": {
            "classes": {"cat": 1000, "dog": 200},
            "width": [32, 64, 128],
            "height": [32, 32, 32],
            "aspect": [1.0, 2.0, 4.0],
            "grey_share": 0.0,
        },
    } | changes
    return Audit(**values)  # type: ignore[arg-type]


def pairs(count: int, kind: str = "near_across_splits", severity: str = "leak") -> Finding:
    sets = tuple((f"train/{n}.jpg", f"test/{n}.jpg") for n in range(count))
    return Finding(kind, severity, f"{count} pairs look alike", count, sets)  # type: ignore[arg-type]


def pictures(report: AuditReport) -> dict[str, Picture]:
    return {ref: Picture(PIXEL, "cat", "train") for ref in shown_images(report)}


def page(report: AuditReport) -> tuple[str, Outline]:
    html = render_audit(report, pictures(report))
    return html, Outline(html)


def test_a_clean_report():
    report = AuditReport("scans", (audit(Finding("image_sizes", "info", "all of 32 pixels")),))
    html, outline = page(report)
    assert report.clean and "Nothing wrong in 1,200 images." in outline.words
    assert 'class="clean"' in html and "all of 32 pixels" in outline.words
    assert "1,000" in outline.words and "32–128" in outline.words and "Unreadable" not in html


def test_a_mistake_comes_first_and_in_the_verdict():
    mistake = Finding("unusable", "mistake", "link 'a' is broken", 1)
    warning = Finding("unreadable", "warning", "1 image cannot be read", 1)
    report = AuditReport("scans", (audit(mistake, pairs(2), warning),))
    html, _ = page(report)
    assert verdict(report) == "1 mistake, 1 leak and 1 warning in 1,200 images."
    assert 'class="finding mistake"' in html and not report.clean
    assert "MISTAKE  link 'a' is broken" in to_text(audit_table(report), 100)


def test_pairs_stand_side_by_side_with_split_and_class():
    report = AuditReport("scans", (audit(pairs(2)),))
    html, outline = page(report)
    assert not report.clean and verdict(report) == "1 leak in 1,200 images."
    assert html.count("<img ") == 4 and html.count('class="set"') == 2
    assert "train cat train/0.jpg train cat test/0.jpg" in outline.words


def test_the_page_asks_for_nothing_and_runs_nothing():
    html, outline = page(AuditReport("scans", (audit(pairs(3)),)))
    assert "script" not in outline.tags and "link" not in outline.tags
    places = [value for name, value in outline.attributes if name in ("src", "href")]
    assert places and all(str(value).startswith("data:image/jpeg") for value in places)
    assert not re.search(r"url\(|@import|http", html)
    assert "prefers-color-scheme: dark" in html


def test_names_are_escaped():
    finding = Finding("near_across_splits", "leak", f"words of {EVIL}", 1, ((EVIL, "b.jpg"),))
    bad = {EVIL: f"is {EVIL}"}
    classes = {"classes": {EVIL: 3}}
    found = audit(finding, dataset=EVIL, bad=bad, statistics=classes)
    html, outline = page(AuditReport(EVIL, (found,)))
    assert "script" not in outline.tags and "<script" not in html and "\u202e" not in outline.words
    assert all(not str(name).startswith("on") for name, _ in outline.attributes)


def test_the_pictures_are_bounded_and_the_rest_is_counted():
    many = [pairs(40, kind) for kind in ("exact_across_splits", "near_across_splits")]
    report = AuditReport("scans", (audit(*many, pairs(5000, "label_conflict", "warning")),))
    html, outline = page(report)
    assert html.count('class="set"') == audit_page.MAX_SETS
    assert len(shown_images(report)) <= 2 * audit_page.MAX_SETS
    assert "16 more are in the JSON file" in outline.words
    assert "4,988 more are in the JSON file" in outline.words


def test_the_gravest_are_shown_first_over_all_data_sets():
    light = audit(*[pairs(24, "label_conflict", "warning")] * 3, dataset="light")
    grave = audit(pairs(24), dataset="grave")
    shown = shown_images(AuditReport("both", (light, grave)))
    assert sum(ref.startswith("grave: ") for ref in shown) == 48


def test_a_large_set_shows_some_and_counts_the_others():
    members = tuple(f"{n}.jpg" for n in range(9))
    finding = Finding("exact_within_split", "warning", "w", 1, (members,))
    report = AuditReport("scans", (audit(finding),))
    html, outline = page(report)
    assert html.count("<img ") == 4 and "and 5 more" in outline.words


def test_overlaps_have_a_section_of_their_own():
    overlap = Finding("overlap", "warning", "they share 1", 1, (("one: a.jpg", "two: b.jpg"),))
    report = AuditReport("one+two", (audit(dataset="one"), audit(dataset="two")), (overlap,))
    html, outline = page(report)
    assert "Between the data sets" in outline.words and "one: a.jpg" in outline.words
    assert html.count("<img ") == 2
    assert verdict(report) == "1 warning in 2,400 images of 2 data sets."


def test_unreadable_files_are_listed_with_reasons():
    bad = {f"{n}.jpg": "is empty (0 bytes)" for n in range(250)}
    html, outline = page(AuditReport("scans", (audit(bad=bad),)))
    assert html.count("is empty") == 200 and "50 more" in outline.words


def test_a_picture_that_could_not_be_made_leaves_its_name():
    report = AuditReport("scans", (audit(pairs(1)),))
    html = render_audit(report, {"scans: train/0.jpg": Picture("", "cat", "train")})
    assert "<img" not in html and "train/0.jpg" in html and "test/0.jpg" in html


def test_the_same_report_gives_the_same_bytes():
    report = AuditReport("scans", (audit(pairs(3)),))
    assert page(report)[0] == page(report)[0]


@pytest.mark.parametrize("count", [1, 5, 9])
def test_the_table_names_examples_and_counts_the_rest(count):
    text = to_text(audit_table(AuditReport("scans", (audit(pairs(count)),))), 100)
    assert f"LEAK     {count} pairs look alike" in text
    assert text.count(" = ") == min(count, 5)
    assert ("and 4 more" in text) == (count == 9)
    assert text.endswith("1 leak in 1,200 images.\n")


def test_the_table_lists_every_unreadable_file_and_escapes_nothing_into_styles():
    bad = {f"[red]{n}\n.jpg": "is empty" for n in range(30)}
    finding = Finding("unreadable", "warning", "30 images", 30, tuple((name,) for name in bad))
    text = to_text(audit_table(AuditReport("scans", (audit(finding, bad=bad),))), 100)
    assert text.count("is empty") == 30 and "[red]29 .jpg: is empty" in text
