"""What every plot looks like: two palettes, one Vega-Lite config, one look per backbone.

A spec names no colour: it uses the config's ranges and styles, so that the page can put in CSS
variables (``VARIABLES``) and switch between light and dark without drawing again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.analysis import numbers

Palette = Mapping[str, str]
"""Token -> colour."""

# c0..c6: hues of Okabe & Ito (2008), told apart with any colour vision, without their yellow and
# darkened (lightened) until thin marks keep 3:1 contrast on paper (tests/report/test_theme.py).
LIGHT: Palette = {
    "paper": "#ffffff",
    "ink": "#17212b",
    "soft": "#55636f",
    "line": "#dfe5ea",
    "wash": "#f2f5f7",
    "accent": "#0072b2",
    "c0": "#0072b2",
    "c1": "#d55e00",
    "c2": "#009e73",
    "c3": "#b5548b",
    "c4": "#a86f00",
    "c5": "#3a8fc2",
    "c6": "#444f59",
}
DARK: Palette = {
    "paper": "#161c22",
    "ink": "#e6ecf1",
    "soft": "#9fb0be",
    "line": "#2c3640",
    "wash": "#1d252d",
    "accent": "#4fa8e0",
    "c0": "#4fa8e0",
    "c1": "#f5853f",
    "c2": "#2fbf93",
    "c3": "#e391be",
    "c4": "#e3ab45",
    "c5": "#93d0f2",
    "c6": "#c5d0d9",
}
VARIABLES: Palette = {token: f"var(--{token})" for token in LIGHT}

_COLOURS = tuple(token for token in LIGHT if token.removeprefix("c").isdigit())
COLOURS = len(_COLOURS)
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"

# Vega's names; outlines in a box of -1..1, as Vega draws them up to their size. One more than there
# are colours, so that 56 backbones pass before a pair of both comes back.
_OUTLINES = {
    "circle": "",
    "square": "M-.9 -.9H.9V.9H-.9Z",
    "triangle-up": "M0 -1L1 .75H-1Z",
    "diamond": "M0 -1.2L.85 0L0 1.2L-.85 0Z",
    "cross": "M-.35 -1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
    "triangle-down": "M0 1L1 -.75H-1Z",
    "triangle-right": "M1 0L-.75 1V-1Z",
    "triangle-left": "M-1 0L.75 1V-1Z",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one backbone appears everywhere: its short name, colour (a token) and shape."""

    name: str
    colour: str
    shape: str


def looks(backbones: Sequence[str]) -> dict[str, Look]:
    """One look per backbone, by its place in the sweep file."""
    short, shapes = numbers.short_names(backbones), tuple(_OUTLINES)
    return {
        name: Look(short[name], _COLOURS[i % len(_COLOURS)], shapes[i % len(shapes)])
        for i, name in enumerate(dict.fromkeys(backbones))
    }


def mark_path(shape: str, size: float = 16) -> str:
    """``d`` of an SVG path that draws ``shape`` in the middle of a square."""
    middle, radius = size / 2, 0.36 * size
    if shape == "circle":
        left, right = middle - radius, middle + radius
        arc = f"A{radius:g} {radius:g} 0 1 1"
        return f"M{left:g} {middle:g}{arc} {right:g} {middle:g}{arc} {left:g} {middle:g}Z"
    return _scaled(_OUTLINES[shape], middle, radius)


def config(palette: Palette) -> dict[str, Any]:
    """Vega-Lite config in the colours of ``palette``."""
    ink, soft, line = palette["ink"], palette["soft"], palette["line"]
    return {
        "font": _FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "point": {"opacity": 1},
        "axis": {
            "labelColor": soft,
            "titleColor": ink,
            "gridColor": line,
            "domainColor": line,
            "tickColor": line,
            "labelFontSize": 12,
            "titleFontSize": 12.5,
            "titleFontWeight": "normal",
            "titlePadding": 10,
            "labelOverlap": "greedy",
            "labelSeparation": 6,
        },
        "legend": {
            "labelColor": ink,
            "titleColor": soft,
            "labelFontSize": 12,
            "labelLimit": 200,
            "symbolSize": 90,
            "symbolLimit": 0,
            "columnPadding": 16,
            "rowPadding": 4,
            "offset": 14,
            "orient": "bottom",
        },
        "header": {
            "labelColor": ink,
            "labelFontSize": 13.5,
            "labelFontWeight": "bold",
            "labelAnchor": "start",
            "labelPadding": 8,
            "title": None,
        },
        "title": {
            "color": ink,
            "subtitleColor": soft,
            "fontSize": 19,
            "fontWeight": "bold",
            "subtitleFontSize": 12.5,
            "subtitleLineHeight": 17,
            "subtitlePadding": 7,
            "anchor": "start",
            "frame": "bounds",
            "offset": 22,
        },
        "range": {
            "category": [palette[token] for token in _COLOURS],
            "symbol": list(_OUTLINES),
        },
        "style": {
            "name": {"color": ink, "fontSize": 12.5},
            "strong": {"color": ink, "fontSize": 12.5, "fontWeight": "bold"},
            "note": {"color": soft, "fontSize": 11.5},
            "rule": {"color": soft},
            "faint": {"color": line},
            "ink": {"color": ink},
            "shade": {"color": palette["accent"]},
            "band": {"color": palette["wash"]},
            "hollow": {"fill": palette["paper"]},
            "ring": {"color": ink, "fill": "transparent"},
        },
    }


def _scaled(path: str, middle: float, radius: float) -> str:
    """A path of -1..1 in absolute commands, moved and grown; ``H`` and ``V`` take one number."""

    def place(match: re.Match[str]) -> str:
        found = [float(number) for number in match[2].split()]
        return match[1] + " ".join(f"{middle + radius * number:g}" for number in found)

    return re.sub(r"([MLHV])([^MLHVZ]+)", place, path)
