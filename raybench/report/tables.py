"""Tables for the terminal, as rich renderables. Nothing here prints.

Cells are ``Text``, never markup: backbone names carry brackets, and names are users' input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.analysis import numbers
from raybench.analysis.cost import sweep_cost_tables
from raybench.analysis.ranking import RULE, Standing, answers, standings
from raybench.analysis.results import PairResult, by_task, final_metric, pair_results
from raybench.analysis.tunability import tuned_names, warnings
from raybench.records import SweepSnapshot
from raybench.report.cost_tables import cost_grids
from raybench.report.grid import Row, grid
from raybench.report.wording import caption, failure_lines, leak_notes


def leaderboard_table(snapshot: SweepSnapshot) -> RenderableType:
    """Per task: the answer in a sentence, the ranked backbones, and what the numbers are."""
    sentences = answers(snapshot)
    short = numbers.short_names(p.backbone for p in snapshot.pairs if p.current)
    parts: list[RenderableType] = []
    for task, ranked in standings(snapshot).items():
        rows = [_leader_cells(s, short) for s in ranked]
        title = f"{task}  [leak]" if any(s.result.pair.facts.get("leaks") for s in ranked) else task
        parts += [grid(title, _leader_columns(snapshot), rows, sentences[task]), Text()]
    if not parts:
        return Text(f"{snapshot.sweep} names no pairs yet.")
    costs = sweep_cost_tables(snapshot)
    if costs:
        parts += [cost_grids(costs), Text()]
    parts.append(Text(f"{caption(snapshot)} {RULE}", style="dim"))
    marks = [*leak_notes(snapshot), *warnings(snapshot)]
    parts += [Text(f"! {line}", style="yellow") for line in marks]
    parts += [Text(f"x {line}", style="red") for line in failure_lines(snapshot)]
    return Group(*parts)


def status_table(snapshot: SweepSnapshot) -> RenderableType:
    """Per pair: trials by state (a running one is still owed), finals, device time, best so far."""
    results = pair_results(snapshot)
    short = numbers.short_names(r.pair.backbone for r in results)
    parts: list[RenderableType] = [
        Text(f"{snapshot.sweep}, attempt {snapshot.attempt}", style="bold")
    ]
    for task, found in by_task(results).items():
        rows = [_status_cells(r, short[r.pair.backbone]) for r in found]
        parts += [Text(), grid(task, _STATUS_COLUMNS, rows)]
    return Group(*parts, Text(), Text(_status_note(snapshot, results), style="dim"))


_STATUS_COLUMNS = {"backbone": "left", "state": "left"} | dict.fromkeys(
    ["complete", "pruned", "failed", "running", "owed", "finals", "device", "best val"], "right"
)


def _leader_columns(snapshot: SweepSnapshot) -> dict[str, str]:
    test = f"test {numbers.metric_title(snapshot.metric)}"
    chosen = "lr" if set(tuned_names(snapshot)) <= {"lr"} else "chosen"
    return {"": "left", "backbone": "left", test: "right"} | dict.fromkeys(
        ["seeds", "val", "default", "gain", chosen, "device", "params", "state"], "right"
    )


def _leader_cells(standing: Standing, short: Mapping[str, str]) -> Row:
    result = standing.result
    metric = result.metric
    place = "≈" if standing.tied else "" if standing.rank is None else str(standing.rank)
    return (
        place,
        short[result.pair.backbone],
        numbers.with_interval(final_metric(metric), result.mean, result.final.ci95),
        f"{len(result.final.by_run)}/{result.final.wanted}",
        numbers.metric_value(metric, result.tuned, unit=False),
        numbers.metric_value(metric, result.default, unit=False),
        numbers.metric_change(metric, result.gain),
        numbers.hyperparameters(result.winner.params if result.winner else None),
        numbers.duration(result.search_device_seconds),
        numbers.millions(result.parameters),
        result.pair.state,
    )


def _status_cells(result: PairResult, backbone: str) -> Row:
    counts = result.counts
    trials = (counts.complete, counts.pruned, counts.failed, counts.running, counts.owed)
    return (
        backbone,
        result.pair.state,
        *(str(count) for count in trials),
        f"{len(result.final.by_run)}/{result.final.wanted}",
        numbers.duration(result.search_device_seconds),
        numbers.metric_value(result.metric, result.tuned),
    )


def _status_note(snapshot: SweepSnapshot, results: Sequence[PairResult]) -> str:
    owed = numbers.plural(sum(r.counts.owed for r in results), "search trial")
    finals = sum(r.final.wanted - len(r.final.by_run) for r in results)
    spent = numbers.duration(sum(r.search_device_seconds for r in results))
    lease = " ".join(f"{k}={v}" for k, v in (snapshot.lease or {}).items())
    return (
        f"Best val: {snapshot.metric} of the best complete search trial. "
        f"{owed} and {numbers.plural(finals, 'final run')} of the chosen configuration owed; "
        f"device time of the search {spent}. Lease: {numbers.clean(lease) or 'nobody holds it'}."
    )
