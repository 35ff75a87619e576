"""The answer in words, its uncertainty first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval
from raybench.analysis.overall import Overall
from raybench.analysis.probability import Chances
from raybench.analysis.ranking import Standing
from raybench.analysis.results import FinalValues

if TYPE_CHECKING:
    from raybench.analysis.whole import TaskAnalysis

_NAMED = 3  # backbones at most that a sentence names
_LIKELY = 0.1  # chances below are not named, but for the leader's


@dataclass(frozen=True, slots=True)
class Headline:
    """What the sweep says.

    Attributes:
        first: one sentence.
        more: what limits it, and what would settle it.
        by_task: one sentence per task.
    """

    first: str
    more: tuple[str, ...]
    by_task: Mapping[str, str]

    @property
    def text(self) -> str:
        return " ".join((self.first, *self.more))


def headline(
    tasks: Mapping[str, TaskAnalysis], overall: Overall, short: Mapping[str, str]
) -> Headline:
    """``short``: backbones as people read them."""
    by_task = {name: _task_sentence(task, short) for name, task in tasks.items()}
    if len(tasks) == 1:
        (task,) = tasks.values()
        power = (task.power.text,) if task.power else ()
        return Headline(by_task[task.name], power, by_task)
    more = _more(tasks, overall, short) if overall.scores else ()
    return Headline(_first(tasks, overall, short), more, by_task)


def likeliest(best: Chances, names: Mapping[str, str]) -> str:
    """``a or b: 62% and 24% to be best``; the first at least, and what they are chances of."""
    first, *others = list(best.best)[:_NAMED]
    named = [first, *(key for key in others if best.best[key] >= _LIKELY)]
    *before, last = (names[key] for key in named)
    words = f"{', '.join(before)} or {last}" if before else last
    chances = numbers.listing(numbers.chance(best.best[key]) for key in named)
    return f"{words}: {chances} {best.of}"


def _first(tasks: Mapping[str, TaskAnalysis], overall: Overall, short: Mapping[str, str]) -> str:
    if not tasks:
        return "The sweep names no pairs yet."
    standings = [s for task in tasks.values() for s in task.standings]
    if not any(standing.rank for standing in standings):
        return f"There is no final result yet ({_states(standings)})."
    if len(short) == 1:
        return f"Only {next(iter(short.values()))} is in this sweep: nothing to compare it with."
    if not overall.scores:
        return f"No task is finished by every backbone yet; so far {_leaders(tasks, short)}."
    return _over_data_sets(tasks, overall, short)


def _over_data_sets(
    tasks: Mapping[str, TaskAnalysis], overall: Overall, short: Mapping[str, str]
) -> str:
    """Under six data sets the tiers within the tasks first: they are all that is shown."""
    leader = overall.scores[0].backbone
    best = f"{short[leader]} has the best mean {numbers.metric_title(overall.metric)}"
    if overall.scores[0].mean is None:
        best = "every backbone failed on some"
    if overall.chances is not None:
        best = f"{likeliest(overall.chances, short)} over {overall.chances.scope}"
    if not overall.enough:
        return f"{_leaders(tasks, short)}; {best}."
    others = [short[name] for name in overall.tiers[0] if name != leader]
    return f"{best}; {_rivals(others, len(overall.scores) - 1, short[leader])}."


def _more(
    tasks: Mapping[str, TaskAnalysis], overall: Overall, short: Mapping[str, str]
) -> tuple[str, ...]:
    """The leader's numbers over data sets, what would separate the first two, what is missing."""
    leader = overall.scores[0]
    mean = numbers.with_interval(overall.metric, leader.mean, leader.mean_ci)
    sizes = (
        f"{short[leader.backbone]} has mean {numbers.metric_title(overall.metric)} {mean}, mean "
        f"rank {_with(leader.mean_rank, leader.mean_rank_ci, 1)}{_rank_rivals(overall, short)} "
        f"and score {_with(leader.score, leader.score_ci, 2)} over "
        f"{numbers.plural(len(overall.data_sets), 'data set')}."
    )
    power = (overall.power.text,) if overall.power and overall.enough else ()
    return (sizes, *power, *((overall.note,) if overall.note else ()))


def _rank_rivals(overall: Overall, short: Mapping[str, str]) -> str:
    """Those whose mean rank is as good as the leader's, or better."""
    own, *others = overall.scores
    best = min(others, key=lambda score: score.mean_rank)
    if math.isclose(best.mean_rank, own.mean_rank):
        level = [score for score in others if math.isclose(score.mean_rank, own.mean_rank)]
        return f" (shared with {_some([short[score.backbone] for score in level])})"
    if best.mean_rank < own.mean_rank:
        return f" ({short[best.backbone]} has {best.mean_rank:.1f})"
    return ""


def _leaders(tasks: Mapping[str, TaskAnalysis], short: Mapping[str, str]) -> str:
    """``a leads on 2 (alone on 1) and b on 1 of 3 tasks``; ``a and b lead on 1 of 2 each``."""
    first = [task.comparison.tiers[0] for task in tasks.values() if task.comparison.tiers]
    backbone = {r.pair.id: short[r.pair.backbone] for t in tasks.values() for r in t.results}
    leads = Counter(backbone[tier[0]] for tier in first)
    alone = Counter(backbone[tier[0]] for tier in first if len(tier) == 1)
    lone = len({task.dataset for task in tasks.values()}) == len(tasks)
    of = f"of {numbers.plural(len(tasks), 'data set' if lone else 'task')}"
    nobody = "" if alone else "; no leader stands alone"
    (top, most), *others = leads.most_common()
    if others and others[-1][1] == most:
        names = _some([f"{name}{_alone(alone[name])}" for name in leads])
        return f"{names} lead on {most} {of} each{nobody}"
    words = [f"{top} leads on {most}{_alone(alone[top])}"]
    words += [f"{name} on {count}{_alone(alone[name])}" for name, count in others]
    return f"{_some(words)} {of}{nobody}"


def _some(words: Sequence[str]) -> str:
    """A few, and how many others there are."""
    left_out = len(words) - _NAMED
    if left_out <= 0:
        return numbers.listing(words)
    return numbers.listing([*words[:_NAMED], numbers.plural(left_out, "other")])


def _alone(count: int) -> str:
    return f" (alone on {count})" if count else ""


def _task_sentence(task: TaskAnalysis, short: Mapping[str, str]) -> str:
    placed = [s for s in task.standings if s.rank is not None]
    missing = len(task.standings) - len(placed)
    if not placed:
        return f"On {task.name} there is no final result yet ({_states(task.standings)})."
    tail = f" ({missing} of {len(task.standings)} without a result)" if missing else ""
    name = short[placed[0].result.pair.backbone]
    score = _score(placed[0], task.evidence is not None and task.evidence.grouped)
    if len(placed) == 1:
        return f"On {task.name} only {name} has a final result: {score}{tail}."
    tied = [short[s.result.pair.backbone] for s in placed if s.tied]
    rivals = _rivals(tied, len(placed) - 1)
    if task.chances is None:
        return f"On {task.name} {name} leads with {score}; {rivals}{tail}."
    names = {s.result.pair.id: short[s.result.pair.backbone] for s in task.standings}
    chances = likeliest(task.chances, names)
    return f"On {task.name}, {chances}; {name} has {score}, {rivals}{tail}."


def _score(standing: Standing, grouped: bool) -> str:
    """``97.8% ± 0.6 test accuracy (3 seeds, 360 images)``: the widest interval, and over what."""
    final, sure = standing.result.final, standing.uncertainty
    assert sure is not None
    value = numbers.with_interval(final.metric, sure.mean, sure.widest)
    over = _runs(final)
    if sure.clusters and sure.widest is not sure.seeds:
        over += ", " + numbers.plural(sure.clusters, "group" if grouped else "image")
        over += " of images" * grouped
    return f"{value} test {numbers.metric_title(final.metric)} ({over})"


def _runs(final: FinalValues) -> str:
    """``3 seeds``; with cross-validation ``3 seeds x 5 folds``, or how many runs there are yet."""
    seeds = numbers.plural(len({seed for seed, _ in final.by_run}), "seed")
    if final.folds == 1:
        return seeds
    if len(final.by_run) < final.wanted:
        return f"{len(final.by_run)} of {final.wanted} runs over seeds and folds"
    return f"{seeds} x {final.folds} folds"


def _rivals(tied: Sequence[str], others: int, leader: str = "it") -> str:
    """``tied``: those that cannot be told apart from the leader, of so many ``others``."""
    if not tied:
        return "the other is behind" if others == 1 else "every other backbone is behind"
    names = numbers.listing(tied) if len(tied) < _NAMED else f"{len(tied)} others"
    return f"{names} cannot be told apart from {leader}"


def _states(standings: Sequence[Standing]) -> str:
    counts = Counter(standing.result.pair.state for standing in standings)
    return numbers.listing(f"{count} {state}" for state, count in counts.items())


def _with(value: float, interval: Interval | None, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if interval is None:
        return text
    return f"{text} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
