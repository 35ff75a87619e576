"""The page in MLflow: sent at the end, never anybody's wait, never anybody's failure."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raybench import publishing
from raybench.records import SweepSnapshot
from raybench.reporting import Outputs, Report
from raybench.settings import Settings, resolve_settings
from raybench.sweep.run import RunResult
from tests.factories import make_pair, make_snapshot, realistic_snapshot


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "home").mkdir()
    return resolve_settings(tmp_path / "home", {})


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``send_report`` was asked for; the files are made, and listed instead of sent."""
    calls: list[dict[str, Any]] = []

    def send_report(uri: str, root: str, own: bool, header: Any, digest: str, make: Any) -> bool:
        calls.append({"uri": uri, "root": root, "own": own, "digest": digest, "make": make})
        return True

    monkeypatch.setattr("raybench.tracking.sweep_run.send_report", send_report)
    return calls


def over(*states: str) -> SweepSnapshot:
    pairs = [make_pair(str(n), state=state) for n, state in enumerate(states)]  # type: ignore[arg-type]
    return make_snapshot(*pairs)


@pytest.mark.parametrize(
    ("states", "is_over"),
    [
        (("done", "done"), True),
        (("done", "failed"), True),
        (("failed",), False),
        (("done", "searching"), False),
        (("done", "incomplete"), False),
    ],
)
def test_a_sweep_that_is_over_gets_its_page(
    states: tuple[str, ...], is_over: bool, monkeypatch: Any, settings: Settings
) -> None:
    published: list[SweepSnapshot] = []
    monkeypatch.setattr(publishing, "publish", lambda snapshot, _: published.append(snapshot))
    publishing.publish_end(RunResult(over(*states)), settings)
    assert bool(published) == is_over
    published.clear()
    publishing.publish_end(RunResult(over(*states), tracking_problem="lags"), settings)
    assert not published, "what MLflow lacks comes first, by sync"
    publishing.publish_end(RunResult(over(*states)), replace(settings, publish=False))
    assert not published, "RAYBENCH_PUBLISH=0"


def test_it_goes_where_the_runs_go(sent: list[dict[str, Any]], settings: Settings) -> None:
    publishing.publish(realistic_snapshot(), settings)
    (call,) = sent
    assert (call["uri"], call["root"]) == (settings.tracking_uri, settings.artifact_root)
    assert call["own"] is True


def test_its_digest_is_of_what_is_shown(sent: list[dict[str, Any]], settings: Settings) -> None:
    snapshot = realistic_snapshot()
    held = replace(snapshot, lease={"host": "node7"})
    other = replace(snapshot, pairs=snapshot.pairs[1:])
    for one in (snapshot, held, other):
        publishing.publish(one, settings)
    first, second, third = (call["digest"] for call in sent)
    assert first == second != third


def test_its_files(
    sent: list[dict[str, Any]], settings: Settings, tmp_path: Path, monkeypatch: Any
) -> None:
    def write(self: Report, outputs: Outputs) -> list[Path]:
        assert not self.choices.pictures, "a server has more readers than the data"
        return list(outputs.wanted.values())

    drawn: list[bool] = []
    monkeypatch.setattr(Report, "write", write)  # the page and the plots have tests of their own
    monkeypatch.setattr(
        "raybench.report.rendering.write_plots", lambda *given, pixels: drawn.append(pixels)
    )
    publishing.publish(realistic_snapshot(), settings)
    sent[0]["make"](tmp_path)
    board = (tmp_path / "leaderboard.csv").read_text().splitlines()
    assert len(board) == 1 + sum(pair.current for pair in realistic_snapshot().pairs)
    assert (tmp_path / "leaderboard.json").read_text().startswith('{"columns":["task"')
    assert drawn == [False]


def test_a_failure_is_told_and_not_raised(
    settings: Settings, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: Any) -> bool:
        raise OSError("http://me:hunter22@host: Connection refused")

    monkeypatch.setattr("raybench.tracking.sweep_run.send_report", broken)
    publishing.publish(realistic_snapshot(), settings)
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "the sweep's page is not in MLflow" in record.getMessage()
    assert "raybench sync" in record.getMessage() and "hunter22" not in record.getMessage()


def test_a_silent_server_is_not_waited_for(
    settings: Settings, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answered = threading.Event()
    monkeypatch.setattr("raybench.tracking.sweep_run.send_report", lambda *given: answered.wait(20))
    started = time.monotonic()
    publishing.publish(realistic_snapshot(), settings, patience_s=0.2)
    assert time.monotonic() - started < 10 and "has not taken the sweep's page" in caplog.text
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "raybench-report":
            thread.join(20)
