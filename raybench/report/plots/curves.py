"""Curves: over a hyperparameter, over the epochs of the finals, over the size of the data."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

import altair as alt

from raybench.analysis import numbers
from raybench.analysis.results import PairResult
from raybench.analysis.small_data import SizeCurve, SmallData
from raybench.analysis.whole import Analysis
from raybench.report.plots.marks import (
    ROUND,
    Cast,
    across,
    ends,
    metric_axis,
    points,
    tooltip,
    upward,
)
from raybench.report.plots.plot import Layers, Plot, Row

SHOWN = 20
"""Backbones per task that curves are drawn for: the best ones, so that a page stays small."""
_HEIGHT = 290


def learning(analysis: Analysis, cast: Cast) -> Plot | None:
    """Validation metric over the epochs of the finals: mean and range over their seeds."""
    shown = best_pairs(analysis)
    results = [r for r in analysis.results if (r.task, r.pair.backbone) in shown]
    rows = [row for result in results for row in _learning_rows(result, cast)]
    if not rows:
        return None
    metric = metric_axis(analysis.snapshot.metric)
    return Plot(
        name="learning",
        title="How the finals learn",
        caption=(
            f"{metric} after each epoch of the final runs: mean over seeds (and folds), band from "
            f"the lowest to the highest run.{limit(analysis)}"
        ),
        chart=_learning_chart(metric, cast),
        rows=rows,
        choices={"task": tuple(dict.fromkeys(row["task"] for row in rows))},
    )


def _learning_chart(metric: str, cast: Cast) -> Layers:
    focus, y = cast.focus, upward("mean", metric)
    x = across("epoch", "Epoch", _WHOLE, nice=False)
    base = alt.Chart().encode(x=x, color=cast.colour, opacity=cast.opacity(focus))
    band = base.mark_area(fillOpacity=0.16).encode(y=upward("low", metric), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=cast.dash)
    dot = base.mark_point(filled=True, size=45).encode(y=y, shape=cast.shape, tooltip=_EPOCH_TIP)
    return alt.layer(band, line, dot).add_params(focus).properties(height=_HEIGHT)


def small_data(analysis: Analysis, cast: Cast) -> Plot | None:
    """Test metric over the number of training images, by data set."""
    found = analysis.small_data
    rows = [row for curve in found.curves for row in _size_rows(curve, found.metric, cast)]
    if not rows:
        return None
    metric = metric_axis(found.metric)
    return Plot(
        name="small-data",
        title=_crossing_title(found),
        caption=(
            f"Mean {metric[0].lower()}{metric[1:]} over final seeds with its widest 95% interval, "
            "by the number of training images; the test images are the same."
        ),
        chart=_size_chart(metric, cast),
        rows=rows,
        choices={"dataset": tuple(dict.fromkeys(row["dataset"] for row in rows))},
    )


def _size_chart(metric: str, cast: Cast) -> Layers:
    focus, y = cast.focus, upward("mean", metric)
    ticks = alt.Axis(values=ROUND, format=",~g", grid=False)
    x = across("images", "Training images (log scale)", ticks, type="log", padding=20)
    looks = {"color": cast.colour, "opacity": cast.opacity(focus)}
    base = alt.Chart().encode(x=x, tooltip=_SIZE_TIP, **looks)
    rule = base.mark_rule(strokeWidth=1.6).encode(y=upward("low", metric), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=cast.dash)
    dot = base.mark_point(filled=True, size=70).encode(y=y, shape=cast.shape)
    return alt.layer(rule, line, dot).add_params(focus).properties(height=_HEIGHT)


_WHOLE = alt.Axis(labelExpr="datum.value % 1 ? '' : datum.value", tickCount=8, grid=False)
_EPOCH_TIP = tooltip(backbone="backbone", shown="epoch: mean (lowest to highest)", runs="runs")
_SIZE_TIP = tooltip(backbone="backbone", subset="subset", images="images", shown="test")


def best_pairs(analysis: Analysis) -> frozenset[tuple[str, str]]:
    """Task and backbone of the ``SHOWN`` best of each task: by test, else by validation."""
    return frozenset(
        (task, standing.result.pair.backbone)
        for task, standings in analysis.standings.items()
        for standing in standings[:SHOWN]
    )


def limit(analysis: Analysis) -> str:
    most = max((len(standings) for standings in analysis.standings.values()), default=0)
    return f" Of {most} backbones the {SHOWN} best of each task." if most > SHOWN else ""


def _learning_rows(result: PairResult, cast: Cast) -> Iterator[Row]:
    """Epochs that at least one complete final has run."""
    metric = result.metric
    runs: dict[int, list[float]] = {}
    for trial in result.pair.final_trials(result.config):
        for record in trial.epochs if trial.state == "complete" else ():
            if metric in record.metrics:
                runs.setdefault(record.epoch, []).append(record.metrics[metric])
    for epoch, values in sorted(runs.items()):
        low, mean, high = min(values), fmean(values), max(values)
        words = [numbers.metric_value(metric, value) for value in (low, mean, high)]
        yield {
            "task": result.task,
            "backbone": cast.names[result.pair.backbone],
            "epoch": epoch,
            "mean": points(metric, mean),
            "shown": f"{epoch}: {words[1]} ({words[0]} to {words[2]})",
            "runs": len(values),
            **ends(metric, (low, high)),
        }


def _size_rows(curve: SizeCurve, metric: str, cast: Cast) -> Iterator[Row]:
    for point in curve.points:
        yield {
            "dataset": curve.dataset,
            "backbone": cast.names[curve.backbone],
            "images": point.images,
            "mean": points(metric, point.mean),
            "subset": point.subset,
            "shown": numbers.with_interval(metric, point.mean, point.interval),
            **ends(metric, point.interval),
        }


def _crossing_title(found: SmallData) -> str:
    if not found.crossings:
        return "More training images change no leader"
    shown = sum(crossing.shown for crossing in found.crossings)
    return (
        f"With more training images {numbers.plural(len(found.crossings), 'pair')} of backbones "
        f"change places, {shown or 'none'} beyond chance"
    )
