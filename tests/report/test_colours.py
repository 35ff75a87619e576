"""Contrast of the page's colours, light and dark, by WCAG 2.2's formula; one source for charts."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from raybench.report.plots import theme

CSS = files("raybench.report").joinpath("templates", "base.css").read_text(encoding="utf-8")
FOUND = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", CSS)
LIGHT = {name: light for name, light, _ in FOUND}
DARK = {name: dark for name, _, dark in FOUND}
SIDES = {"light": LIGHT, "dark": DARK}
TEXT_ON = [
    ("ink", "paper"),
    ("ink", "wash"),
    ("ink", "heat"),
    ("soft", "paper"),
    ("soft", "wash"),
    ("accent", "paper"),
    ("good", "good-wash"),
    ("busy", "busy-wash"),
    ("bad", "bad-wash"),
]


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_on_known_pairs() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_can_be_read(side: str, text: str, ground: str) -> None:
    """4.5:1; a shaded cell lies between paper and heat, so the two ends bound it."""
    colours = SIDES[side]
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("side", SIDES)
def test_focus_and_borders_of_controls_can_be_seen(side: str) -> None:
    colours = SIDES[side]
    assert contrast(colours["accent"], colours["paper"]) >= 3
    assert contrast(colours["soft"], colours["paper"]) >= 3


@pytest.mark.parametrize(("css", "plots"), [(LIGHT, theme.LIGHT), (DARK, theme.DARK)])
def test_page_and_charts_share_their_colours(css: dict[str, str], plots: dict[str, str]) -> None:
    shared = css.keys() & plots.keys()
    assert shared >= {"paper", "ink", "soft", "line", "accent", "wash"}
    assert {name: css[name] for name in shared} == {name: plots[name] for name in shared}
