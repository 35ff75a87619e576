"""The page: complete, self-contained, escaped, and the same bytes for the same analysis."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.analysis.constraints import Constraints
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot
from raybench.report import page
from raybench.report.page import render_html, script_json, write_html
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
LIBRARY = "window.vegaEmbed = () => {};"
VOID = {"img", "meta", "br", "wbr", "input", "path", "use"}
SECTIONS = (
    "results ranking across tuning cost learning data-size quality pairs failures provenance"
).split()


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
        if self.stack and self.stack[-1] not in {"script", "style"}:
            self.text.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value or "" for name, value in self.attributes if name == attribute]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def html_of(snapshot: SweepSnapshot, **options: Any) -> str:
    return render_html(Analysis(snapshot), LIBRARY, **options)


@cache
def realistic() -> str:
    return html_of(realistic_snapshot())


@cache
def outline() -> Outline:
    return Outline(realistic())


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
    "profiled": profiled_snapshot(),
    "empty": empty_snapshot(),
    "no pairs": make_snapshot(),
    "all failed": all_failed(),
    "one seed": one_seed(),
    "undefined metric": undefined_metric(),
}


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a page's time."""
    monkeypatch.setattr(page, "all_plots", lambda _: ())


@pytest.mark.usefixtures("no_charts")
@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_is_self_contained_and_well_formed(snapshot: SweepSnapshot) -> None:
    html = html_of(snapshot)
    found = Outline(html)
    assert not {"link", "iframe", "img", "object", "base"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not {"src", "srcset"} & names and not [name for name in names if name.startswith("on")]
    assert all(href.startswith("#") for href in found.values("href"))
    assert not re.search(r"url\(|@import|https?://", html)
    numbers = " ".join(found.values("style") + found.values("data-v") + found.text)
    assert "nan" not in re.findall(r"[a-z]+", numbers)


def test_ids_are_unique_and_every_anchor_has_its_place() -> None:
    ids = outline().values("id")
    assert len(ids) == len(set(ids))
    wanted = [href[1:] for href in outline().values("href")]
    wanted += [name for value in outline().values("aria-labelledby") for name in value.split()]
    wanted += outline().values("data-table")
    assert set(wanted) <= set(ids)


def test_the_answer_comes_first_and_every_section_is_there_in_order() -> None:
    words = outline().words
    first = Analysis(realistic_snapshot()).headline.first
    assert words.index(" ".join(first.split())) < words.index("Backbones")
    found = re.findall(r'<section id="([\w-]+)"', realistic())
    assert found == SECTIONS


@pytest.mark.usefixtures("no_charts")
def test_limits_are_answered_at_the_top() -> None:
    analysis = Analysis(realistic_snapshot(), constraints=Constraints(max_params_m=3.0))
    words = Outline(render_html(analysis, LIBRARY)).words
    assert words.count("Under the limits (at most 3 M parameters)") == 1
    assert words.index("Under the limits") < words.index("Pairs done")


def test_headings_are_in_order() -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])", realistic())]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))


def test_every_table_has_a_caption_and_scopes() -> None:
    tables = re.findall(r"<table.*?</table>", realistic(), re.DOTALL)
    assert len(tables) > 5
    for table in tables:
        assert re.search(r"<caption><span>[^<]+</span>", table)
        assert "<th>" not in table
        rows = re.findall(r"<tr[ >].*?</tr>", table.partition("<tbody>")[2], re.DOTALL)
        assert all(row.count('<th scope="row"') == 1 for row in rows)


def test_every_control_has_a_name() -> None:
    for control in re.findall(r"<(?:select|input)[^>]*>", realistic()):
        place = realistic().index(control)
        label = realistic().rindex("<label>", 0, place)
        assert "</label>" not in realistic()[label:place]


def test_facts_that_a_reader_needs() -> None:
    words = outline().words
    assert "Pairs done 5 of 8" in words
    assert "digits 10 1,077 360 360 sha256:5f1d0c7a9e" in words.replace("digits digits", "digits")
    assert "ladder (lr (3e-05, 0.0001, 0.0003, 0.001, 0.003))" in words
    assert "torch 2.11.0" in words
    assert "5 final runs of earlier winners stay in the ledger" in words
    assert "torchvision:resnet18 on digits (full)" in words
    assert "No backbone" not in words


def test_names_and_reasons_are_escaped() -> None:
    html = realistic()
    assert "<b>" not in html
    assert "<script>x" not in html
    assert "&lt;script&gt;x&lt;/script&gt; &amp; co" in html


def test_charts_are_as_closed_as_the_rest() -> None:
    assert not re.search(r"url\(|@import|https?://", realistic())
    assert not {"link", "iframe", "img", "object", "base"} & set(outline().tags)


@pytest.mark.usefixtures("no_charts")
@pytest.mark.parametrize("field", ["sweep", "dataset", "subset", "fact", "spec", "backbone"])
def test_hostile_text_stays_text_wherever_it_comes_from(field: str) -> None:
    hostile = "\"><img src=x onerror='alert(1)'></script><script>alert(2)</script>{{ 7 * 7 }}"
    pair: dict[str, Any] = {"dataset": "digits", "subset": "full", "facts": FACTS}
    if field in pair:
        pair[field] = hostile
    if field == "fact":
        pair["facts"] = {**FACTS, "data_digest": hostile, "leaks": hostile, "domain": hostile}
    name = hostile if field == "backbone" else "resnet10t"
    trials = [search_trial(NAME, 0), *(final_trial(NAME, i, i, 0.8 + i / 50) for i in range(3))]
    snapshot = make_snapshot(make_pair(name, trials, **pair), make_pair("other", trials, **pair))
    if field == "spec":
        snapshot = replace(snapshot, spec={**snapshot.spec, "recipe": {hostile: hostile}})
    if field == "sweep":
        snapshot = replace(snapshot, sweep=hostile, description=hostile)
    html = html_of(snapshot)
    found = Outline(html)
    assert "img" not in found.tags and found.tags.count("script") == 2
    assert html.count("alert(2)") == html.count("&lt;script&gt;alert(2)") > 0
    assert ">49" not in " ".join(found.text)


def test_json_in_a_script_cannot_end_it_and_reads_back() -> None:
    value = {"name": "</script><!-- & \u2028 <b>"}
    text = str(script_json(value))
    assert not set("<>&") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json({"x": float("nan")})


def test_only_the_scripts_of_the_page_may_run() -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', realistic())
    assert policy is not None
    allowed = re.findall(r"sha256-([\w+/=]+)", policy[1])
    scripts = re.findall(r'<script(?: type="module")?>(.*?)</script>', realistic(), re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert digests == allowed and len(digests) == 3
    assert "default-src 'none'" in unescape(policy[1]) and "unsafe-eval" not in policy[1]


def test_charts_come_with_their_data_and_the_theme() -> None:
    names = outline().values("data-plot")
    assert {"ranking", "default-against-tuned", "response", "budget", "pareto"} <= set(names)
    for name in names:
        (text,) = re.findall(f'id="spec-{name}">(.*?)</script>', realistic())
        assert json.loads(text)["datasets"]
    config = re.search(r'id="chart-config">(.*?)</script>', realistic())
    assert config is not None and "var(--ink)" in config[1]


def test_every_plot_for_the_page_has_its_place() -> None:
    """A plot that no section asks for would be drawn for nobody."""
    analysis = Analysis(realistic_snapshot())
    plots = [plot.name for plot in page.all_plots(analysis) if plot.on_page]
    assert sorted(outline().values("data-plot")) == sorted(plots)


def test_without_charts_there_is_no_library() -> None:
    html = html_of(make_snapshot())
    assert LIBRARY not in html and "chart-config" not in html


def test_the_spec_reads_back_as_yaml() -> None:
    block = re.search(r"<summary>The whole.*?(<pre[^>]*>.*?</pre>)", realistic(), re.DOTALL)
    assert block is not None
    assert yaml.safe_load(Outline(block[1]).text[0]) == realistic_snapshot().spec


@pytest.mark.usefixtures("no_charts")
def test_only_web_addresses_become_links() -> None:
    snapshot = realistic_snapshot()
    first, second = snapshot.pairs[:2]
    links = {first.id: "https://mlflow.example/#/runs/1", second.id: "javascript:alert(1)"}
    found = Outline(html_of(snapshot, links=links))
    outside = {href for href in found.values("href") if not href.startswith("#")}
    assert outside == {"https://mlflow.example/#/runs/1"}


def test_same_analysis_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "javascript_bundle", lambda _: LIBRARY)
    analysis = Analysis(realistic_snapshot())
    file = write_html(analysis, tmp_path / "a.html")
    assert file.read_text(encoding="utf-8") == realistic()


@pytest.mark.usefixtures("no_charts")
def test_costs_or_how_to_measure_them() -> None:
    assert "“raybench profile quickstart” measures" in outline().words
    html = html_of(profiled_snapshot())
    words = Outline(html).words
    assert "cpu, fp32, 1 CPU thread, 96 px" in words and "Not measured yet" not in words
    assert "shared: timings may be too long" in words
    assert "<b>" not in html


@pytest.mark.usefixtures("no_charts")
def test_the_oracle_is_badged_wherever_its_number_stands() -> None:
    pair = make_pair("resnet10t", [final_trial(NAME, 0, 0, 0.9, oracle=0.934)])
    html = html_of(make_snapshot(pair, final={"selection": "oracle"}))
    assert 'title="oracle: the test split was read after every epoch">O</abbr>' in html
    assert "Oracle selection was on" in html
    assert ">O</abbr>" not in realistic()
