"""Scales, ticks and escaping."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.report import svg


def test_linear_and_log_scales_map_their_ends() -> None:
    linear = svg.Scale(0, 10, 100, 200)
    assert [linear(v) for v in (0, 5, 10)] == [100, 150, 200]
    log = svg.Scale(1e-4, 1e-2, 0, 100, log=True)
    assert [log(v) for v in (1e-4, 1e-3, 1e-2)] == [0, 50, 100]


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (svg.Scale(0.58, 0.91, 0, 1), [0.6, 0.7, 0.8, 0.9]),
        (svg.Scale(2e-5, 2e-2, 0, 1, log=True), [1e-4, 1e-3, 1e-2]),
        (svg.Scale(1, 10, 0, 1, log=True), [1, 2, 5, 10]),
        (svg.Scale(22, 41, 0, 1, log=True), [25, 30, 35, 40]),
    ],
)
def test_ticks_are_round(scale: svg.Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6), st.booleans())
def test_fit_holds_every_value(values: list[float], log: bool) -> None:
    scale = svg.fit(values, 0, 100, log)
    assert all(0 <= scale(v) <= 100 for v in values)
    assert all(math.isfinite(t) for t in scale.ticks())


def test_many_backbones_stay_apart() -> None:
    assert len({svg.style(index) for index in range(35)}) == 35


@pytest.mark.parametrize("colour", sorted({svg.style(i).colour for i in range(7)}))
def test_colours_have_contrast_on_white(colour: str) -> None:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert 1.05 / (luminance + 0.05) >= 3  # WCAG 2.1, graphical objects


def test_every_text_is_escaped() -> None:
    hostile = "</text><script>\"'&"
    look = svg.style(0)
    parts = [
        svg.label(0, 0, hostile),
        svg.titled(hostile, svg.marker(1, 1, look)),
        svg.line(0, 0, 1, 1, hostile),
        *svg.axes(svg.Scale(0, 1, 0, 1), svg.Scale(0, 1, 0, 1), hostile, hostile, str),
    ]
    for part in itertools.chain(parts, [svg.figure(hostile, parts, 10, 10)]):
        assert "<script>" not in part
