"""The page's charts, each one function from results to SVG; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from raybench.analysis import numbers
from raybench.analysis.ranking import Standing
from raybench.analysis.results import TERMINAL, PairResult
from raybench.analysis.tunability import Point, Response
from raybench.report import svg
from raybench.report.svg import Scale, Style

_BAR_WIDTH, _BAR_HEIGHT, _ROW = 200, 22, 30


@dataclass(frozen=True, slots=True)
class Look:
    """How one backbone appears on a page: its short name, colour and shape."""

    name: str
    style: Style


Looks = Mapping[str, Look]


def looks(backbones: Sequence[str]) -> dict[str, Look]:
    """One look per backbone, by position, so that it is the same in every chart."""
    short = numbers.short_names(backbones)
    return {name: Look(short[name], svg.style(index)) for index, name in enumerate(backbones)}


def legend_mark(look: Style) -> Markup:
    """A backbone's marker, for legends and table rows."""
    return svg.figure("", [svg.marker(8, 8, look)], 16, 16)


def interval_scale(ranked: Sequence[Standing]) -> Scale | None:
    """The scale that all interval bars of one task share."""
    found: list[float] = []
    for standing in ranked:
        final = standing.result.final
        found += final.by_unit.values()
        found += final.ci95 or ()
    return svg.fit(found, 6, _BAR_WIDTH - 6) if found else None


def interval_bar(standing: Standing, scale: Scale | None, leader: float | None) -> Markup | None:
    """Mean, 95% interval and single seeds, with the leader's mean as a thin line."""
    final = standing.result.final
    if scale is None or final.mean is None:
        return None
    middle = _BAR_HEIGHT / 2
    parts: list[Markup] = []
    if leader is not None:
        parts.append(svg.line(scale(leader), 0, scale(leader), _BAR_HEIGHT, "leader"))
    if final.ci95 is not None:
        low, high = (scale(end) for end in final.ci95)
        parts.append(svg.line(low, middle, high, middle, "interval"))
    parts += [
        svg.line(scale(v), middle - 4, scale(v), middle + 4, "seed") for v in final.by_unit.values()
    ]
    parts.append(svg.marker(scale(final.mean), middle, Style("#1b2733", "circle"), 4))
    title = numbers.with_interval(final.metric, final.mean, final.ci95)
    return svg.figure(title, parts, _BAR_WIDTH, _BAR_HEIGHT)


def response_chart(responses: Sequence[Response], looks: Looks) -> Markup | None:
    """Validation metric over one hyperparameter: ladder joined, sampled trials beside it."""
    points = [p for r in responses for p in _ended(r)]
    heights = [p.metric_value for p in points if p.metric_value is not None]
    if not heights:
        return None
    first = responses[0]
    log = first.range is not None and first.range.log
    defaults = [] if first.default is None else [first.default]
    x = svg.fit([*defaults, *(p.value for p in points)], svg.LEFT, svg.RIGHT, log=log)
    y = svg.fit(heights, svg.BOTTOM, svg.TOP)
    parts = _axes(x, y, first.name, first.result.metric, log)
    if first.default is not None:
        parts += _default_line(x(first.default))
    for response in responses:
        look = looks[response.result.pair.backbone].style
        parts += _response_marks(response, look, x, y)
    return svg.figure(f"Validation against {first.name}", parts, svg.WIDTH, svg.HEIGHT)


def tuning_chart(results: Sequence[PairResult], looks: Looks) -> Markup | None:
    """Per backbone the default's validation metric (hollow) and the winner's (filled)."""
    shown = [r for r in results if r.tuned is not None and r.default is not None]
    if not shown:
        return None
    bottom = svg.TOP + _ROW * len(shown)
    values = [v for r in shown for v in (r.tuned, r.default) if v is not None]
    metric = shown[0].metric
    x = svg.fit(values, 170, svg.RIGHT)
    parts = svg.axes(
        x, None, _metric_axis(metric), "", lambda v: _tick(metric, v, x), bottom=bottom
    )
    for row, result in enumerate(shown):
        parts.append(
            _dumbbell(result, looks[result.pair.backbone], x, svg.TOP + _ROW * (row + 0.5))
        )
    return svg.figure("Default against tuned", parts, svg.WIDTH, bottom + 50)


def cost_chart(
    results: Sequence[PairResult], costs: Sequence[float | None], x_title: str, looks: Looks
) -> Markup | None:
    """Final test metric over a cost per result (log scale); unknown and zero costs are left out."""
    paired = zip(results, costs, strict=True)
    shown = [(r, cost, r.mean) for r, cost in paired if cost and r.mean is not None]
    if not shown:
        return None
    x = svg.fit([cost for _, cost, _ in shown], svg.LEFT, svg.RIGHT, log=True, margin=0.12)
    y = svg.fit([mean for _, _, mean in shown], svg.BOTTOM, svg.TOP, margin=0.12)
    parts = _axes(x, y, x_title, shown[0][0].final.metric, log=True)
    for result, cost, mean in shown:
        look = looks[result.pair.backbone].style
        title = f"{result.pair.backbone}: {numbers.metric_value(result.final.metric, mean)}"
        parts.append(svg.titled(title, svg.marker(x(cost), y(mean), look, 6)))
    return svg.figure(f"Test metric against {x_title}", parts, svg.WIDTH, svg.HEIGHT)


def _response_marks(response: Response, look: Style, x: Scale, y: Scale) -> list[Markup]:
    winner = response.result.winner.number if response.result.winner else None
    joined = [_place(p, x, y) for p in _ladder(response)]
    parts = [svg.polyline(joined, look.colour)] if len(joined) > 1 else []
    for point in _ended(response):
        place = _place(point, x, y)
        marks = [svg.marker(*place, look, 4.5, hollow=not point.on_ladder)]
        if point.metric_value is None:
            marks = [svg.label(*place, "×", kind="failed")]
        elif point.trial == winner:
            marks.insert(0, svg.marker(*place, Style(look.colour, "circle"), 9, hollow=True))
        parts.append(svg.titled(_point_title(response, point), *marks))
    return parts


def _default_line(x: float) -> list[Markup]:
    return [
        svg.line(x, svg.TOP, x, svg.BOTTOM, "default"),
        svg.label(x + 4, svg.BOTTOM - 6, "default", "start"),
    ]


def _ended(response: Response) -> list[Point]:
    """Trials still at work have seen fewer epochs, so their points would mislead."""
    return [p for p in response.points if p.state in TERMINAL]


def _ladder(response: Response) -> list[Point]:
    return [
        p
        for p in response.points
        if p.on_ladder and p.state == "complete" and p.metric_value is not None
    ]


def _place(point: Point, x: Scale, y: Scale) -> tuple[float, float]:
    """A trial without a value stands on the axis."""
    return (x(point.value), svg.BOTTOM if point.metric_value is None else y(point.metric_value))


def _point_title(response: Response, point: Point) -> str:
    value = numbers.metric_value(response.result.metric, point.metric_value)
    setting = f"{response.name} {numbers.hyperparameter(response.name, point.value)}"
    return (
        f"{response.result.pair.backbone}, trial {point.trial} ({point.state}), {setting}: {value}"
    )


def _dumbbell(result: PairResult, look: Look, x: Scale, y: float) -> Markup:
    assert result.tuned is not None and result.default is not None
    default, tuned = x(result.default), x(result.tuned)
    gain = numbers.metric_change(result.metric, result.gain)
    return svg.titled(
        f"{result.pair.backbone}: {gain}",
        svg.label(160, y + 4, _fitted(look.name), "end", "name"),
        svg.line(default, y, tuned, y, "gain"),
        svg.marker(default, y, look.style, 5, hollow=True),
        svg.marker(tuned, y, look.style, 5.5),
    )


def _fitted(name: str, characters: int = 22) -> str:
    return name if len(name) <= characters else name[: characters - 1] + "…"


def _axes(x: Scale, y: Scale, x_title: str, metric: str, log: bool) -> list[Markup]:
    return svg.axes(
        x,
        y,
        f"{x_title} (log scale)" if log else x_title,
        _metric_axis(metric),
        lambda v: f"{v:g}",
        lambda v: _tick(metric, v, y),
    )


def _metric_axis(metric: str) -> str:
    split = "Validation" if metric.startswith("val/") else "Test"
    return f"{split} {numbers.metric_title(metric)}{' (%)' * numbers.is_percent(metric)}"


def _tick(metric: str, value: float, scale: Scale) -> str:
    """As many digits as neighbouring ticks need to differ."""
    factor = 100 if numbers.is_percent(metric) else 1
    step = min((b - a for a, b in pairwise(scale.ticks())), default=1.0) * factor
    digits = 0 if step >= 0.999 else 1 if step >= 0.0999 else 2 if step >= 0.00999 else 3
    return f"{value * factor:.{digits}f}"
