"""The page in Chromium: quiet, complete, sortable and filterable, on a desk, a phone and paper."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raybench.analysis.whole import Analysis
from raybench.report.page import write_html
from tests.postgres_server import missing
from tests.wide_sweep import MadeUpPredictions, wide_snapshot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.slow]
SECTIONS = (
    "results ranking across tuning cost learning data-size quality pairs failures provenance"
).split()
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if importlib.util.find_spec("playwright") is None:
        missing("playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        missing("there is no chromium")
    from playwright.sync_api import sync_playwright

    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=root)
        yield found
        found.close()


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    analysis = Analysis(wide_snapshot(5, 7), MadeUpPredictions())
    first = analysis.results[0].pair.id
    links = {first: "https://mlflow.example/#/runs/1"}
    return write_html(analysis, tmp_path_factory.mktemp("page") / "report.html", links=links)


def opened(browser: Browser, html: Path, size: dict[str, int] = DESK, **options: Any) -> Page:
    """The page with all its charts drawn, without a word on the console or a request.

    ``bypass_csp`` is for tests that evaluate expressions in the page, which its policy forbids.
    """
    page = browser.new_page(viewport=size, **options)
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url))
    page.goto(html.as_uri())
    page.wait_for_selector(".plot")
    for plot in page.locator(".plot").all():
        plot.locator("xpath=self::*[@data-drawn]").wait_for(state="attached", timeout=WAIT_MS)
    assert complaints == [html.as_uri()]
    return page


@pytest.fixture(scope="module")
def desk(browser: Browser, html: Path) -> Page:
    return opened(browser, html)


def column(page: Page, table: str, place: int) -> list[str]:
    """Texts of a column of the rows that are shown."""
    return page.locator(f"{table} tbody tr:visible > :nth-child({place + 1})").all_inner_texts()


def table_of(page: Page, section: str) -> str:
    name = page.locator(f"#{section} table").first.get_attribute("id")
    return f"[id='{name}']"


def test_every_section_is_there_with_its_anchor(desk: Page) -> None:
    assert [s.get_attribute("id") for s in desk.locator("main > section").all()] == SECTIONS
    hrefs = [a.get_attribute("href") for a in desk.locator(".bar-top nav a").all()]
    assert hrefs == [f"#{name}" for name in SECTIONS]


def test_every_chart_is_drawn(desk: Page) -> None:
    plots = desk.locator(".plot")
    assert plots.count() >= 10
    for plot in plots.all():
        assert plot.get_attribute("data-drawn") == "yes", plot.get_attribute("data-plot")
        assert plot.locator("svg.marks path, svg.marks line").count() > 3


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_tables_sort_by_mouse_and_keyboard(browser: Browser, html: Path, how: str) -> None:
    page = opened(browser, html)
    table = table_of(page, "pairs")
    heading = page.locator(f"{table} thead th").nth(3)
    button = heading.locator("button")

    def press() -> list[float]:
        if how == "mouse":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")
        texts = column(page, table, 3)
        return [float(t.split("%")[0]) if "%" in t else float("-inf") for t in texts]

    before = column(page, table, 3)
    falling = press()
    assert heading.get_attribute("aria-sort") == "descending"
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[10]
    rising = press()
    assert heading.get_attribute("aria-sort") == "ascending"
    known = [value for value in rising if value > float("-inf")]
    assert known == sorted(known) and rising[: len(known)] == known
    press()
    assert heading.get_attribute("aria-sort") is None
    assert column(page, table, 3) == before
    page.close()


def test_filters_narrow_a_table_down(browser: Browser, html: Path) -> None:
    page = opened(browser, html)
    table = table_of(page, "pairs")
    form = page.locator("#pairs form")
    shown = page.locator(f"{table} tbody tr:visible")
    rows = shown.count()
    form.get_by_label("Search").focus()
    page.keyboard.type("DENSENET")
    assert 0 < shown.count() < rows
    assert all("densenet" in name for name in column(page, table, 0))
    assert form.locator("output").inner_text() == f"{shown.count()} of {rows} rows"
    form.get_by_label("Search").fill("")
    form.get_by_label("Task").select_option("cifar100")
    assert set(column(page, table, 1)) == {"cifar100"}
    page.close()


def test_one_choice_of_task_moves_panels_and_charts(browser: Browser, html: Path) -> None:
    page = opened(browser, html)
    picker = page.locator("#ranking select[data-choice=task]")
    assert page.locator("#ranking .panel:visible").count() == 1
    before = page.locator("#chart-response .plot svg").inner_html()
    picker.select_option("cifar100")
    assert page.locator("#ranking .panel:visible").get_attribute("data-task") == "cifar100"
    assert page.locator("#tuning select[data-choice=task]").first.input_value() == "cifar100"
    page.locator("#chart-response .of-task", has_text="cifar100").wait_for(timeout=WAIT_MS)
    assert page.locator("#chart-response .plot svg").inner_html() != before
    page.close()


def test_the_theme_follows_the_system_and_the_button_and_is_kept(
    browser: Browser, html: Path
) -> None:
    page = opened(browser, html, color_scheme="dark", bypass_csp=True)
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.plot svg text')).fill"
    dark, drawn = shade(page, paper), shade(page, ink)
    page.locator(".theme").click()
    light, redrawn = shade(page, paper), shade(page, ink)
    assert dark < 60 < 200 < light and drawn > redrawn
    page.reload()
    page.wait_for_selector("html.js")
    assert shade(page, paper) == light
    page.close()


def shade(page: Page, expression: str) -> float:
    """Mean of the colour's three parts."""
    parts = re.findall(r"[\d.]+", str(page.evaluate(f"() => {expression}")))[:3]
    return sum(map(float, parts)) / 3


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_never_scrolls_sideways(
    browser: Browser, html: Path, size: dict[str, int]
) -> None:
    page = opened(browser, html, size, bypass_csp=True)
    wide = page.locator("html").evaluate("root => root.scrollWidth")
    assert wide <= size["width"]
    for scroller in page.locator(".scroll:visible").all():
        box = scroller.bounding_box()
        assert box is not None and box["x"] + box["width"] <= size["width"]
    page.close()


def test_a_matrix_of_one_task_has_its_intervals_below_its_values(
    browser: Browser, tmp_path: Path
) -> None:
    analysis = Analysis(wide_snapshot(3, 2))
    (one, *_) = analysis.tasks
    pairs = tuple(r.pair for r in analysis.results if r.task == one)
    alone = Analysis(replace(analysis.snapshot, pairs=pairs))
    page = opened(browser, write_html(alone, tmp_path / "one.html"), bypass_csp=True)
    for cell in page.locator(".matrix tbody td").all():
        off = cell.evaluate(_OFF_CENTRE)
        assert max(map(abs, off)) < 16, "the mark of the first tier stands beside a value"
        assert cell.evaluate("cell => cell.clientWidth") < 200
    page.close()


_OFF_CENTRE = """cell => [...cell.childNodes].map((node) => {
  const range = document.createRange(); range.selectNodeContents(node);
  const [box, own] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
  return (box.left + box.right - own.left - own.right) / 2;
}).filter((off, place, all) => place === 0 || place === all.length - 1)"""


def test_what_goes_on_to_the_right_says_so(browser: Browser, html: Path) -> None:
    page = opened(browser, html, PHONE, bypass_csp=True)
    scroller = page.locator("#pairs .scroll")
    hint = page.locator("#pairs .scroll + .swipe")
    assert hint.is_visible()
    scroller.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    hint.wait_for(state="hidden", timeout=WAIT_MS)
    page.close()


def test_rank_changes_fit_a_phone(browser: Browser, html: Path) -> None:
    page = opened(browser, html, PHONE, bypass_csp=True)
    box = page.locator("#chart-rank-change .scroll")
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    left, right = page.locator("#chart-rank-change .role-axis-label text").all()
    ends = [text.bounding_box() for text in (left, right)]
    assert ends[0] and ends[1] and ends[0]["x"] + ends[0]["width"] < ends[1]["x"]
    page.close()


def test_paper_has_every_panel_and_every_chart(browser: Browser, html: Path) -> None:
    page = opened(browser, html)
    page.emulate_media(media="print")
    page.locator("body").dispatch_event("beforeprint")
    assert (
        page.locator("#ranking .panel:visible").count() == page.locator("#ranking .panel").count()
    )
    charts: Locator = page.locator(".plot svg.marks")
    assert all(chart.is_visible() for chart in charts.all())
    assert not page.locator(".bar-top").is_visible()
    page.close()


def test_words_and_tables_stand_without_scripts(browser: Browser, html: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(html.as_uri())
    assert (
        page.locator("#ranking .panel:visible").count() == page.locator("#ranking .panel").count()
    )
    assert not page.locator(".controls").first.is_visible()
    assert "the numbers stand in the tables" in page.locator("#ranking").inner_text()
    context.close()


def test_the_keyboard_reaches_results_first(browser: Browser, html: Path) -> None:
    page = opened(browser, html)
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the results" and focused.is_visible()
    page.keyboard.press("Enter")
    assert page.url.endswith("#results")
    page.close()
