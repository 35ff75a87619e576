"""LaTeX tables: every backbone of every task, whatever its name, in text that LaTeX can read."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from raybench.analysis.comparison import RULE
from raybench.analysis.constraints import Constraints
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot
from raybench.report.latex import escape, render_latex, write_latex
from tests.factories import final_trial, make_pair, make_snapshot, pair_id, realistic_snapshot

ODD = r"a_b %50 & {x} \y $z$ #1 ~^ <|> [t] 'q' \"w\" ±≈"


def odd_snapshot() -> SweepSnapshot:
    pairs = []
    for backbone in (ODD, "plain"):
        key = pair_id(backbone, "digits")
        finals = tuple(final_trial(key, n, n, 0.9 + n / 100) for n in range(3))
        pairs.append(make_pair(backbone, finals))
    return make_snapshot(*pairs)


def test_every_backbone_of_every_task_is_there() -> None:
    analysis = Analysis(realistic_snapshot())
    text = render_latex(analysis)
    tables = text.split(r"\begin{longtable}")[1:]
    assert len(tables) == len(analysis.tasks) + bool(analysis.overall.scores)
    for task, table in zip(analysis.tasks.values(), tables, strict=False):
        rows = table.split(r"\endlastfoot")[1].split(r"\end{longtable}")[0].strip().splitlines()
        assert [row.split(" & ")[1] for row in rows] == [
            escape(analysis.short[s.result.pair.backbone]) for s in task.standings
        ]


def test_no_rank_is_claimed_and_the_rule_stands_there_once() -> None:
    text = render_latex(Analysis(realistic_snapshot()))
    tables = text.split(r"\begin{longtable}")[1:]
    assert len(tables) > 2 and text.count(escape(RULE)) == 1 and escape(RULE) in tables[0]
    assert r"Tier & Backbone & Test accuracy" in tables[0]


def test_limits_are_said() -> None:
    limits = Constraints(max_params_m=3.0)
    text = render_latex(Analysis(realistic_snapshot(), constraints=limits))
    assert "% Under the limits (at most 3 M parameters)" in text


def test_the_same_analysis_gives_the_same_text(tmp_path: Path) -> None:
    file = write_latex(Analysis(realistic_snapshot()), tmp_path / "a" / "tables.tex")
    assert file.read_text() == render_latex(Analysis(realistic_snapshot()))


def test_it_is_a_fragment_that_says_what_it_needs() -> None:
    text = render_latex(Analysis(realistic_snapshot()))
    assert "documentclass" not in text and r"\usepackage{booktabs,longtable}" in text
    assert text.splitlines()[0].startswith("% Sweep quickstart, by raybench ")


def test_nothing_special_is_left() -> None:
    text = escape(ODD)
    without = re.sub(r"\\(?:text\w+|ensuremath|pm|approx)|\\[{}$&#%_]|\{[\[\]<>]?\}|[{}]", "", text)
    assert not set(without) & set('\\{}$&#%_~^<>|"±≈'), without
    assert escape("a\nb\x00c") == "a b c"


def test_a_name_breaks_no_row() -> None:
    text = render_latex(Analysis(odd_snapshot()))
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and " & " in line]
    cells = {len(re.split(r"(?<!\\)&", row)) for row in rows}
    assert cells == {7}


def test_a_sweep_without_results_is_no_mistake() -> None:
    render_latex(Analysis(replace(make_snapshot(), sweep="a%b")))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_it_compiles(tmp_path: Path) -> None:
    write_latex(Analysis(odd_snapshot()), tmp_path / "tables.tex")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,longtable}"
        "\\begin{document}\\input{tables}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
