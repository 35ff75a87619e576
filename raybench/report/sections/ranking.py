"""Who leads each task, in tiers rather than false ranks."""

from __future__ import annotations

from collections.abc import Sequence

from raybench.analysis import comparison, numbers, probability, results, uncertainty
from raybench.analysis.intervals import Interval
from raybench.analysis.ranking import Standing
from raybench.analysis.whole import TaskAnalysis
from raybench.report.blocks import Bar, Block, Cell, Column, Panels, Row, Section, Table, Words
from raybench.report.view import View, chance_cell, change_cell, metric_cell, p_cell
from raybench.report.wording import loose_note, sampling_note, tier_text

_RULES = (results.SELECTION, uncertainty.RULE, comparison.RULE, probability.RULE)


def ranking_section(view: View) -> Section:
    """One panel per task, the charts of all of them, and the rules."""
    tasks = view.analysis.tasks
    blocks: list[Block] = []
    if tasks:
        panels = {name: _panel(view, task) for name, task in tasks.items()}
        blocks = [Panels(panels), *view.drawn("ranking", "chances"), *_optimism(view)]
        blocks.append(Words(_RULES, "rule"))
    return Section(
        "ranking",
        "Who leads, and who may be as good",
        "Ranking",
        blocks,
        "No pair has a final result yet.",
    )


def _panel(view: View, task: TaskAnalysis) -> list[Block]:
    answer = view.analysis.headline.by_task.get(task.name)
    notes = loose_note(task.standings) + ([task.power.text] if task.power else [])
    if task.evidence is None:  # else the intervals hold it already
        notes += [f"{note}." for r in task.results if (note := sampling_note(r))][:1]
    return [
        *([Words([answer], "lead")] if answer else []),
        _table(view, task),
        *([Words(notes, "note")] if notes else []),
    ]


def _table(view: View, task: TaskAnalysis) -> Table:
    scale = _scale(task.standings)
    metric = numbers.metric_title(task.metric)
    titles = [f"Test {metric} (95%)", "", "P(best)", "Behind the leader", "p (Holm)", "Runs"]
    columns = [
        Column("Backbone", numeric=False),
        Column("Tier"),
        *(Column(title) for title in titles),
        Column("State", numeric=False),
    ]
    columns[3] = Column("Interval", numeric=False)
    tiers = [s.tier for s in task.standings]
    rows = [
        Row(_cells(view, task, s, scale), starts=index > 0 and s.tier != tiers[index - 1])
        for index, s in enumerate(task.standings)
    ]
    return Table("Backbones by tier", columns, rows, style="board")


def _cells(view: View, task: TaskAnalysis, s: Standing, scale: Interval | None) -> list[Cell]:
    result, final = s.result, s.result.final
    interval = s.uncertainty.widest if s.uncertainty else None
    state = result.pair.state
    return [
        view.backbone(result.pair.backbone),
        Cell(tier_text(s), s.tier),
        metric_cell(final.metric, result.mean, interval),
        Cell("", result.mean, bar=_bar(result.mean, interval, scale)),
        chance_cell(s.chance),
        _behind(task, s),
        Cell() if s.p_value is None else p_cell(s.p_value),
        Cell(f"{len(final.by_run)} of {final.wanted}", len(final.by_run), link=view.run(result)),
        Cell(state, tone=f"state {state}"),
    ]


def _behind(task: TaskAnalysis, s: Standing) -> Cell:
    """How far the leader's mean is away."""
    leader = task.standings[0].result
    if s.result.mean is None or leader.mean is None or s.leads:
        return Cell("leads", 0.0, tone="quiet") if s.leads else Cell()
    gap = abs(leader.mean - s.result.mean)
    return Cell(numbers.metric_change(task.metric, -gap), gap)


def _scale(standings: Sequence[Standing]) -> Interval | None:
    """From the lowest to the highest interval's end of one task."""
    ends = [s.result.mean for s in standings if s.result.mean is not None]
    ends += [end for s in standings if s.uncertainty for end in s.uncertainty.widest or ()]
    return (min(ends), max(ends)) if ends and max(ends) > min(ends) else None


def _bar(mean: float | None, interval: Interval | None, scale: Interval | None) -> Bar | None:
    if mean is None or scale is None:
        return None
    ends = [(end - scale[0]) / (scale[1] - scale[0]) for end in (*(interval or (mean, mean)), mean)]
    low, high, middle = (round(3 + 94 * end, 1) for end in ends)
    return Bar(low, middle, high)


def _optimism(view: View) -> list[Block]:
    """How much the oracle's choice flatters, where both were asked for."""
    found = view.analysis.optimism
    if not found:
        return []
    columns = [Column("Backbone", numeric=False), Column("Task", numeric=False), Column("Optimism")]
    rows = [
        Row(
            [
                view.backbone(one.result.pair.backbone),
                Cell(one.result.task),
                change_cell(one.result.final.metric, one.gap, one.interval),
            ],
            task=one.result.task,
        )
        for one in found
    ]
    note = (
        "Oracle minus validation-selected, on the same runs: what choosing the epoch on the test "
        "split adds."
    )
    return [Table("What the oracle adds", columns, rows, note, filters=len(rows) > 12)]
