"""Every backbone on every task at a glance: one shaded cell per pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raybench.analysis import numbers
from raybench.analysis.ranking import Standing
from raybench.analysis.results import PairResult
from raybench.analysis.whole import TaskAnalysis
from raybench.records import is_minimised
from raybench.report.blocks import Badge, Block, Cell, Column, Legend, Row, Section, Table, Words
from raybench.report.view import View
from raybench.report.wording import caption, leak_notes

FIRST = Badge("●", "tier 1: the task's best, or not told apart from it", "good dot")
TUNED = Badge("T", "tuned: the configuration that validation chose")
DEFAULT = Badge("D", "default: the recipe as it stands")
ORACLE = Badge("O", "oracle: the test split was read after every epoch", "bad")
LEAK = Badge("L", "leak: splits share images or groups, so results may be too good", "bad")
SHARED = Badge("S", "shared timing: its trials shared a device; its times say little of speed")
_ALL = (FIRST, TUNED, DEFAULT, ORACLE, SHARED)


def results_section(view: View) -> Section:
    """The matrix, its legend, and what its numbers are."""
    analysis = view.analysis
    metric = numbers.metric_title(analysis.snapshot.metric)
    title = f"Test {metric} of every backbone on every task"
    tasks = _by_domain(list(analysis.tasks.values()))
    marks = {s.result.pair.id: badges(s) for task in tasks for s in task.standings}
    everywhere = _everywhere([found for found in marks.values() if found])
    blocks: list[Block] = []
    if tasks:
        shown = {key: _ordered(found - everywhere) for key, found in marks.items()}
        blocks.append(_matrix(view, tasks, shown))
        legend = _legend(set().union(*marks.values()), everywhere)
        legend += [LEAK] if any(map(_leaky, tasks)) else []
        blocks.append(Legend(legend))
        blocks.append(Words([caption(analysis)], "note"))
    remarks = [*analysis.notes, *leak_notes(analysis.snapshot)]
    blocks += [Words(remarks, "list")] if remarks else []
    return Section("results", title, "Results", blocks, "This sweep names no pairs yet.")


def badges(standing: Standing) -> set[Badge]:
    """What has to be known about a pair's number; nothing while there is none."""
    result = standing.result
    marks = {
        FIRST: standing.tier == 1,
        TUNED: result.config == "tuned",
        DEFAULT: result.config == "default",
        ORACLE: bool(result.oracle.by_run),
        SHARED: shared_timing(result),
    }
    return {badge for badge, there in marks.items() if there and result.mean is not None}


def shared_timing(result: PairResult) -> bool:
    """Whether any of the pair's epochs held less than a whole GPU or core."""
    return any(e.device_share < 1 for trial in result.pair.trials for e in trial.epochs[:1])


def _everywhere(finished: Sequence[set[Badge]]) -> set[Badge]:
    """Badges that every number has: said once, in the legend, instead of in each cell."""
    return set.intersection(*finished) - {FIRST} if len(finished) > 1 else set()


def _ordered(found: set[Badge]) -> tuple[Badge, ...]:
    return tuple(badge for badge in _ALL if badge in found)


def _legend(used: set[Badge], everywhere: set[Badge]) -> list[Badge]:
    said_once = [Badge(b.short, f"every number: {b.meaning}", b.tone) for b in _ordered(everywhere)]
    return [*_ordered(used - everywhere), *said_once]


def _matrix(
    view: View, tasks: Sequence[TaskAnalysis], shown: Mapping[str, tuple[Badge, ...]]
) -> Table:
    cells: dict[tuple[str, str], Cell] = {}
    for task in tasks:
        heat = _heat(task.standings)
        for standing in task.standings:
            key = standing.result.pair.id
            cell = _cell(view, standing, heat.get(key), shown[key])
            cells[standing.result.pair.backbone, task.name] = cell
    rows = [
        Row(
            [
                view.backbone(name, full=True),
                *(cells.get((name, task.name), Cell("")) for task in tasks),
            ]
        )
        for name in _by_score(view)
    ]
    named = len({_domain(task) for task in tasks}) > 1
    columns = [
        Column("Backbone", numeric=False),
        *(Column(t.name, badges=_leaky(t), group=_domain(t) if named else "") for t in tasks),
    ]
    return Table(
        "Mean over final runs ± 95% interval; the stronger the shade, the better in its column",
        columns,
        rows,
        filters=len(rows) > 12,
        style="matrix",
    )


def _leaky(task: TaskAnalysis) -> tuple[Badge, ...]:
    """A leak is the data set's: it stands at the head of its column."""
    return (LEAK,) if any(result.pair.facts.get("leaks") for result in task.results) else ()


def _domain(task: TaskAnalysis) -> str:
    """As the data set's card or the sweep file says; one where none is known."""
    known = (r.pair.facts.get("domain") for r in task.results)
    return numbers.clean(str(next((domain for domain in known if domain), "other")))


def _by_domain(tasks: Sequence[TaskAnalysis]) -> list[TaskAnalysis]:
    """Tasks of one domain side by side, else as the file has them."""
    order = list(dict.fromkeys(map(_domain, tasks)))
    return sorted(tasks, key=lambda task: order.index(_domain(task)))


def _cell(view: View, standing: Standing, heat: float | None, shown: tuple[Badge, ...]) -> Cell:
    result, metric = standing.result, standing.result.final.metric
    if result.mean is None:
        return Cell(result.pair.state, tone=f"state {result.pair.state}", value="")
    interval = standing.uncertainty.widest if standing.uncertainty else None
    return Cell(
        numbers.metric_value(metric, result.mean, unit=False),
        result.mean,
        note=numbers.interval_text(metric, result.mean, interval),
        heat=heat,
        badges=shown,
        link=view.run(result),
    )


def _heat(standings: Sequence[Standing]) -> dict[str, float]:
    """Pair id -> 0 for the task's worst result, 100 for its best."""
    means = {s.result.pair.id: s.result.mean for s in standings if s.result.mean is not None}
    if not means:
        return {}
    low, high = min(means.values()), max(means.values())
    minimised = is_minimised(standings[0].result.metric)
    share = {key: (mean - low) / (high - low) if high > low else 1.0 for key, mean in means.items()}
    return {key: 100 * (1 - value if minimised else value) for key, value in share.items()}


def _by_score(view: View) -> list[str]:
    """Best over all tasks first; those without a score as the file has them."""
    scored = [score.backbone for score in view.analysis.overall.scores]
    return [*scored, *(name for name in view.looks if name not in set(scored))]
