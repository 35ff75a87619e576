"""Across tasks: mean rank, normalised score and win rate over data sets."""

from __future__ import annotations

from raybench.analysis import numbers
from raybench.analysis import overall as across
from raybench.analysis.overall import Overall, Score
from raybench.analysis.rank_tests import Paired
from raybench.report.blocks import Block, Cell, Column, Row, Section, Table, Words
from raybench.report.view import View, chance_cell, change_cell, metric_cell, number_cell

_PAIRS_SHOWN = 100


def overall_section(view: View) -> Section | None:
    """None where the sweep has one task: there is nothing to average."""
    if len(view.analysis.tasks) < 2:
        return None
    found = view.analysis.overall
    blocks: list[Block] = []
    if found.scores:
        blocks = [
            *([Words([found.power.text], "lead")] if found.power else []),
            _scores(view, found),
            Words([found.note], "note"),
            *view.drawn("overall", "critical-difference", "wins"),
            *_wilcoxon(view, found),
            Words([across.RULE], "rule"),
        ]
    empty = f"No task counts across tasks yet. {found.note}"
    return Section("across", "Across tasks", "Across tasks", blocks, empty)


def _scores(view: View, found: Overall) -> Table:
    tier_of = {name: n for n, tier in enumerate(found.tiers, start=1) for name in tier}
    failed = any(score.failed for score in found.scores)
    metric = f"Mean {numbers.metric_title(found.metric)}"
    titles = ["Tier"] * bool(tier_of) + [metric, "Mean rank", "Score", "Win rate", "P(best)"]
    columns = [Column("Backbone", numeric=False), *map(Column, titles)]
    columns += [Column("Failed on", numeric=False)] * failed
    rows = []
    for score in found.scores:
        tier = tier_of.get(score.backbone)
        place = [Cell(numbers.MISSING if tier is None else str(tier), tier)] * bool(tier_of)
        lost = [Cell(", ".join(score.failed) or numbers.MISSING)] * failed
        rows.append(
            Row([view.backbone(score.backbone), *place, *_cells(score, found.metric), *lost])
        )
    title = f"Over {numbers.plural(len(found.data_sets), 'data set')}, best {metric.lower()} first"
    return Table(title, columns, rows)


def _cells(score: Score, metric: str) -> list[Cell]:
    return [
        metric_cell(metric, score.mean, score.mean_ci),
        number_cell(score.mean_rank, 2, score.mean_rank_ci),
        number_cell(score.score, 2, score.score_ci),
        number_cell(score.win_rate, 2, score.win_rate_ci),
        chance_cell(score.chance),
    ]


def _wilcoxon(view: View, found: Overall) -> list[Block]:
    """Every two backbones; of very many, those with the smallest p-values."""
    if not found.wilcoxon:
        return []
    pairs = sorted(found.wilcoxon, key=lambda pair: pair.p_value)[:_PAIRS_SHOWN]
    left_out = len(found.wilcoxon) - len(pairs)
    columns = [
        Column("Better", numeric=False),
        Column("Than", numeric=False),
        *map(Column, ("Difference", "p", "p (Holm)")),
    ]
    note = f"{left_out:,} more with larger p-values are left out here." if left_out else ""
    rows = [_paired(view, pair, found.metric) for pair in pairs]
    return [Table("Wilcoxon's signed-rank test over data sets", columns, rows, note, filters=True)]


def _paired(view: View, pair: Paired, metric: str) -> Row:
    values = (pair.p_value, pair.adjusted)
    return Row(
        [
            view.backbone(pair.first),
            Cell(view.looks[pair.second].name),
            change_cell(metric, pair.difference, None),
            *(number_cell(value, 4) for value in values),
        ]
    )
