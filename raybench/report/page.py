"""The report as one HTML file: no request, safe to mail, complete without its scripts.

Every string is escaped where it is written down (``templates/blocks.html``); only the page's own
scripts, CSS and JSON are markup. A content security policy lets run exactly these scripts and
nothing else: Vega's expressions are interpreted, never compiled.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from raybench.analysis import numbers
from raybench.analysis.results import PairResult
from raybench.analysis.whole import Analysis
from raybench.report.blocks import Chart, Words
from raybench.report.cells import badges_html, row_html
from raybench.report.files import write_text
from raybench.report.plots import all_plots, theme
from raybench.report.plots.plot import Plot
from raybench.report.rendering import javascript_bundle
from raybench.report.sections import sections
from raybench.report.templating import html_environment
from raybench.report.view import Pictures, View
from raybench.report.wording import limits

_PAGE_SCRIPTS = ("page.js", "tables.js")


def write_html(
    analysis: Analysis,
    file: Path,
    *,
    links: Mapping[str, str] | None = None,
    pictures: Pictures | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """Writes the page in one step.

    Args:
        analysis: what is shown; of a snapshot that tells of no place (``reporting.shareable``).
        file: where to.
        links: pair id -> address of its MLflow run.
        pictures: where the worst examples' thumbnails come from.
        cache_dir: where the charts' library is kept between calls (making it takes seconds).

    Raises:
        HomeError: ``file`` cannot be written.
    """
    library = javascript_bundle(cache_dir)
    return write_text(file, render_html(analysis, library, links=links, pictures=pictures))


def render_html(
    analysis: Analysis,
    library: str,
    *,
    links: Mapping[str, str] | None = None,
    pictures: Pictures | None = None,
) -> str:
    """The page as text; the same analysis gives the same bytes.

    ``library`` is the JavaScript that draws the charts; the page's own scripts are added.
    """
    backbones = dict.fromkeys(result.pair.backbone for result in analysis.results)
    charts = {plot.name: _chart(plot) for plot in all_plots(analysis) if plot.on_page}
    looks = theme.looks(list(backbones))
    view = View(analysis, looks, charts, links or {}, pictures)
    scripts = {
        "head": _template("head.js"),
        "library": library if charts else "",
        "page": "\n".join(map(_template, (*_PAGE_SCRIPTS, *["charts.js"] * bool(charts)))),
    }
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=numbers.clean(analysis.snapshot.sweep),
            description=analysis.snapshot.description.strip(),
            headline=analysis.headline,
            limits=Words(limits(analysis), "list"),
            facts=key_facts(analysis),
            finished=_latest(analysis),
            sections=sections(view),
            looks=list(looks.values()),
            marks=[look.shape for look in looks.values()],
            shapes={look.shape: theme.mark_path(look.shape) for look in looks.values()},
            colours={name: (theme.LIGHT[name], theme.DARK[name]) for name in _series_colours()},
            chart_config=script_json(theme.config(theme.VARIABLES)),
            policy=_policy([text for text in scripts.values() if text]),
            scripts={name: Markup(text) for name, text in scripts.items()},
        )
    )


def script_json(value: Any) -> Markup:
    """JSON that may stand in a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def key_facts(analysis: Analysis) -> dict[str, str]:
    """The handful of numbers under the answer."""
    results = analysis.results
    done = sum(result.pair.state == "done" for result in results)
    owed = sum(result.counts.owed for result in results)
    return {
        "Backbones": f"{len({r.pair.backbone for r in results}):,}",
        "Data sets": f"{len({r.pair.dataset for r in results}):,}",
        "Pairs done": f"{done:,} of {len(results):,}",
        "Search trials": f"{_ended(results):,}" + (f" ({owed:,} owed)" if owed else ""),
        "Final runs": f"{sum(len(r.final.by_run) for r in results):,}",
        "Device time": numbers.duration(
            sum(r.search_device_seconds + r.final_device_seconds for r in results)
        ),
    }


def _ended(results: Sequence[PairResult]) -> int:
    return sum(r.counts.complete + r.counts.pruned + r.counts.failed for r in results)


def _chart(plot: Plot) -> Chart:
    spec = script_json(plot.spec())
    return Chart(plot.name, plot.title, plot.caption, spec, plot.choices, plot.min_width)


def _latest(analysis: Analysis) -> str:
    """When the newest record was written; the page has no clock of its own."""
    trials = [t for result in analysis.results for t in result.pair.trials]
    times = [t.epochs[-1].finished_at for t in trials if t.epochs]
    times += [t.end.finished_at for t in trials if t.end is not None]
    return datetime.fromtimestamp(max(times), UTC).strftime("%d %B %Y") if times else ""


def _policy(scripts: Sequence[str]) -> str:
    """Only these scripts run, nothing is loaded. Styles are free: charts set them as they go."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _series_colours() -> list[str]:
    return [name for name in theme.LIGHT if name[:1] == "c" and name[1:].isdigit()]


@cache
def _template(name: str) -> str:
    return files("raybench.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = html_environment()
    environment.globals |= {"row_html": row_html, "badges": badges_html}
    return environment
