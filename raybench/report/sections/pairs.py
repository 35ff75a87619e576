"""Every pair with all its numbers, and what failed."""

from __future__ import annotations

from raybench.analysis import numbers
from raybench.analysis.ranking import Standing
from raybench.report.blocks import Block, Cell, Column, Row, Section, Table, Words
from raybench.report.view import View, chance_cell, metric_cell
from raybench.report.wording import FailureGroup, failure_groups, loose_note, tier_text


def pairs_section(view: View) -> Section:
    """One row per pair: what ``leaderboard.csv`` holds, for reading."""
    standings = [s for ranked in view.analysis.standings.values() for s in ranked]
    blocks: list[Block] = [_table(view, standings)] if standings else []
    return Section("pairs", "Every pair", "All pairs", blocks, "This sweep names no pairs yet.")


def _table(view: View, standings: list[Standing]) -> Table:
    titles = (
        "Tier",
        f"Test {numbers.metric_title(view.analysis.snapshot.metric)}",
        "P(best)",
        "Validation",
        "Gain",
    )
    after = ("Search", "Finals", "Trials", "Parameters")
    columns = [
        Column("Backbone", numeric=False),
        Column("Task", numeric=False),
        *map(Column, titles),
        Column("Chosen", numeric=False),
        *map(Column, after),
        Column("State", numeric=False),
    ]
    note = (
        "Validation: of the best search trial; gain: over the recipe's default. Search and finals: "
        "wall time × share of the device (CPU: cores)."
        + "".join(f" {note}" for note in loose_note(standings))
        + (" A state leads to the pair's MLflow run." if view.links else "")
    )
    rows = [_row(view, standing) for standing in standings]
    return Table("All numbers of every pair", columns, rows, note, filters=True, style="dense")


def _row(view: View, s: Standing) -> Row:
    result, pair, metric = s.result, s.result.pair, s.result.metric
    interval = s.uncertainty.widest if s.uncertainty else None
    counts = result.counts
    ended = counts.complete + counts.pruned + counts.failed
    seconds = (result.search_device_seconds, result.final_device_seconds)
    parameters = result.parameters
    cells = [
        view.backbone(pair.backbone, full=True),
        Cell(result.task),
        Cell(tier_text(s) or numbers.MISSING, s.tier),
        metric_cell(result.final.metric, result.mean, interval),
        chance_cell(s.chance),
        metric_cell(metric, result.tuned),
        Cell(numbers.metric_change(metric, result.gain), result.gain),
        Cell(numbers.hyperparameters(result.winner.params if result.winner else None)),
        *(Cell(numbers.duration(spent), round(spent, 1)) for spent in seconds),
        Cell(f"{ended} of {counts.quota}", ended, f"{counts.failed} failed" * (counts.failed > 0)),
        Cell(numbers.millions(parameters), parameters),
        Cell(pair.state, tone=f"state {pair.state}", link=view.run(result)),
    ]
    return Row(cells, task=result.task, state=pair.state)


def failures_section(view: View) -> Section:
    """Failed trials, equal ones together; runs and pairs that no longer count."""
    snapshot = view.analysis.snapshot
    groups = failure_groups(view.analysis.results)
    blocks: list[Block] = [_failures(view, groups)] if groups else []
    superseded = sum(t.superseded for p in snapshot.pairs if p.current for t in p.trials)
    former = [p for p in snapshot.pairs if not p.current]
    notes = []
    if superseded:
        runs = numbers.plural(superseded, "final run")
        notes.append(f"{runs} of earlier winners stay in the ledger and are not counted here.")
    if former:
        names = numbers.listing(f"{p.backbone} on {p.dataset} ({p.subset})" for p in former)
        notes.append(f"No longer in the sweep file, kept in the ledger: {numbers.clean(names)}.")
    if notes:
        blocks += [] if groups else [Words(["No trial failed."], "text")]
        blocks.append(Words(notes, "note"))
    return Section("failures", "Failures", "Failures", blocks, "No trial failed.")


def _failures(view: View, groups: list[FailureGroup]) -> Table:
    columns = [
        Column("Backbone", numeric=False),
        Column("Task", numeric=False),
        Column("Phase", numeric=False),
        Column("Trials", numeric=False, wraps=True),
        Column("Class", numeric=False),
        Column("Reason", numeric=False, wraps=True),
    ]
    rows = [
        Row(
            [
                view.backbone(group.result.pair.backbone),
                Cell(group.result.task),
                Cell(group.phase),
                Cell(", ".join(map(str, group.trials))),
                Cell(group.failure, tone="state bad"),
                Cell(group.reason or numbers.MISSING),
            ],
            task=group.result.task,
            state=group.failure,
        )
        for group in groups
    ]
    return Table("Failed trials, equal ones together", columns, rows, filters=len(rows) > 12)
