"""Who leads each task, who cannot be told apart from the leader, and the table of all of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from raybench.analysis.comparison import Comparison
from raybench.analysis.intervals import ALPHA, Interval
from raybench.analysis.probability import Chances
from raybench.analysis.results import PairResult
from raybench.analysis.uncertainty import Uncertainty


@dataclass(frozen=True, slots=True)
class Standing:
    """One backbone's place in its task.

    Attributes:
        rank: 1 for the leader; None without a final result.
        p_value: Holm-adjusted, against the leader; None for the leader and where nothing can be
            told.
        tied: has a result, does not lead, and cannot be told apart from the leader.
        tier: 1 for the leader's; None without a result.
        chance: to be the task's best; None where nothing says so.
        loose: too uncertain to place: its tier is better than that of one ranked above it.
        uncertainty: None without a result.
    """

    result: PairResult
    rank: int | None
    p_value: float | None
    tied: bool
    tier: int | None = None
    chance: float | None = None
    uncertainty: Uncertainty | None = None
    loose: bool = False

    @property
    def leads(self) -> bool:
        return self.rank == 1


def rank_task(
    results: Sequence[PairResult],
    comparison: Comparison,
    chances: Chances | None,
    uncertainties: Mapping[str, Uncertainty],
) -> tuple[Standing, ...]:
    """The pairs of one task, best final mean first, those without a result last."""
    best = chances.best if chances else {}
    places = {pair: row for row, pair in enumerate(comparison.pairs)}
    ranked = sorted(results, key=lambda r: (places.get(r.pair.id, len(places)), r.pair.backbone))
    standings = (
        _standing(result, comparison, places, best.get(result.pair.id), uncertainties)
        for result in ranked
    )
    return tuple(_marked(standings))


def _standing(
    result: PairResult,
    comparison: Comparison,
    places: Mapping[str, int],
    chance: float | None,
    uncertainties: Mapping[str, Uncertainty],
) -> Standing:
    pair = result.pair.id
    row = places.get(pair)
    if row is None:
        return Standing(result, None, None, False, chance=chance)
    adjusted = float(comparison.adjusted[0, row]) if row else math.nan
    return Standing(
        result=result,
        rank=row + 1,
        p_value=None if math.isnan(adjusted) else adjusted,
        tied=row > 0 and not adjusted < ALPHA,
        tier=comparison.tier(pair),
        chance=chance,
        uncertainty=uncertainties[pair],
    )


def _marked(standings: Iterable[Standing]) -> Iterator[Standing]:
    """With those that are ``loose``, best first."""
    lowest = 1
    for standing in standings:
        tier = standing.tier or lowest
        yield replace(standing, loose=tier < lowest)
        lowest = max(lowest, tier)


def board(standings: Iterable[Standing], hyperparameters: Iterable[str]) -> pd.DataFrame:
    """One row per pair, in the order of ``standings``.

    Means, interval ends and validation values are in the metric's own unit (accuracy: [0, 1]);
    ``ci_low`` and ``ci_high`` are over seeds; ``params/<name>`` are the winner's hyperparameters.
    """
    rows = [_row(standing) for standing in standings]
    names = [f"params/{name}" for name in sorted(hyperparameters)]
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, *names])
    frame = frame.astype(dict.fromkeys(_NUMBERS, "float64"))
    return frame.astype({"rank": "Int64", "tier": "Int64"})


_COLUMNS = (
    "task dataset subset rank backbone metric test_mean ci_low ci_high seeds seeds_wanted leads "
    "tied p_holm val_tuned val_default gain test_default oracle_mean search_device_seconds "
    "final_device_seconds parameters_m state failures pair tier chance ci_images_low "
    "ci_images_high ci_both_low ci_both_high"
).split()


_NUMBERS = (
    "test_mean ci_low ci_high p_holm val_tuned val_default gain test_default oracle_mean "
    "parameters_m chance ci_images_low ci_images_high ci_both_low ci_both_high"
).split()


def _row(standing: Standing) -> dict[str, Any]:
    result, pair = standing.result, standing.result.pair
    parameters = result.parameters
    params = result.winner.params if result.winner else {}
    return {
        "task": result.task,
        "dataset": pair.dataset,
        "subset": pair.subset,
        "rank": standing.rank,
        "backbone": pair.backbone,
        "metric": result.final.metric,
        "test_mean": result.mean,
        "seeds": len(result.final.by_run),
        "seeds_wanted": result.final.wanted,
        "leads": standing.leads,
        "tied": standing.tied,
        "p_holm": standing.p_value,
        "val_tuned": result.tuned,
        "val_default": result.default,
        "gain": result.gain,
        "test_default": result.final_default.mean if result.final_default else None,
        "oracle_mean": result.oracle.mean,
        "search_device_seconds": result.search_device_seconds,
        "final_device_seconds": result.final_device_seconds,
        "parameters_m": None if parameters is None else parameters / 1e6,
        "state": pair.state,
        "failures": len(result.failures),
        "pair": pair.id,
        "tier": standing.tier,
        "chance": standing.chance,
        **_interval_cells(standing),
    } | {f"params/{name}": value for name, value in params.items()}


def _interval_cells(standing: Standing) -> dict[str, float | None]:
    known = standing.uncertainty
    images, both = (known.images, known.both) if known else (None, None)
    return (
        _ends("ci", standing.result.final.ci95)
        | _ends("ci_images", images)
        | _ends("ci_both", both)
    )


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
