"""The one rule that picks a pair's winner. Pure; shared by the searcher and the analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable

from raybench.records import TrialRow, is_minimised


def select_winner(trials: Iterable[TrialRow], metric: str) -> TrialRow | None:
    """The COMPLETE search trial whose best epoch is best; None when there is none.

    Ties go to the lower ``val/nll`` at that epoch, then to the lower number. Pruned trials saw
    fewer epochs and failed ones ended badly, so neither can win.
    """
    candidates = [t for t in trials if t.phase == "search" and t.state == "complete"]
    ranked = sorted(
        (t for t in candidates if t.best_value(metric) is not None),
        key=lambda t: (_cost(t, metric), _nll_at_best(t), t.number),
    )
    return ranked[0] if ranked else None


def _cost(trial: TrialRow, metric: str) -> float:
    value = trial.best_value(metric)
    assert value is not None
    return value if is_minimised(metric) else -value


def _nll_at_best(trial: TrialRow) -> float:
    if trial.end is None:
        return math.inf
    return trial.end.best.get("val/nll", math.inf)
