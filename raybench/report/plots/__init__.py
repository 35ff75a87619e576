"""Every plot of the page and of the exported pictures."""

from __future__ import annotations

from collections.abc import Iterator

from altair.utils.schemapi import debug_mode

from raybench.analysis.whole import Analysis
from raybench.report.plots import (
    budgets,
    curves,
    heatmap,
    overall,
    quality,
    ranking,
    sensitivity,
    tuning,
)
from raybench.report.plots.marks import Cast
from raybench.report.plots.plot import Plot

_PLOTS = (
    heatmap.heatmap,
    ranking.ranking,
    overall.overall,
    ranking.chances,
    overall.critical_difference,
    overall.wins,
    tuning.default_against_tuned,
    tuning.rank_changes,
    sensitivity.response,
    sensitivity.mean_response,
    sensitivity.importance,
    budgets.budget,
    budgets.pareto,
    curves.learning,
    curves.small_data,
    quality.reliability,
    quality.recall,
    quality.confusion,
)


def all_plots(analysis: Analysis) -> tuple[Plot, ...]:
    """Those with something to draw, in the order of the page."""
    with debug_mode(False):  # it validates every piece; tests validate the whole specs
        return tuple(_found(analysis))


def _found(analysis: Analysis) -> Iterator[Plot]:
    cast = Cast.of(analysis)
    for make in _PLOTS:
        plot = make(analysis, cast)
        if plot is not None:
            yield plot
