"""Over all tasks: mean rank, normalised score, win rate. The unit is the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.comparison import Matrix, tiers
from raybench.analysis.intervals import ALPHA, Interval, t_interval
from raybench.analysis.power import DataSetPower, data_set_power
from raybench.analysis.probability import DRAWS, Chances, Draws, chances
from raybench.analysis.rank_tests import (
    CriticalDifference,
    Paired,
    critical_difference,
    wilcoxon,
)
from raybench.analysis.scores import Scores, normalised, score_tasks
from raybench.records import is_minimised
from raybench.seeding import derive_seed

if TYPE_CHECKING:
    from raybench.analysis.whole import TaskAnalysis

ENOUGH = 6
"""Data sets from which on there are intervals over data sets, and tests of them."""
RULE = (
    "Means over data sets, each the mean of its subsets: rank (1 is best), score ((x - worst) / "
    "(best - worst) of the task's backbones) and win rate (share of the other backbones beaten), "
    "from six data sets on with 95% t intervals over them; Friedman's test with Nemenyi's critical "
    "difference; Wilcoxon's signed-rank test of the scores, Holm over all differences. A failed "
    "backbone has the last rank, score 0 and no win; a task that a backbone has not finished "
    "stands aside, as does a backbone that is not tried on every task."
)


@dataclass(frozen=True, slots=True)
class Score:
    """One backbone over all data sets that count; intervals from six data sets on.

    Attributes:
        mean_rank: 1 is best; ties share.
        score: mean of (x - worst) / (best - worst) over data sets; in [0, 1].
        win_rate: share of the other backbones that it beats, averaged over data sets.
        chance: to have the best score; None where nothing can be told.
        failed: tasks on which it failed: last rank, score 0, no win.
    """

    backbone: str
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
        scores: best mean score first; empty where no task counts.
        data_sets: those that count: the D rows of the matrices; columns as ``scores``.
        ranks, normalised: (D, B), averaged over each data set's subsets.
        aside: tasks that do not count, with the reason in words.
        critical_difference: from six data sets and three backbones on.
        wilcoxon: every two backbones, Holm over them; from six data sets on.
        chances: of the best mean score; None where a task has none.
        power: None with one backbone or under two data sets.
        tiers: backbones; by Wilcoxon as in a task; empty under six data sets.
        note: what is missing and what follows from that, in words; the rule is ``RULE``.
    """

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
    ranks, scores = found.ranks[:, order], found.normalised[:, order]
    enough = len(found.data_sets) >= ENOUGH and len(names) > 1
    pairs = wilcoxon(names, scores) if enough else ()
    best = _chances([tasks[name] for name in found.tasks], names) if names else None
    return Overall(
        scores=_scores(found, order, best),
        data_sets=found.data_sets,
        ranks=ranks,
        normalised=scores,
        aside=found.aside,
        critical_difference=critical_difference(names, ranks)
        if enough and len(names) > 2
        else None,
        wilcoxon=pairs,
        chances=best,
        power=_power(names, scores, pairs, short) if names else None,
        tiers=_tiers(names, pairs) if enough else (),
        note=_note(found, short),
    )


def _order(found: Scores) -> list[int]:
    """Columns, best mean score first, then by mean rank."""
    scores, ranks = found.normalised.mean(axis=0), found.ranks.mean(axis=0)
    return sorted(range(len(scores)), key=lambda i: (-scores[i], ranks[i], found.backbones[i]))


def _scores(found: Scores, order: Sequence[int], best: Chances | None) -> tuple[Score, ...]:
    return tuple(_score(found, column, best) for column in order)


def _score(found: Scores, column: int, best: Chances | None) -> Score:
    name = found.backbones[column]
    rank, score, win = (m[:, column] for m in (found.ranks, found.normalised, found.wins))
    return Score(
        backbone=name,
        mean_rank=float(rank.mean()),
        mean_rank_ci=_interval(rank, (1.0, float(len(found.backbones)))),
        score=float(score.mean()),
        score_ci=_interval(score, (0.0, 1.0)),
        win_rate=float(win.mean()),
        win_rate_ci=_interval(win, (0.0, 1.0)),
        chance=best.best[name] if best else None,
        failed=found.failures.get(name, ()),
    )


def _interval(values: Matrix, bounds: Interval) -> Interval | None:
    return t_interval(values.tolist(), bounds) if len(values) >= ENOUGH else None


def _chances(tasks: Sequence[TaskAnalysis], names: Sequence[str]) -> Chances | None:
    """Of the best mean score over these data sets; from six on over new ones like them, drawn anew
    from these with replacement.
    """
    if any(task.draws is None for task in tasks):
        return None
    data_sets = list(dict.fromkeys(task.dataset for task in tasks))
    count = len(data_sets)
    weights = np.full((DRAWS, count), 1 / count)
    scope = f"these {count} data sets" if count > 1 else "this data set"
    if count >= ENOUGH:
        rng = np.random.default_rng(derive_seed("chances", "data sets", *sorted(data_sets)))
        weights = rng.multinomial(count, np.full(count, 1 / count), DRAWS) / count
        scope = "data sets like these"
    total = np.zeros((DRAWS, len(names)))
    for index, data_set in enumerate(data_sets):
        own = [_drawn_scores(task, names) for task in tasks if task.dataset == data_set]
        total += weights[:, index, None] * np.mean(own, axis=0)
    return chances(total, names, minimised=False, scope=scope)


def _drawn_scores(task: TaskAnalysis, names: Sequence[str]) -> Draws:
    """(DRAWS, B) normalised scores of one task's draws; failed ones 0."""
    assert task.draws is not None
    backbone = {result.pair.id: result.pair.backbone for result in task.results}
    column = {backbone[pair]: i for i, pair in enumerate(task.comparison.pairs)}
    values = np.full((len(task.draws), len(names)), np.nan)
    present = [i for i, name in enumerate(names) if name in column]
    sign = -1 if is_minimised(task.metric) else 1
    values[:, present] = sign * task.draws[:, [column[names[i]] for i in present]]
    return normalised(values)


def _power(
    names: Sequence[str], scores: Matrix, pairs: Sequence[Paired], short: Mapping[str, str]
) -> DataSetPower | None:
    if len(scores) < 2:
        return None
    own = pairs[0] if pairs else None  # the first two columns
    place = sum(pair.p_value >= own.p_value for pair in pairs) if own else 1
    separated = own is not None and own.adjusted < ALPHA
    gaps = (scores[:, 0] - scores[:, 1]).tolist()
    return data_set_power(gaps, short[names[0]], short[names[1]], separated, place)


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
