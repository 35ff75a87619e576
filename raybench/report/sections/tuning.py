"""What tuning bought, at which budget, and whether it changes who leads."""

from __future__ import annotations

from raybench.analysis import importance, numbers
from raybench.analysis.budget import TaskBudget
from raybench.analysis.gains import Gain, Tunability
from raybench.analysis.rank_change import Place
from raybench.analysis.searches import Leader
from raybench.analysis.tunability import tuned_names, warnings
from raybench.report.blocks import Block, Cell, Column, Heading, Panels, Row, Section, Table, Words
from raybench.report.view import View, change_cell, metric_cell, p_cell

_AXES = {"trials": "search trials", "device_seconds": "device time"}


def tuning_section(view: View) -> Section:
    """Default against tuned first, then the budget, the response curves, the importance."""
    blocks: list[Block] = []
    if tuned_names(view.analysis.snapshot):
        blocks = [*_gains(view), *_budget(view), *_responses(view), *_importance(view)]
    return Section(
        "tuning", "What tuning bought", "Tuning", blocks, "Nothing is tuned in this sweep."
    )


def _gains(view: View) -> list[Block]:
    found = view.analysis.tunability
    said = found.sentences[:2]  # those of single tasks stand in their panels
    blocks: list[Block] = [Words(said, "lead")] if said else []
    blocks += view.drawn("default-against-tuned", "rank-change")
    if found.changes:
        blocks.append(Panels({one.task: [Words([one.sentence])] for one in found.changes}))
    if found.gains:
        blocks.append(_gain_table(view, found))
    return [*blocks, *([Words([found.note], "rule")] if blocks else [])]


def _gain_table(view: View, found: Tunability) -> Table:
    """Values, gains and ranks of every pair, at the default and tuned."""
    places = {(one.task, place.backbone): place for one in found.changes for place in one.places}
    titles = ("Default", "Tuned", "Test gain (95%)", "p", "Rank")
    columns = [
        Column("Backbone", numeric=False),
        Column("Task", numeric=False),
        Column("Validation gain"),
        *map(Column, titles),
        Column("Chosen", numeric=False),
    ]
    rows = [
        _gain(view, gain, places[gain.result.task, gain.result.pair.backbone])
        for gain in found.gains
    ]
    note = (
        "Default and tuned: mean test metric. Rank: within the task at the default → tuned, by "
        "test where both configurations have final runs, else by validation."
    )
    return Table("Default against tuned", columns, rows, note, filters=len(rows) > 12)


def _gain(view: View, gain: Gain, place: Place) -> Row:
    result, metric, test = gain.result, gain.result.final.metric, gain.test
    chosen = numbers.hyperparameters(result.winner.params if result.winner else None)
    cells = [
        view.backbone(result.pair.backbone),
        Cell(result.task),
        Cell(numbers.metric_change(result.metric, gain.validation), gain.validation),
        metric_cell(metric, gain.test_default),
        metric_cell(metric, gain.test_tuned),
        Cell() if test is None else change_cell(metric, test.mean, test.ci95),
        Cell() if test is None or test.p_value is None else p_cell(test.p_value),
        _ranks(place),
        Cell(chosen),
    ]
    return Row(cells, task=result.task, state=result.pair.state)


def _ranks(place: Place) -> Cell:
    """``4 → 2``, sorted by the second."""
    if place.default_rank is None or place.tuned_rank is None:
        return Cell()
    return Cell(f"{place.default_rank} → {place.tuned_rank}", place.tuned_rank)


def _budget(view: View) -> list[Block]:
    found = view.analysis.budget
    if not found.tasks:
        return []
    panels = {task.task: _leaders(view, task) for task in found.tasks if task.leaders}
    return [
        Heading("Who leads at your budget"),
        *([Words(found.sentences, "list")] if found.sentences else []),
        *view.drawn("budget"),
        *([Panels(panels)] if panels else []),
        Words([found.note], "rule"),
    ]


def _leaders(view: View, task: TaskBudget) -> list[Block]:
    columns = [
        Column("Budget counted in", numeric=False),
        Column("From"),
        Column("Until"),
        Column("Expected best", numeric=False),
        Column("Chance at its start"),
    ]
    rows = [_stretch(view, leader) for leader in task.leaders]
    return [Table("Expected leader by budget", columns, rows)]


def _stretch(view: View, leader: Leader) -> Row:
    return Row(
        [
            Cell(_AXES[leader.axis]),
            *(Cell(_amount(leader.axis, end), end) for end in (leader.start, leader.end)),
            view.backbone(leader.backbone),
            Cell(numbers.chance(leader.chance), leader.chance),
        ]
    )


def _amount(axis: str, amount: float) -> str:
    return f"{amount:.0f}" if axis == "trials" else numbers.duration(amount)


def _responses(view: View) -> list[Block]:
    drawn, edges = view.drawn("response", "mean-response"), warnings(view.analysis)
    if not drawn and not edges:
        return []
    blocks: list[Block] = [Heading("Response to each hyperparameter"), *drawn]
    return [*blocks, Words(edges, "list")] if edges else blocks


def _importance(view: View) -> list[Block]:
    found = view.analysis.importance
    if not found:
        return []
    names = list(dict.fromkeys(name for one in found for name in one.by_name))
    columns = [
        Column("Backbone", numeric=False),
        Column("Task", numeric=False),
        *(Column(name) for name in names),
        Column("Trials"),
    ]
    rows = [
        Row(
            [
                view.backbone(one.backbone),
                Cell(one.task),
                *(
                    Cell(f"{one.by_name[n]:.2f}", one.by_name[n]) if n in one.by_name else Cell()
                    for n in names
                ),
                Cell(str(one.trials), one.trials),
            ],
            task=one.task,
        )
        for one in found
    ]
    table = Table("Importance of each hyperparameter", columns, rows, filters=len(rows) > 12)
    return [*view.drawn("importance"), table, Words([importance.NOTE], "rule")]
