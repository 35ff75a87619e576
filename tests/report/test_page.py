"""The page: complete, self-contained, escaped, and the same bytes for the same snapshot."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.records import SweepSnapshot
from raybench.report.page import render_html, write_html
from tests.factories import (
    FACTS,
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    profiled_snapshot,
    realistic_snapshot,
    search_trial,
)

NAME = pair_id("resnet10t")
VOID = {"img", "meta", "br", "circle", "line", "polygon", "polyline"}


class Outline(HTMLParser):
    """Collects text, tags and attributes; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def all_failed() -> SweepSnapshot:
    trials = [search_trial(NAME, i, state="failed", values=(), failure="oom") for i in range(3)]
    return make_snapshot(make_pair("resnet10t", trials, state="failed", facts={}))


def one_seed() -> SweepSnapshot:
    return make_snapshot(
        make_pair("resnet10t", [search_trial(NAME, 0), final_trial(NAME, 0, 0, 0.9)], seeds=(0,))
    )


def undefined_metric() -> SweepSnapshot:
    """AUROC of one class is absent from every record."""
    trials = [search_trial(NAME, i, metric="val/accuracy") for i in range(2)]
    return make_snapshot(make_pair("resnet10t", trials), metric="val/auroc")


SNAPSHOTS = {
    "realistic": realistic_snapshot(),
    "empty": empty_snapshot(),
    "no pairs": make_snapshot(),
    "all failed": all_failed(),
    "one seed": one_seed(),
    "undefined metric": undefined_metric(),
}


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_is_self_contained_and_well_formed(snapshot: SweepSnapshot) -> None:
    html = render_html(snapshot)
    page = Outline(html)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "onclick"}
    assert not re.search(r"url\(|@import|https?://", html)
    assert "nan" not in re.findall(r"[a-z]+", " ".join(v or "" for _, v in page.attributes))


def test_the_answer_comes_first_and_every_section_is_there() -> None:
    words = Outline(render_html(realistic_snapshot())).words
    order = [
        "On digits resnet10t leads with 97.5% ± 0.8",
        "How each backbone responds to lr",
        "What tuning bought",
        "Against device time",
        "Against size",
        "What the numbers are",
        "Budget and protocol",
        "Failures",
        "How to reproduce",
    ]
    places = [words.index(text) for text in order]
    assert places == sorted(places)


def test_facts_that_a_reader_needs() -> None:
    words = Outline(render_html(realistic_snapshot())).words
    assert "pairs done 5 of 8" in words
    assert "digits 10 1,077 360 360 sha256:5f1d0c7a9e" in words
    assert "360 test images: at an accuracy of 97.5% drawing other ones moves it by about" in words
    assert "ladder (lr (3e-05, 0.0001, 0.0003, 0.001, 0.003))" in words
    assert "torch 2.11.0" in words
    assert "5 final runs belong to earlier winners" in words
    assert "torchvision:resnet18 on digits (full)" in words


def test_names_and_reasons_are_escaped() -> None:
    html = render_html(realistic_snapshot())
    assert "<b>" not in html
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt; &amp; co" in html


@pytest.mark.parametrize("field", ["sweep", "dataset", "subset", "fact", "spec"])
def test_hostile_text_stays_text_wherever_it_comes_from(field: str) -> None:
    hostile = "\"><img src=x onerror='alert(1)'>{{ 7 * 7 }}"
    pair: dict[str, Any] = {"dataset": "digits", "subset": "full", "facts": FACTS}
    if field in pair:
        pair[field] = hostile
    if field == "fact":
        pair["facts"] = {**FACTS, "data_digest": hostile}
    snapshot = make_snapshot(make_pair("resnet10t", [search_trial(NAME, 0)], **pair))
    if field == "spec":
        snapshot = make_snapshot(*snapshot.pairs, recipe={hostile: hostile})
    page = Outline(render_html(snapshot))
    assert "img" not in page.tags
    assert ">49" not in " ".join(page.text)


def test_the_spec_reads_back_as_yaml() -> None:
    snapshot = realistic_snapshot()
    html = render_html(snapshot)
    block = re.search(r"<summary>.*?<pre>(.*?)</pre>", html, re.DOTALL)
    assert block is not None
    assert yaml.safe_load(Outline(block[1]).text[0]) == snapshot.spec


def test_charts_appear_only_where_there_is_something_to_draw() -> None:
    assert "<figure>" not in render_html(empty_snapshot())
    assert render_html(realistic_snapshot()).count("<figure>") == 8
    assert render_html(undefined_metric()).count("<figure>") == 0


def test_the_oracle_gets_its_own_column_and_badge() -> None:
    pair = make_pair("resnet10t", [final_trial(NAME, 0, 0, 0.9, oracle=0.934)])
    html = render_html(make_snapshot(pair, final={"selection": "oracle"}))
    assert "oracle</th>" in html
    assert "93.4%" in html
    assert "Oracle selection was on" in html
    assert "oracle</th>" not in render_html(realistic_snapshot())


def test_same_snapshot_same_bytes(tmp_path: Path) -> None:
    first = write_html(realistic_snapshot(), tmp_path / "a.html").read_bytes()
    assert write_html(realistic_snapshot(), tmp_path / "b.html").read_bytes() == first


def test_costs_or_how_to_measure_them() -> None:
    html = render_html(realistic_snapshot())
    assert "Not measured yet: <code>raybench profile quickstart</code>" in html
    text = Outline(render_html(profiled_snapshot())).words
    assert "cpu, fp32, 1 CPU thread, 96 px" in text and "Not measured yet" not in text
    assert "shared: timings may be too long" in text and "Against latency" in text
    assert "<b>" not in render_html(profiled_snapshot()).split("<h2>Cost</h2>")[1]
