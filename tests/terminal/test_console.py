"""The live table: the same for a run here and for a job elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from raybench.cluster.lines import parse_line
from raybench.plan import make_plan
from raybench.sweep.board import PairProgress
from raybench.terminal import console
from raybench.terminal.console import ConsoleObserver, JobObserver, Progress, progress_of
from tests.specs import pairs_spec

PAIR = make_plan(pairs_spec(2, 4)).pairs
FIRST = PairProgress(PAIR[0], "searching", 1, 4, 0, 2, 1, 1, 0.5, 90.0, 60.0)
SECOND = replace(FIRST, pair=PAIR[1], search_done=0, running=0, best=None, trial_seconds=None)


class Searcher:
    draining = False
    pairs = [SECOND, FIRST]

    def progress(self) -> list[PairProgress]:
        return self.pairs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_what_is_shown() -> None:
    progress = progress_of(Searcher())  # type: ignore[arg-type]
    assert progress.caption == (
        "0/2 pairs  ·  1/12 trials  ·  1 running  ·  0.05 device-hours of search  ·  "
        "about 11m00s left"
    )
    assert [row[2:] for row in progress.rows] == [
        ("searching (1 failed)", "1/4", "0/2", "1", "0.5000", "1m30s"),
        ("searching (1 failed)", "0/4", "0/2", "", "", "1m30s"),
    ]


def test_a_job_says_it_when_it_has_changed_and_ever_more_rarely(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    searcher: Any = Searcher()
    observer = JobObserver()
    said = []
    for at_s in (0, 1, 5, 6, 5000, 5004, 86_400, 86_480, 86_487):
        clock[0] = 1000.0 + at_s
        searcher.pairs = [replace(FIRST, device_seconds=float(at_s))]
        observer.watch(searcher)
        said.append(capsys.readouterr().err)
    assert [bool(line) for line in said] == [
        True, False, True, False, True, False, True, False, True,
    ]  # fmt: skip
    clock[0] += 1000
    observer.watch(searcher)
    assert capsys.readouterr().err == ""  # nothing new
    found = parse_line(said[2].rstrip("\n"))
    assert found is not None and found[0] == "progress" and found[1]["at_s"] == 5
    shown = progress_of(searcher.__class__())
    assert set(found[1]) == {"at_s", "caption", "rows"} and len(found[1]["rows"][0]) == len(
        shown.rows[0]
    )


def test_where_there_is_no_terminal_a_line_every_half_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ConsoleObserver() as observer:
        for at_s, caption in ((0, "one"), (10, "two"), (40, "three"), (80, "three")):
            clock[0] = 1000.0 + at_s
            if observer.is_due():
                observer.show(Progress(caption, []))
    assert capsys.readouterr().err == "one\nthree\n"


def test_on_a_terminal_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    observer = ConsoleObserver()
    terminal = Console(file=out, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(observer, "_console", terminal)
    with observer:
        observer.show(progress_of(Searcher()))  # type: ignore[arg-type]
        assert "backbone" in out.getvalue() and "0.5000" in out.getvalue()


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleObserver(quiet=True) as observer:
        observer.message("a")
        assert not observer.is_due()
    assert capsys.readouterr().err == ""
