"""Analyses that the plots are tried on, each made once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raybench.analysis.whole import Analysis
from raybench.records import TrialRow
from raybench.report.plots import all_plots
from raybench.report.plots.plot import Plot
from tests.factories import make_snapshot, realistic_snapshot, tuned_pair
from tests.wide_sweep import MadeUpPredictions, wide_snapshot

Plots = dict[str, Plot]


def plots_of(analysis: Analysis) -> Plots:
    return {plot.name: plot for plot in all_plots(analysis)}


@pytest.fixture(scope="session")
def wide() -> Analysis:
    """Three backbones on six data sets, two of them at 10% too, with predictions."""
    return Analysis(wide_snapshot(3, 6), MadeUpPredictions())


@pytest.fixture(scope="session")
def wide_plots(wide: Analysis) -> Plots:
    return plots_of(wide)


@pytest.fixture(scope="session")
def live() -> Analysis:
    """A sweep in the middle of its life: a failed, a searching and a waiting pair."""
    return Analysis(realistic_snapshot())


@pytest.fixture(scope="session")
def live_plots(live: Analysis) -> Plots:
    return plots_of(live)


@pytest.fixture(scope="session")
def nll() -> Analysis:
    """Lower is better; the search's metric too."""
    pairs = (tuned_pair("timm:a", 0.8, 1e-3), tuned_pair("timm:b", 0.5, 1e-3))
    turned = (replace(pair, trials=tuple(map(_as_nll, pair.trials))) for pair in pairs)
    return Analysis(make_snapshot(*turned, metric="val/nll"))


def _as_nll(trial: TrialRow) -> TrialRow:
    values = [e.metrics["val/accuracy"] for e in trial.epochs]
    epochs = tuple(
        replace(e, metrics={**e.metrics, "val/nll": value})
        for e, value in zip(trial.epochs, values, strict=True)
    )
    if trial.end is None:
        return replace(trial, epochs=epochs)
    test = {key.replace("accuracy", "nll"): value for key, value in trial.end.test.items()}
    return replace(trial, epochs=epochs, end=replace(trial.end, test=test))
