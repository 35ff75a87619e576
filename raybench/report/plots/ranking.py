"""Who leads: each task's ranking, the heatmap of all of them, chances to be best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.results import final_metric
from raybench.analysis.whole import Analysis, TaskAnalysis
from raybench.report.plots.marks import (
    ROW,
    Cast,
    across,
    ends,
    metric_axis,
    only,
    points,
    row_names,
    rows_axis,
    tooltip,
)
from raybench.report.plots.plot import Layers, Plot, Row, Rows
from raybench.report.wording import LOOSE, tier_text

_LIKELY = 0.005
_EVERY = "all data sets"


def ranking(analysis: Analysis, cast: Cast) -> Plot | None:
    """Per task: means with intervals, best first, tiers shaded in turn."""
    rows = [row for task in analysis.tasks.values() for row in _ranking_rows(task, cast)]
    if not any(row["kind"] == "result" for row in rows):
        return None
    metric = metric_axis(final_metric(analysis.snapshot.metric))
    return Plot(
        name="ranking",
        title=_ranking_title(analysis),
        caption=(
            f"Mean {metric[0].lower()}{metric[1:]}, best first. Thick: 95% interval over final "
            f"{_units(analysis)}; thin: over the test images too, where predictions are kept; "
            "ticks: single runs. Tiers are shaded in turn: a tier is its best backbone and those "
            "that cannot be told apart from it (5%, Holm over all pairs of the task)."
            f"{_loose(rows)}"
        ),
        chart=_ranking_chart(metric, cast),
        rows=rows,
        choices={"task": tuple(analysis.tasks)},
    )


def _ranking_chart(metric: str, cast: Cast) -> Layers:
    def x(field: str) -> alt.X:
        """Leaves the right edge to the tiers' names."""
        return across(field, metric, rangeMax=alt.ExprRef("wide - 52"))

    base = alt.Chart().encode(y=rows_axis(cast.name_width))
    result = base.transform_filter(only("result")).encode(tooltip=_TIP)
    tier = base.mark_text(style="note", align="right", x=alt.ExprRef("wide - 4"))
    state = base.mark_text(style="note", align="left", x=8).encode(text="state:N")
    both = result.mark_rule(style="rule", strokeWidth=1.4)
    seeds = result.mark_rule(style="rule", strokeWidth=5, opacity=0.4)
    runs = base.mark_tick(style="ink", size=11, thickness=1).encode(x=x("value"))
    mean = result.encode(x=x("mean"), color=cast.plain_colour, shape=cast.plain_shape)
    layers = [
        base.mark_rect(style="band").transform_filter("datum.tier % 2 === 1"),
        tier.encode(text="tier_name:N").transform_filter("isValid(datum.tier_name)"),
        both.encode(x=x("both_low"), x2="both_high:Q"),
        seeds.encode(x=x("low"), x2="high:Q"),
        runs.transform_filter(only("run")),
        mean.mark_point(filled=True, size=95),
        state.transform_filter(only("none")),
        row_names("isValid(datum.backbone)", cast.name_width),
    ]
    return alt.layer(*layers).properties(height=alt.Step(ROW))


def chances(analysis: Analysis, cast: Cast) -> Plot | None:
    """How likely each backbone is the best of a task, or over all data sets."""
    found = list(_chances(analysis))
    rows = [row for name, shares in found for row in _chance_rows(name, shares, cast)]
    if not rows:
        return None
    task, ((leader, share), *_) = found[0]
    scope, metric = f"on {task}", numbers.metric_title(final_metric(analysis.snapshot.metric))
    what, overall = f"to have the best mean {metric}", analysis.overall.chances
    if task == _EVERY and overall is not None:
        what, scope = overall.of, f"over {overall.scope}"
    return Plot(
        name="chances",
        title=f"{cast.names[leader]}: {numbers.chance(share)} {what} {scope}",
        caption=(
            "Share of joint draws from what the final seeds (and, with predictions, the test "
            "images) leave open in which the backbone has the best mean; over data sets: the best "
            f"mean {metric} of them all. Those under 0.5% are left out."
        ),
        chart=_chance_chart(cast),
        rows=rows,
        choices={"task": tuple(name for name, _ in found)},
    )


def _chance_chart(cast: Cast) -> Layers:
    room: dict[str, Any] = {"padding": 0, "domain": [0, 100], "nice": False}
    title = "Probability of being the best (%)"
    x = across("chance", title, rangeMax=alt.ExprRef("wide - 46"), **room)
    base = alt.Chart().encode(x=x, y=rows_axis(cast.name_width), tooltip=_CHANCE_TIP)
    bars = base.mark_bar(height={"band": 0.62}, cornerRadiusEnd=3).encode(color=cast.plain_colour)
    words = base.mark_text(style="name", align="left", dx=6).encode(text="shown:N")
    names = row_names("true", cast.name_width)
    return alt.layer(bars, words, names).properties(height=alt.Step(ROW))


_TIP = tooltip(
    backbone="backbone", shown="test", rank="rank", tier_shown="tier", chance="chance to be best"
)
_CHANCE_TIP = tooltip(backbone="backbone", shown="probability of being the best")


def _ranking_rows(task: TaskAnalysis, cast: Cast) -> Iterator[Row]:
    above: int | None = None
    for number, standing in enumerate(task.standings, 1):
        final, sure = standing.result.final, standing.uncertainty
        shared = {"task": task.name, "row": number}
        named = shared | {"backbone": cast.names[standing.result.pair.backbone]}
        if sure is None or standing.tier is None:
            yield named | {"kind": "none", "state": standing.result.pair.state}
            continue
        begins = standing.loose or standing.tier != above
        named["tier_name"] = f"tier {tier_text(standing)}" if begins else None
        above = above if standing.loose else standing.tier
        yield named | {
            "kind": "result",
            "tier": None if standing.loose else standing.tier,
            "mean": points(final.metric, sure.mean),
            "shown": numbers.with_interval(final.metric, sure.mean, sure.widest),
            "rank": str(standing.rank),
            "tier_shown": tier_text(standing),
            "loose": standing.loose,
            "chance": numbers.chance(standing.chance),
            **ends(final.metric, sure.seeds),
            **ends(final.metric, sure.both or sure.images, "both_"),
        }
        for value in final.by_unit.values():
            yield shared | {"kind": "run", "value": points(final.metric, value)}


def _ranking_title(analysis: Analysis) -> str:
    ranked = [t for t in analysis.tasks.values() if len(t.comparison.tiers) > 0]
    alone = sum(len(task.comparison.tiers[0]) == 1 for task in ranked)
    if len(ranked) == 1:
        first = numbers.plural(len(ranked[0].comparison.tiers[0]), "backbone")
        return f"{first} in the first tier"
    if not alone:
        return f"No backbone leads any of the {len(ranked)} tasks beyond chance"
    return f"One backbone leads beyond chance on {alone} of {len(ranked)} tasks"


def _loose(rows: Rows) -> str:
    return f" {LOOSE}" if any(row.get("loose") for row in rows) else ""


def _units(analysis: Analysis) -> str:
    folded = {result.final.folds > 1 for result in analysis.results}
    return "seeds or folds" if len(folded) > 1 else "folds" if True in folded else "seeds"


def _chances(analysis: Analysis) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Name of the task, and backbones with their chances, likeliest first."""
    if analysis.overall.chances is not None and len(analysis.overall.data_sets) > 1:
        yield _EVERY, list(analysis.overall.chances.best.items())
    for task in analysis.tasks.values():
        if task.chances is not None:
            backbones = {r.pair.id: r.pair.backbone for r in task.results}
            yield task.name, [(backbones[pair], p) for pair, p in task.chances.best.items()]


def _chance_rows(task: str, found: Sequence[tuple[str, float]], cast: Cast) -> Iterator[Row]:
    for number, (backbone, share) in enumerate(found, 1):
        if share >= _LIKELY:
            yield {
                "task": task,
                "row": number,
                "backbone": cast.names[backbone],
                "chance": 100 * share,
                "shown": numbers.chance(share),
            }
