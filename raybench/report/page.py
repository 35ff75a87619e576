"""The report as one HTML file: no script, no request, safe to mail.

The template escapes whatever it prints; only ``charts`` hands it markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from raybench.analysis import numbers
from raybench.analysis.cost import COLUMNS, sweep_cost_tables
from raybench.analysis.ranking import RULE, answers
from raybench.analysis.results import PairResult, pair_results
from raybench.analysis.tunability import tuned_names, warnings
from raybench.records import EndRecord, PairRow, SweepSnapshot
from raybench.report import charts
from raybench.report.files import write_text
from raybench.report.sections import task_sections
from raybench.report.wording import caption, failure_groups


def write_html(snapshot: SweepSnapshot, file: Path) -> Path:
    """Writes the page in one step.

    Raises:
        HomeError: ``file`` cannot be written.
    """
    return write_text(file, render_html(snapshot))


def render_html(snapshot: SweepSnapshot) -> str:
    """The page as text; the same snapshot gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("raybench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(_context(snapshot))


def _context(snapshot: SweepSnapshot) -> dict[str, Any]:
    results = pair_results(snapshot)
    backbones = list(dict.fromkeys(r.pair.backbone for r in results))
    looks = charts.looks(backbones)
    return {
        "title": numbers.clean(snapshot.sweep),
        "description": snapshot.description.strip(),
        "answers": answers(snapshot),
        "facts": _key_facts(snapshot, results),
        "metric_title": numbers.metric_title(snapshot.metric),
        "chosen_title": "lr" if set(tuned_names(snapshot)) <= {"lr"} else "chosen",
        "tasks": task_sections(snapshot, looks),
        "cost_columns": list(COLUMNS),
        "costs": sweep_cost_tables(snapshot),
        "caption": caption(snapshot),
        "rule": RULE,
        "warnings": warnings(snapshot),
        "protocol": _protocol(snapshot.spec),
        "splits": _splits(results),
        "failures": failure_groups(snapshot),
        "former": [p for p in snapshot.pairs if not p.current],
        "superseded": sum(t.superseded for p in snapshot.pairs if p.current for t in p.trials),
        "environment": _environment(results),
        "spec_yaml": _spec_yaml(snapshot.spec),
        "looks": looks,
        "task_of": {r.pair.id: r.task for r in results},
    }


def _key_facts(snapshot: SweepSnapshot, results: Sequence[PairResult]) -> dict[str, str]:
    done = sum(r.pair.state == "done" for r in results)
    owed = sum(r.counts.owed for r in results)
    trials = sum(r.counts.complete + r.counts.pruned + r.counts.failed for r in results)
    device = sum(r.search_device_seconds + r.final_device_seconds for r in results)
    facts = {
        "pairs done": f"{done} of {len(results)}",
        "search trials": f"{trials:,}" + (f" ({owed:,} owed)" if owed else ""),
        "device time": numbers.duration(device),
        "metric": snapshot.metric,
    }
    latest = _latest(snapshot)
    return facts | ({"last record": latest} if latest else {})


def _latest(snapshot: SweepSnapshot) -> str | None:
    """When the newest record was written; the page has no clock of its own."""
    trials = [t for p in snapshot.pairs if p.current for t in p.trials]
    times = [r.finished_at for t in trials for r in t.epochs]
    times += [t.end.finished_at for t in trials if t.end is not None]
    if not times:
        return None
    return datetime.fromtimestamp(max(times), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _protocol(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The spec's sections that decide what the numbers mean, each on one line."""
    names = ("recipe", "space", "search", "budget", "final", "resources")
    lines = [(name, _flat(spec[name])) for name in names if spec.get(name)]
    return lines + ([("seed", str(spec["seed"]))] if "seed" in spec else [])


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_nested(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(_nested(v) for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _nested(value: Any) -> str:
    text = _flat(value)
    return f"({text})" if isinstance(value, Mapping | list | tuple) else text


def _splits(results: Sequence[PairResult]) -> list[dict[str, str]]:
    """Split sizes of each task, from the first pair whose preflight has run."""
    tasks: dict[str, PairRow] = {}
    for result in results:
        if result.pair.facts:
            tasks.setdefault(result.task, result.pair)
    return [
        {"task": task}
        | {key: _count(pair, f"{key}_images") for key in ("train", "val", "test")}
        | {"classes": _count(pair, "classes"), "digest": str(pair.facts.get("data_digest", ""))}
        for task, pair in tasks.items()
    ]


def _count(pair: PairRow, key: str) -> str:
    return f"{int(pair.facts[key]):,}" if key in pair.facts else numbers.MISSING


def _environment(results: Sequence[PairResult]) -> list[tuple[str, str]]:
    """Devices, precision and versions that the trials report, with every value seen."""
    ends: list[EndRecord] = [t.end for r in results for t in r.pair.trials if t.end is not None]
    seen: dict[str, set[str]] = {}
    for end in ends:
        for key, value in end.facts.items():
            if key != "parameters":
                seen.setdefault(key, set()).add(_flat(value))
    return [(key, ", ".join(sorted(values)[:6])) for key, values in sorted(seen.items())]


def _spec_yaml(spec: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(spec))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
