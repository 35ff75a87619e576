"""Small pieces of SVG: scales, markers, a chart's frame. Every text is escaped by ``Markup``.

Hand-made rather than drawn by a plotting library: a chart is 2-6 kB of readable text that scales,
prints, can be selected and read aloud, and needs no library on a cluster's head node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 506, 14, 270
# Okabe & Ito (2008), told apart with any colour vision; without their yellow and with the three
# lightest darkened, so that thin marks keep 3:1 contrast on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B5548B", "#A86F00", "#3A8FC2", "#444444")
_SHAPES = ("circle", "square", "triangle", "diamond", "down")


@dataclass(frozen=True, slots=True)
class Style:
    """Colour and shape of one backbone; 35 before both repeat."""

    colour: str
    shape: str


def style(index: int) -> Style:
    """Style of the ``index``-th backbone, the same in every chart of a page."""
    return Style(_COLOURS[index % len(_COLOURS)], _SHAPES[index % len(_SHAPES)])


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values between ``low`` and ``high`` to pixels between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """A handful of round values within the scale; powers of ten where ``log`` spans some."""
        if self.log and self.high / self.low >= 8:
            return self._log_ticks()
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        factors = (1,) if high - low >= 2 else (1, 2, 5)
        powers = range(math.floor(low), math.ceil(high) + 1)
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        return [t for t in ticks if self.low * 0.999 <= t <= self.high * 1.001]


def fit(
    values: Iterable[float], start: float, end: float, log: bool = False, margin: float = 0.06
) -> Scale:
    """A scale that holds all ``values`` (at least one) with a margin on both sides."""
    found = [math.log10(v) if log else v for v in values]
    low, high = min(found), max(found)
    pad = margin * (high - low) or (0.3 if log else 0.05 * max(abs(high), 0.2))
    low, high = low - pad, high + pad
    return Scale(10**low, 10**high, start, end, log) if log else Scale(low, high, start, end)


def marker(x: float, y: float, look: Style, size: float = 5, hollow: bool = False) -> Markup:
    """One data point."""
    paint = Markup('fill="{}" stroke="{}" stroke-width="1.6"').format(
        "#fff" if hollow else look.colour, look.colour
    )
    if look.shape == "circle":
        return Markup('<circle cx="{}" cy="{}" r="{}" {}/>').format(x, y, size, paint)
    points = " ".join(
        f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in _OUTLINES[look.shape]
    )
    return Markup('<polygon points="{}" {}/>').format(points, paint)


def polyline(points: Sequence[tuple[float, float]], colour: str) -> Markup:
    """A line through ``points``."""
    text = " ".join(f"{x},{y}" for x, y in points)
    return Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1.8"/>').format(
        text, colour
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of a CSS class."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, kind)


def label(x: float, y: float, text: str, anchor: str = "middle", kind: str = "tick") -> Markup:
    """A piece of text of a CSS class."""
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, kind, text
    )


def titled(title: str, *parts: Markup) -> Markup:
    """A group with a tooltip, which needs no script."""
    return Markup("<g><title>{}</title>{}</g>").format(title, Markup("").join(parts))


def figure(title: str, parts: Iterable[Markup], width: float, height: float) -> Markup:
    """The whole picture, named for screen readers; without a title it is decoration to them."""
    role = Markup('role="img" aria-label="{}"').format(title) if title else 'aria-hidden="true"'
    return Markup('<svg viewBox="0 0 {} {}" {}>{}</svg>').format(
        width, height, Markup(role), Markup("").join(parts)
    )


def axes(
    x: Scale,
    y: Scale | None,
    x_title: str,
    y_title: str,
    x_text: Callable[[float], str],
    y_text: Callable[[float], str] = str,
    bottom: float = BOTTOM,
) -> list[Markup]:
    """Grid, ticks and titles; without ``y`` only the horizontal axis."""
    parts = [line(x(t), TOP, x(t), bottom, "grid") for t in x.ticks()]
    parts += [label(x(t), bottom + 18, x_text(t)) for t in x.ticks()]
    parts.append(label((x.start + x.end) / 2, bottom + 40, x_title, kind="axis"))
    if y is None:
        return parts
    parts += [line(x.start, y(t), x.end, y(t), "grid") for t in y.ticks()]
    parts += [label(x.start - 8, y(t) + 4, y_text(t), "end") for t in y.ticks()]
    title = Markup('<text transform="translate(14 {}) rotate(-90)" class="axis" {}>{}</text>')
    middle = (TOP + bottom) / 2
    return [*parts, title.format(middle, Markup('text-anchor="middle"'), y_title)]


_OUTLINES = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.1), (1.1, 0.9), (-1.1, 0.9)),
    "down": ((0, 1.1), (1.1, -0.9), (-1.1, -0.9)),
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
}


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
