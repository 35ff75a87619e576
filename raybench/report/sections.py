"""One task on the page: its leaderboard rows and figures, ready for the template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from raybench.analysis import numbers
from raybench.analysis.cost import Latencies, latencies
from raybench.analysis.ranking import Standing, standings
from raybench.analysis.results import PairResult
from raybench.analysis.tunability import responses, tuned_names
from raybench.records import SweepSnapshot
from raybench.report import charts
from raybench.report.charts import Looks
from raybench.report.wording import sampling_note

_RESPONSE_NOTE = (
    "Joined: the ladder, the same trials for every backbone. Hollow: sampled afterwards. "
    "Ringed: the winner. ×: ended without a value."
)
_TUNING_NOTE = (
    "Validation; hollow: the recipe's default, filled: the winner. The winner is the best of many, "
    "so part of the gain is luck."
)
_DEVICE_NOTE = (
    "Wall time × share of the device. Timings of trials that shared a device are no benchmark of "
    "speed."
)
_SIZE_NOTE = "Parameters of the model as trained, its new head included."


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with the line above and the note below; ``svg`` is None where nothing is known."""

    title: str
    note: str
    svg: Markup | None


def task_sections(snapshot: SweepSnapshot, looks: Looks) -> list[dict[str, Any]]:
    """What ``page.html`` shows of each task, in the file's order."""
    return [_task(snapshot, task, ranked, looks) for task, ranked in standings(snapshot).items()]


def _task(
    snapshot: SweepSnapshot, task: str, ranked: Sequence[Standing], looks: Looks
) -> dict[str, Any]:
    scale = charts.interval_scale(ranked)
    leader = ranked[0].result.mean
    results = [s.result for s in ranked]
    figures = (
        *_response_figures(snapshot, task, looks),
        *_summary_figures(results, latencies(snapshot), looks),
    )
    return {
        "name": task,
        "rows": [_row(s, looks) | {"bar": charts.interval_bar(s, scale, leader)} for s in ranked],
        "leaks": next(
            (str(r.pair.facts["leaks"]) for r in results if r.pair.facts.get("leaks")), ""
        ),
        "oracle": any(r.oracle.by_run for r in results),
        "legend": [_mark(r, looks) for r in results],
        "figures": [figure for figure in figures if figure.svg is not None],
        "sampling": next((note for r in results if (note := sampling_note(r))), None),
    }


def _mark(result: PairResult, looks: Looks) -> tuple[Markup, str]:
    look = looks[result.pair.backbone]
    return charts.legend_mark(look.style), look.name


def _row(standing: Standing, looks: Looks) -> dict[str, Any]:
    result, metric = standing.result, standing.result.metric
    mark, name = _mark(result, looks)
    chosen = numbers.hyperparameters(result.winner.params if result.winner else None)
    final = result.final
    default = result.final_default
    return {
        "mark": mark,
        "name": name,
        "full_name": numbers.clean(result.pair.backbone),
        "place": "≈" if standing.tied else standing.rank or "",
        "leads": standing.leads,
        "test": numbers.with_interval(final.metric, final.mean, final.ci95),
        "p": "" if standing.p_value is None else f"Holm-adjusted p = {standing.p_value:.3g}",
        "oracle": numbers.metric_value(final.metric, result.oracle.mean),
        "seeds": f"{len(final.by_run)}/{final.wanted}",
        "test_default": numbers.metric_value(final.metric, default.mean if default else None),
        "tuned": numbers.metric_value(metric, result.tuned),
        "default": numbers.metric_value(metric, result.default),
        "gain": numbers.metric_change(metric, result.gain),
        "chosen": chosen.split(", "),
        "search": numbers.duration(result.search_device_seconds),
        "final": numbers.duration(result.final_device_seconds),
        "parameters": numbers.millions(result.parameters),
        "state": result.pair.state,
        "failed": len(result.failures),
    }


def _response_figures(snapshot: SweepSnapshot, task: str, looks: Looks) -> Iterator[Figure]:
    for name in tuned_names(snapshot):
        found = [r for r in responses(snapshot, name) if r.result.task == task]
        chart = charts.response_chart(found, looks)
        yield Figure(f"How each backbone responds to {name}", _RESPONSE_NOTE, chart)


def _summary_figures(
    results: Sequence[PairResult], measured: Latencies, looks: Looks
) -> Iterator[Figure]:
    yield Figure("What tuning bought", _TUNING_NOTE, charts.tuning_chart(results, looks))
    seconds = [r.search_device_seconds + r.final_device_seconds for r in results]
    chart = charts.cost_chart(results, seconds, "device seconds, search and finals", looks)
    yield Figure("Against device time", _DEVICE_NOTE, chart)
    sizes = [None if r.parameters is None else r.parameters / 1e6 for r in results]
    chart = charts.cost_chart(results, sizes, "parameters in millions", looks)
    yield Figure("Against size", _SIZE_NOTE, chart)
    milliseconds = [measured.by_pair_ms.get(r.pair.id) for r in results]
    chart = charts.cost_chart(results, milliseconds, "latency of one image in ms", looks)
    note = f"Median of one image at a time, measured alone ({measured.title}); see Cost."
    yield Figure("Against latency", note, chart)
