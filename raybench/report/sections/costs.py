"""What accuracy costs: fronts, tables of what was measured alone, and what constraints leave."""

from __future__ import annotations

from raybench.analysis import numbers, pareto
from raybench.analysis.constraints import Remaining
from raybench.analysis.cost import COLUMNS, CostTable, sweep_cost_tables
from raybench.analysis.pareto import Front, ParetoPoint
from raybench.report.blocks import Badge, Block, Cell, Column, Panels, Row, Section, Table, Words
from raybench.report.sections.matrix import SHARED
from raybench.report.view import View, metric_cell

KNEE = Badge("knee", "where the front bends: more cost buys little from here on", "busy")
_FRONT = {
    "yes": Badge("front", "on the front: every cheaper backbone is worse beyond chance", "good"),
    "perhaps": Badge("perhaps", "nobody cheaper is better beyond chance"),
}


def cost_section(view: View) -> Section:
    """Constraints first where there are any, then fronts, then the measurements."""
    blocks: list[Block] = []
    if view.analysis.constraints:
        blocks.append(_remaining(view, view.analysis.remaining))
    blocks += _fronts(view)
    blocks += [_measured(view, table) for table in sweep_cost_tables(view.analysis.snapshot)]
    if blocks and not sweep_cost_tables(view.analysis.snapshot):
        blocks.append(Words([_unmeasured(view)], "note"))
    return Section("cost", "What it costs", "Cost", blocks, _unmeasured(view))


def _unmeasured(view: View) -> str:
    name = numbers.clean(view.analysis.snapshot.sweep)
    return (
        f"Not measured yet: “raybench profile {name}” measures latency, throughput, memory and "
        "energy of each backbone, alone on the device."
    )


def _remaining(view: View, found: Remaining) -> Table:
    columns = [
        Column("Backbone", numeric=False),
        Column("", numeric=False),
        Column("Why", numeric=False, wraps=True),
    ]
    verdicts = [(name, "allowed", "") for name in found.allowed]
    verdicts += [(one.backbone, "ruled out", one.reason) for one in found.refused]
    verdicts += [(one.backbone, "unknown", one.reason) for one in found.unknown]
    rows = [Row([view.backbone(n), Cell(verdict), Cell(why)]) for n, verdict, why in verdicts]
    return Table(f"Within the limits: {found.constraints.text}", columns, rows)


def _fronts(view: View) -> list[Block]:
    by_task: dict[str, list[Front]] = {}
    for front in view.analysis.fronts:
        by_task.setdefault(front.task, []).append(front)
    if not by_task:
        return []
    panels = {task: _task_fronts(view, fronts) for task, fronts in by_task.items()}
    return [*view.drawn("pareto"), Panels(panels), Words([pareto.NOTE], "rule")]


def _task_fronts(view: View, fronts: list[Front]) -> list[Block]:
    """One table for all axes: a backbone's cost on each, marked where it is on the front."""
    points = {(f.axis.key, p.backbone): p for f in fronts for p in f.points}
    best = {p.backbone: p for f in fronts for p in f.points}
    titles = [f"{f.axis.title} ({f.axis.unit})" if f.axis.unit else f.axis.title for f in fronts]
    columns = [
        Column("Backbone", numeric=False),
        Column(f"Test {numbers.metric_title(fronts[0].metric)}"),
        *map(Column, titles),
    ]
    rows = [
        Row(
            [
                view.backbone(name),
                metric_cell(fronts[0].metric, point.score, point.interval),
                *(_cost(points.get((front.axis.key, name))) for front in fronts),
            ]
        )
        for name, point in best.items()
    ]
    table = Table("Accuracy against each cost", columns, rows)
    return [Words([front.sentence for front in fronts], "list"), table]


def _cost(point: ParetoPoint | None) -> Cell:
    if point is None:
        return Cell()
    badges = [_FRONT[point.front]] if point.front in _FRONT else []
    badges += [KNEE] * point.knee + [SHARED] * point.shared
    return Cell(numbers.short(point.cost), point.cost, badges=tuple(badges))


def _measured(view: View, table: CostTable) -> Table:
    columns = [Column(title, numeric=side == "right") for title, side in COLUMNS.items()]
    rows = [
        Row([Cell(text, _number(text)) for text in row.cells()], state="") for row in table.rows
    ]
    return Table(table.title, columns, rows, table.note)


def _number(text: str) -> float | None:
    """What a written cell sorts by; None for words."""
    try:
        return float(text.partition(" ")[0].replace(",", ""))
    except ValueError:
        return None
