"""Tables for the terminal, as rich renderables. Nothing here prints.

Cells are ``Text``, never markup: backbone names carry brackets, and names are users' input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.analysis import comparison, numbers, overall
from raybench.analysis.cost import sweep_cost_tables
from raybench.analysis.overall import Score
from raybench.analysis.ranking import Standing
from raybench.analysis.results import PairResult, by_task, final_metric, pair_results
from raybench.analysis.tunability import tuned_names, warnings
from raybench.analysis.whole import Analysis, TaskAnalysis
from raybench.records import SweepSnapshot
from raybench.report.cost_tables import cost_grids
from raybench.report.grid import Row, grid
from raybench.report.wording import (
    caption,
    failure_lines,
    leak_notes,
    limits,
    loose_note,
    tier_text,
)


def leaderboard_table(analysis: Analysis) -> RenderableType:
    """The answer, each task's backbones by tier, all tasks together, and what the numbers are."""
    snapshot = analysis.snapshot
    if not analysis.tasks:
        return Text(f"{snapshot.sweep} names no pairs yet.")
    parts: list[RenderableType] = [Text(analysis.headline.first, style="bold")]
    parts += [Text(line) for line in (*analysis.headline.more, *limits(analysis))]
    for task in analysis.tasks.values():
        parts += [Text(), _task_grid(analysis, task)]
    if len(analysis.overall.data_sets) > 1:
        parts += [Text(), _overall_grid(analysis)]
    costs = sweep_cost_tables(snapshot)
    parts += [Text(), cost_grids(costs)] if costs else []
    parts += [Text(), Text(" ".join(analysis.tunability.sentences[:2])), Text()]
    parts += _literature(analysis)
    parts.append(Text(f"{caption(analysis)} {_COLUMNS_NOTE} {comparison.RULE}", style="dim"))
    marks = [*analysis.notes, *leak_notes(snapshot), *warnings(analysis)]
    parts += [Text(f"! {line}", style="yellow") for line in _first(marks)]
    parts += [Text(f"x {line}", style="red") for line in failure_lines(analysis)]
    return Group(*parts)


def _literature(analysis: Analysis) -> list[RenderableType]:
    """What was asked of the paper, claim by claim."""
    found = analysis.literature
    if found is None:
        return []
    columns = dict.fromkeys(["claim", "at", "here", "because"], "left")
    judged = [claim for claim in found.claims if claim.is_judged]
    rows = [(claim.text, claim.config, claim.verdict, claim.because) for claim in judged]
    open_ = len({c.text for c in found.claims} - {c.text for c in judged})
    missing = [f"{numbers.plural(open_, 'claim')} cannot be put to this sweep."] if open_ else []
    note = " ".join((f"{found.source}.", *missing, *found.notes))
    return [grid(found.title, columns, rows, note), Text()]


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _REMARKS_SHOWN
    told = [f"and {numbers.plural(more, 'more remark')} on the page"] * (more > 0)
    return [*lines[:_REMARKS_SHOWN], *told]


_REMARKS_SHOWN = 8
_COLUMNS_NOTE = (
    "Best: chance to be the task's best. Gain: validation, tuned minus default. Device: search, "
    "wall time × GPU share (CPU: cores)."
)


def _task_grid(analysis: Analysis, task: TaskAnalysis) -> RenderableType:
    leaks = any(result.pair.facts.get("leaks") for result in task.results)
    rows = [_leader_cells(standing, analysis.short) for standing in task.standings]
    said = [analysis.headline.by_task.get(task.name, ""), task.power.text if task.power else ""]
    note = " ".join(filter(None, (*loose_note(task.standings), *said)))
    title = f"{task.name}  [leak]" if leaks else task.name
    return grid(title, _leader_columns(analysis.snapshot), rows, note)


def _overall_grid(analysis: Analysis) -> RenderableType:
    found = analysis.overall
    tier_of = {name: str(n) for n, tier in enumerate(found.tiers, start=1) for name in tier}
    columns = {"tier": "right", "backbone": "left"} | dict.fromkeys(
        [f"mean {numbers.metric_title(found.metric)}", "mean rank", "score", "win rate", "best"],
        "right",
    )
    rows = [
        (
            tier_of.get(score.backbone, ""),
            analysis.short[score.backbone],
            *_score_cells(score, found.metric),
        )
        for score in found.scores
    ]
    said = [found.power.text if found.power else "", found.note, overall.RULE]
    note = " ".join(sentence for sentence in said if sentence)
    return grid(f"across {len(found.data_sets)} data sets", columns, rows, note)


def _score_cells(score: Score, metric: str) -> Row:
    mean = numbers.with_interval(metric, score.mean, score.mean_ci)
    values = (
        (score.mean_rank, score.mean_rank_ci),
        (score.score, score.score_ci),
        (score.win_rate, score.win_rate_ci),
    )
    return (mean, *(numbers.plain(*value) for value in values), numbers.chance(score.chance))


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
    return {"tier": "right", "backbone": "left", test: "right"} | dict.fromkeys(
        ["best", "seeds", "val", "gain", chosen, "device", "params", "state"], "right"
    )


def _leader_cells(standing: Standing, short: Mapping[str, str]) -> Row:
    result, metric = standing.result, standing.result.metric
    interval = standing.uncertainty.widest if standing.uncertainty else None
    return (
        tier_text(standing),
        short[result.pair.backbone],
        numbers.with_interval(final_metric(metric), result.mean, interval),
        numbers.chance(standing.chance),
        f"{len(result.final.by_run)}/{result.final.wanted}",
        numbers.metric_value(metric, result.tuned, unit=False),
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
