"""Colours that everybody can tell apart and read, and one look per backbone."""

from __future__ import annotations

import json
import re

import pytest

from raybench.report.plots import theme
from raybench.report.plots.theme import DARK, LIGHT, VARIABLES, Palette

MARKS = [token for token in LIGHT if re.fullmatch(r"c\d", token)]


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    shares = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(a: str, b: str) -> float:
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_marks_stand_out_by_3_and_text_by_4_and_a_half(palette: Palette) -> None:
    assert all(_contrast(palette[token], palette["paper"]) >= 3 for token in MARKS)
    assert all(_contrast(palette[token], palette["paper"]) >= 4.5 for token in ("ink", "soft"))
    assert _contrast(palette["soft"], palette["wash"]) >= 4.5


def test_both_palettes_and_the_variables_have_the_same_tokens() -> None:
    assert LIGHT.keys() == DARK.keys() == VARIABLES.keys()
    assert VARIABLES["c3"] == "var(--c3)"


def test_the_config_takes_every_colour_from_its_palette() -> None:
    text = json.dumps(theme.config(VARIABLES))
    assert "#" not in text
    assert set(re.findall(r"var\(--(\w+)\)", text)) == LIGHT.keys() - {"c"}


def test_56_backbones_pass_before_a_look_comes_again() -> None:
    looks = [
        (look.colour, look.shape) for look in theme.looks([f"m{i}" for i in range(57)]).values()
    ]
    assert len(set(looks)) == 56
    assert looks[56] == looks[0]


def test_a_look_has_the_short_name_and_follows_the_sweep_file() -> None:
    looks = theme.looks(["timm:resnet10t.c3_in1k", "timm:vit.x", "timm:resnet10t.c3_in1k"])
    assert [(look.name, look.colour, look.shape) for look in looks.values()] == [
        ("resnet10t", "c0", "circle"),
        ("vit", "c1", "square"),
    ]


def test_every_shape_is_drawn_inside_its_box() -> None:
    ranges = theme.config(LIGHT)["range"]
    for shape in ranges["symbol"]:
        path = theme.mark_path(shape, 16)
        assert path.startswith("M") and path.endswith("Z")
        assert all(0 <= float(number) <= 16 for number in re.findall(r"[\d.]+", path))
    assert theme.mark_path("square", 16) == "M2.816 2.816H13.184V13.184H2.816Z"
