"""A backbone's response to a hyperparameter over all tasks; the shared ladder pairs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybench.analysis.averages import Floats, by_data_set, data_set_interval, everywhere, known
from raybench.analysis.intervals import Interval
from raybench.analysis.tunability import Response
from raybench.records import is_minimised

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

NOTE = (
    "How far a backbone is behind the best validation value of any backbone on the ladder of each "
    "task, averaged over data sets (subsets of one first). Diverged trials and failed pairs count "
    "as the task's worst value. Tasks whose ladder is not complete stand aside. Intervals: t over "
    "data sets, from six on."
)


@dataclass(frozen=True, slots=True)
class MeanResponse:
    """One backbone over all tasks with a complete ladder.

    Attributes:
        name: of the hyperparameter.
        values: the ladder's, rising.
        behind: mean over data sets; 0 is as good as the best of every task.
        intervals: 95%, over data sets; None below six.
        by_task: the same per task.
    """

    backbone: str
    name: str
    values: tuple[float, ...]
    behind: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]
    by_task: Mapping[str, tuple[float | None, ...]]


def mean_responses(analysis: Analysis, name: str = "lr") -> tuple[MeanResponse, ...]:
    """Of backbones tried on every task; empty without two rungs, or a task that is complete."""
    responses = analysis.responses.get(name, ())
    tasks: dict[str, list[Response]] = {}
    for response in responses:
        tasks.setdefault(response.result.task, []).append(response)
    values = sorted({value for response in responses for value, _ in response.rungs})
    backbones = everywhere(analysis.by_task)
    if len(values) < 2 or not backbones:
        return ()
    behind = {task: _behind(found, values, backbones) for task, found in tasks.items()}
    counted = {task: rows for task, rows in behind.items() if np.isfinite(rows).all()}
    if not counted:
        return ()
    data_set = {task: found[0].result.pair.dataset for task, found in tasks.items()}
    cells = by_data_set(counted, data_set)
    return tuple(
        MeanResponse(
            backbone=backbone,
            name=name,
            values=tuple(values),
            behind=known(cells[:, row].mean(axis=0)),
            intervals=tuple(data_set_interval(column) for column in cells[:, row].T),
            by_task={task: known(rows[row]) for task, rows in counted.items()},
        )
        for row, backbone in enumerate(backbones)
    )


def _behind(
    responses: Sequence[Response], values: Sequence[float], backbones: Sequence[str]
) -> Floats:
    """(B, V) to the task's best on the ladder; NaN where a trial has not told yet."""
    sign = -1.0 if is_minimised(responses[0].result.metric) else 1.0
    rows = {r.result.pair.backbone: sign * _row(r, values) for r in responses}
    found = np.stack([rows.get(b, np.full(len(values), np.nan)) for b in backbones])
    reached = found[np.isfinite(found)]
    if not len(reached):
        return np.full(found.shape, np.nan)
    behind: Floats = reached.max() - np.where(np.isinf(found), reached.min(), found)
    return behind


def _row(response: Response, values: Sequence[float]) -> Floats:
    """(V,) metric of the ladder's trials; NaN not yet known, infinite where training diverged."""
    if response.result.pair.state == "failed":
        return np.full(len(values), np.inf)
    rungs = {at: np.inf if metric is None else metric for at, metric in response.rungs}
    return np.array([rungs.get(value, np.nan) for value in values])
