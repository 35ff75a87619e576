"""Over all tasks: mean metric, rank, normalised score, win rate. The unit is the data set.

Who is best, by chances and by tests, goes by the mean metric: unlike score and rank, its order does
not depend on which losers are in the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.comparison import Matrix, tiers
from raybench.analysis.intervals import ALPHA, Interval, metric_bounds, t_interval
from raybench.analysis.power import DataSetPower, data_set_power
from raybench.analysis.probability import Chances, Draws, chances, draw_data_sets
from raybench.analysis.rank_tests import (
    CriticalDifference,
    Paired,
    critical_difference,
    wilcoxon,
)
from raybench.analysis.scores import Scores, score_tasks
from raybench.records import is_minimised

if TYPE_CHECKING:
    from raybench.analysis.whole import TaskAnalysis

ENOUGH = 6
"""Data sets from which on there are intervals over data sets, and tests of them."""
RULE = (
    "Means over data sets, each the mean of its subsets: metric, rank (1 is best), score ((x - "
    "worst) / (best - worst) of the task's backbones) and win rate (share of the other backbones "
    "beaten), from six data sets on with 95% t intervals over them. Chances, Wilcoxon's "
    "signed-rank test (Holm over all differences), tiers and what would separate the first two go "
    "by the metric, whose order other backbones cannot change; Friedman's test and Nemenyi's "
    "critical difference by ranks. A failed backbone has the last rank, score 0, no win, no chance "
    "and, in tests, the metric of the worst that did not fail; a task that a backbone has not "
    "finished stands aside, as does a backbone that is not tried on every task."
)


@dataclass(frozen=True, slots=True)
class Score:
    """One backbone over all data sets that count; intervals from six data sets on.

    Attributes:
        mean: of the metric over data sets; None where it failed on one.
        mean_rank: 1 is best; ties share.
        score: mean of (x - worst) / (best - worst) over data sets; in [0, 1].
        win_rate: share of the other backbones that it beats, averaged over data sets.
        chance: to have the best mean metric; None where nothing can be told, or it failed.
        failed: tasks on which it failed: last rank, score 0, no win.
    """

    backbone: str
    mean: float | None
    mean_ci: Interval | None
    mean_rank: float
    mean_rank_ci: Interval | None
    score: float
    score_ci: Interval | None
    win_rate: float
    win_rate_ci: Interval | None
    chance: float | None
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Overall:
    """The sweep over all its data sets.

    Attributes:
        metric: of the finals.
        scores: best mean metric first, those that failed somewhere behind; empty where no task
            counts.
        data_sets: those that count: the D rows of the matrices; columns as ``scores``.
        ranks, normalised: (D, B), averaged over each data set's subsets.
        aside: tasks that do not count, with the reason in words.
        critical_difference: from six data sets and three backbones on.
        wilcoxon: every two backbones, by the metric, Holm over them; from six data sets on.
        chances: of the best mean metric; None where nothing says so.
        power: None under two data sets, or two backbones that failed nowhere.
        tiers: backbones; by Wilcoxon as in a task; empty under six data sets.
        note: what is missing and what follows from that, in words; the rule is ``RULE``.
    """

    metric: str
    scores: tuple[Score, ...]
    data_sets: tuple[str, ...]
    ranks: Matrix
    normalised: Matrix
    aside: Mapping[str, str]
    critical_difference: CriticalDifference | None
    wilcoxon: tuple[Paired, ...]
    chances: Chances | None
    power: DataSetPower | None
    tiers: tuple[tuple[str, ...], ...]
    note: str

    @property
    def enough(self) -> bool:
        """Whether there are data sets enough to speak about new ones."""
        return len(self.data_sets) >= ENOUGH


def overall(
    tasks: Mapping[str, TaskAnalysis], backbones: Sequence[str], short: Mapping[str, str]
) -> Overall:
    """All tasks of a sweep together; ``short``: backbones as people read them."""
    found = score_tasks({name: task.results for name, task in tasks.items()}, backbones)
    order = _order(found) if found.data_sets and len(found.backbones) > 1 else []
    names = [found.backbones[column] for column in order]
    ranks = found.ranks[:, order]
    enough = len(found.data_sets) >= ENOUGH and len(names) > 1
    metric = next(iter(tasks.values())).metric if tasks else ""
    pairs = wilcoxon(names, found.metric[:, order]) if enough else ()
    best = _chances(found, tasks, metric) if names else None
    return Overall(
        metric=metric,
        scores=tuple(_score(found, column, metric, best) for column in order),
        data_sets=found.data_sets,
        ranks=ranks,
        normalised=found.normalised[:, order],
        aside=found.aside,
        critical_difference=critical_difference(names, ranks)
        if enough and len(names) > 2
        else None,
        wilcoxon=pairs,
        chances=best,
        power=_power(found, order, metric, pairs, short) if names else None,
        tiers=_tiers(names, pairs) if enough else (),
        note=_note(found, short),
    )


def _order(found: Scores) -> list[int]:
    """Columns, best mean metric first, then by mean rank; those that failed somewhere behind."""
    means, ranks, names = found.metric.mean(axis=0), found.ranks.mean(axis=0), found.backbones
    return sorted(
        range(len(names)), key=lambda i: (names[i] in found.failures, -means[i], ranks[i], names[i])
    )


def _score(found: Scores, column: int, metric: str, best: Chances | None) -> Score:
    name = found.backbones[column]
    rank, score, win = (m[:, column] for m in (found.ranks, found.normalised, found.wins))
    values = _sign(metric) * found.metric[:, column]
    failed = found.failures.get(name, ())
    return Score(
        backbone=name,
        mean=None if failed else float(values.mean()),
        mean_ci=None if failed else _interval(values, metric_bounds(metric)),
        mean_rank=float(rank.mean()),
        mean_rank_ci=_interval(rank, (1.0, float(len(found.backbones)))),
        score=float(score.mean()),
        score_ci=_interval(score, (0.0, 1.0)),
        win_rate=float(win.mean()),
        win_rate_ci=_interval(win, (0.0, 1.0)),
        chance=best.best.get(name) if best else None,
        failed=failed,
    )


def _interval(values: Matrix, bounds: Interval) -> Interval | None:
    return t_interval(values.tolist(), bounds) if len(values) >= ENOUGH else None


def _sign(metric: str) -> int:
    return -1 if is_minimised(metric) else 1


def _chances(found: Scores, tasks: Mapping[str, TaskAnalysis], metric: str) -> Chances | None:
    """Of the best mean metric over these data sets; from six on over others like them.

    Of the backbones that failed nowhere.
    """
    columns = [i for i, name in enumerate(found.backbones) if name not in found.failures]
    names, count = [found.backbones[i] for i in columns], len(found.data_sets)
    of = f"to have the best mean {numbers.metric_title(metric)}"
    if len(names) < 2:
        return None
    if count >= ENOUGH:
        values = _sign(metric) * found.metric[:, columns]
        draws = draw_data_sets(values, *sorted(found.data_sets))
        return chances(draws, names, is_minimised(metric), "data sets like these", of)
    by_data_set: dict[str, list[Draws]] = {}
    for task in (tasks[name] for name in found.tasks):
        if task.draws is None:
            return None
        by_data_set.setdefault(task.dataset, []).append(_drawn(task, task.draws, names))
    draws = np.mean([np.mean(own, axis=0) for own in by_data_set.values()], axis=0)
    scope = f"these {count} data sets" if count > 1 else "this data set"
    return chances(draws, names, is_minimised(metric), scope, of)


def _drawn(task: TaskAnalysis, draws: Draws, names: Sequence[str]) -> Draws:
    """(DRAWS, B) of those backbones."""
    backbone = {result.pair.id: result.pair.backbone for result in task.results}
    column = {backbone[pair]: i for i, pair in enumerate(task.comparison.pairs)}
    return draws[:, [column[name] for name in names]]


def _power(
    found: Scores,
    order: Sequence[int],
    metric: str,
    pairs: Sequence[Paired],
    short: Mapping[str, str],
) -> DataSetPower | None:
    if len(found.data_sets) < 2 or found.backbones[order[1]] in found.failures:
        return None
    own = pairs[0] if pairs else None  # the first two columns
    place = sum(pair.p_value >= own.p_value for pair in pairs) if own else 1
    separated = own is not None and own.adjusted < ALPHA
    first, second = order[:2]
    gaps = (found.metric[:, first] - found.metric[:, second]).tolist()
    leader, other = (short[found.backbones[column]] for column in (first, second))
    return data_set_power(gaps, leader, other, separated, place, metric)


def _tiers(names: Sequence[str], pairs: Sequence[Paired]) -> tuple[tuple[str, ...], ...]:
    adjusted = np.full((len(names), len(names)), np.nan)
    adjusted[np.triu_indices(len(names), k=1)] = [pair.adjusted for pair in pairs]
    return tiers(names, adjusted)


def _note(found: Scores, short: Mapping[str, str]) -> str:
    parts = []
    count = len(found.data_sets)
    if 0 < count < ENOUGH:
        parts.append(
            f"{numbers.plural(count, 'data set')}: too few to speak about others (six are needed), "
            "so there is no interval and no test over data sets; the tests within each task stand."
        )
    if found.left_out:
        names = numbers.listing(short[name] for name in found.left_out)
        parts.append(f"Not tried on every task, so not in these means: {names}.")
    parts += [f"{task} stands aside: {reason}." for task, reason in found.aside.items()]
    parts += [
        f"{short[name]} failed on {numbers.listing(tasks)}."
        for name, tasks in found.failures.items()
    ]
    return " ".join(parts)
