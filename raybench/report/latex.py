r"""The leaderboard of each task, and the ranking across tasks, as LaTeX tables to put into a paper.

A fragment without ``\documentclass``; it needs the packages ``booktabs`` and ``longtable``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from raybench.analysis import numbers
from raybench.analysis.comparison import RULE
from raybench.analysis.intervals import Interval
from raybench.analysis.overall import RULE as OVERALL_RULE
from raybench.analysis.overall import Score
from raybench.analysis.ranking import Standing
from raybench.analysis.results import final_metric
from raybench.analysis.whole import Analysis, TaskAnalysis
from raybench.report.files import write_text
from raybench.report.wording import limits, loose_note, tier_text
from raybench.version import __version__

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\textbar{}",
    "[": r"{[}",
    "]": r"{]}",
    '"': "''",
    "±": r"\ensuremath{\pm}",
    "≈": r"\ensuremath{\approx}",
    "×": r"\ensuremath{\times}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "·": r"\ensuremath{\cdot}",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
}


def write_latex(analysis: Analysis, file: Path) -> Path:
    """Writes the tables in one step.

    Raises:
        HomeError: ``file`` cannot be written.
    """
    return write_text(file, render_latex(analysis))


def render_latex(analysis: Analysis) -> str:
    """The same analysis gives the same text."""
    tasks = list(analysis.tasks.values())
    parts = [_head(analysis), *(_task(analysis, t, RULE * (t is tasks[0])) for t in tasks)]
    if analysis.overall.scores:
        parts.append(_across(analysis))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Anybody's text as one line that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(character, character) for character in numbers.clean(text))


def _head(analysis: Analysis) -> str:
    name = numbers.clean(analysis.snapshot.sweep)
    kept = "".join(f"\n% {numbers.clean(sentence)}" for sentence in limits(analysis))
    return (
        f"% Sweep {name}, by raybench {__version__}. In the preamble:\n"
        "%   \\usepackage{booktabs,longtable}\n"
        "% and where the tables are to stand: \\input{this file}\n"
        f"% {numbers.clean(analysis.headline.text)}{kept}"
    )


def _task(analysis: Analysis, task: TaskAnalysis, rule: str) -> str:
    """``rule``: how tiers are made; said once, as it is long."""
    metric = numbers.metric_title(task.metric)
    head = ["Tier", "Backbone", f"Test {metric}", "95% interval", "Runs", "Best", "Parameters"]
    rows = [_standing(analysis, standing) for standing in task.standings]
    said = (analysis.headline.by_task.get(task.name, ""), rule, *loose_note(task.standings))
    label = f"tab:{_label(task.name)}"
    return _table(
        label, f"{task.name}: test {metric}", " ".join(filter(None, said)), "rlrlrrr", [head, *rows]
    )


def _standing(analysis: Analysis, standing: Standing) -> list[str]:
    result, sure = standing.result, standing.uncertainty
    metric = final_metric(result.metric)
    return [
        tier_text(standing),
        analysis.short[result.pair.backbone],
        numbers.metric_value(metric, result.mean),
        numbers.interval_text(metric, result.mean, sure.widest if sure else result.final.ci95),
        f"{len(result.final.by_run)}/{result.final.wanted}",
        "" if standing.chance is None else numbers.chance(standing.chance),
        numbers.millions(result.parameters),
    ]


def _across(analysis: Analysis) -> str:
    overall = analysis.overall
    metric = f"Mean {numbers.metric_title(overall.metric)}"
    head = ["Backbone", metric, "Mean rank", "Mean score", "Win rate", "Best", "Failed on"]
    rows = [_score(analysis, score) for score in overall.scores]
    count = numbers.plural(len(overall.data_sets), "data set")
    said = f"{overall.note} {OVERALL_RULE}"
    return _table("tab:across-tasks", f"Across {count}", said, "lrrrrrl", [head, *rows])


def _score(analysis: Analysis, score: Score) -> list[str]:
    return [
        analysis.short[score.backbone],
        numbers.with_interval(analysis.overall.metric, score.mean, score.mean_ci),
        _with_ends(score.mean_rank, score.mean_rank_ci, "{:.2f}"),
        _with_ends(score.score, score.score_ci, "{:.3f}"),
        _with_ends(score.win_rate, score.win_rate_ci, "{:.2f}"),
        "" if score.chance is None else numbers.chance(score.chance),
        ", ".join(score.failed),
    ]


def _with_ends(value: float, interval: Interval | None, form: str) -> str:
    ends = "" if interval is None else f" [{', '.join(form.format(end) for end in interval)}]"
    return form.format(value) + ends


def _table(label: str, short: str, said: str, columns: str, rows: Sequence[Sequence[str]]) -> str:
    """A table that may go over pages: a task can have hundreds of backbones. Its head: row 0."""
    return "\n".join(_lines(label, short, f"{short}. {said}", columns, rows))


def _lines(
    label: str, short: str, title: str, columns: str, rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    head, *body = rows
    yield f"\\begin{{longtable}}{{@{{}}{columns}@{{}}}}"
    yield f"\\caption[{escape(short)}]{{{escape(title)}}}\\label{{{label}}}\\\\"
    yield "\\toprule"
    yield _row(head)
    yield "\\midrule"
    yield "\\endfirsthead"
    yield "\\toprule"
    yield _row(head)
    yield "\\midrule"
    yield "\\endhead"
    yield "\\bottomrule"
    yield "\\endlastfoot"
    yield from map(_row, body)
    yield "\\end{longtable}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _label(name: str) -> str:
    """LaTeX takes nearly anything in a label, but nobody wants to type it."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name).strip("-").lower()
