"""The commands about a cluster: streams, exit codes, JSON; the cluster is a stand-in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raybench
from raybench.cli import main
from raybench.cluster.following import Listener
from raybench.cluster.lines import Submitted, machine_line, versions
from raybench.parser import build_parser
from raybench.snapshot_json import pack
from raybench.verbs import sweeps
from tests.cluster.standin import JobsServer, jobs_server
from tests.factories import realistic_snapshot
from tests.specs import tiny_data, write_sweep

BEGUN = machine_line("begun", {**versions(), "home": "/head/home"}) + "\n"
TABLE = [machine_line("result", True), "the leaderboard", machine_line("ended", 1)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsServer]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with jobs_server() as server:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", server.url)
        yield server


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "tiny.yaml", tiny_data())


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def say(monkeypatch: pytest.MonkeyPatch, *lines: Any) -> None:
    """What a job that is followed says; an exception is raised in its place."""

    def follow(client: Any, job_id: str) -> Iterator[str]:
        for line in lines:
            if isinstance(line, BaseException):
                raise line
            yield line

    monkeypatch.setattr("raybench.cluster.following.follow", follow)


def test_submit_says_what_to_type_next(capsys, server, sweep_file) -> None:
    server.plan(logs=BEGUN)
    code, out, err = told(capsys, "submit", sweep_file)
    assert (code, out) == (0, "tiny-1\n")
    assert "submitted as tiny-1" in err and "has begun, in /head/home" in err
    assert "raybench logs tiny -f" in err and "raybench stop tiny" in err
    code, out, err = told(capsys, "submit", sweep_file, "--address", server.url)
    assert (code, out) == (3, "") and "running already, as job tiny-1" in err


def test_submit_as_json(capsys, server, sweep_file) -> None:
    server.plan(logs=BEGUN)
    code, out, _ = told(capsys, "submit", sweep_file, "--json")
    assert code == 0 and json.loads(out) == {
        "sweep": "tiny", "submission_id": "tiny-1", "address": server.url, "status": "running",
        "exit_code": None, "home": "/head/home",
    }  # fmt: skip


def test_a_patched_raybench_there_is_told(capsys, server, sweep_file) -> None:
    begun = {**versions(), "raybench": "0.1.99", "home": "/h"}
    server.plan(logs=machine_line("begun", begun) + "\n")
    _, _, err = told(capsys, "submit", sweep_file)
    assert f"raybench 0.1.99 (here: {raybench.__version__}) has begun" in err


def test_mistakes_end_with_2_and_nothing_is_sent(capsys, server, tmp_path) -> None:
    bad = write_sweep(tmp_path / "bad.yaml", tiny_data(seed=-1, sed=1))
    code, out, err = told(capsys, "submit", bad, "--runtime-env", "{x")
    assert (code, out) == (2, "") and len(err.splitlines()) == 3
    assert server.jobs == {}


def test_waiting_ends_as_the_run_does(capsys, server, sweep_file, monkeypatch) -> None:
    server.plan(logs=BEGUN, status="FAILED", driver_exit_code=1)
    progress = machine_line("progress", {"at_s": 0, "caption": "1/2 pairs", "rows": []})
    say(monkeypatch, "noise of Ray", BEGUN.strip(), "data: digits", progress, *TABLE, "next steps")
    code, out, err = told(capsys, "submit", sweep_file, "--wait")
    assert (code, out) == (1, "the leaderboard\n")
    assert "noise of Ray" not in err
    assert err.index("data: digits") < err.index("1/2 pairs") < err.index("next steps")


def test_waiting_with_json_keeps_stdout_clean(capsys, server, sweep_file, monkeypatch) -> None:
    server.plan(logs=BEGUN, status="FAILED", driver_exit_code=1)
    say(monkeypatch, BEGUN.strip(), *TABLE)
    code, out, err = told(capsys, "submit", sweep_file, "--wait", "--json")
    assert code == 1 and json.loads(out)["exit_code"] == 1 and "the leaderboard" in err


@pytest.mark.parametrize(
    ("details", "code", "words"),
    [
        ({"status": "STOPPED"}, 130, ""),
        ({"status": "FAILED", "driver_exit_code": 3}, 3, ""),
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, 0, ""),
        ({"status": "FAILED", "driver_exit_code": -9, "message": "exit code -9, last logs"}, 3,
         "was cut off (exit code -9, last logs); submit it again"),
        ({"status": "FAILED", "message": "Job supervisor actor died"}, 3, "actor died"),
        ({"status": "FAILED", "message": ""}, 3, "was cut off (Ray gives no reason)"),
    ],
)  # fmt: skip
def test_waiting_for_one_without_last_words(
    capsys, server, sweep_file, monkeypatch, details, code, words
) -> None:
    server.plan(logs=BEGUN, **details)
    say(monkeypatch, BEGUN.strip(), "data: digits")
    found, out, err = told(capsys, "submit", sweep_file, "--wait")
    assert (found, out) == (code, "") and words in err


def test_waiting_for_one_that_never_begins(capsys, server, sweep_file, monkeypatch) -> None:
    monkeypatch.setattr("raybench.cluster.submitting.wait_begun", lambda *arguments: {})
    details = {"error_type": "RUNTIME_ENV_SETUP_FAILURE", "message": "ERROR: no such package"}
    server.plan(status="FAILED", **details)
    say(monkeypatch)
    code, out, err = told(capsys, "submit", sweep_file, "--wait")
    assert (code, out) == (3, "") and "runtime environment: ERROR: no such package" in err


def test_who_leaves_does_not_end_it(capsys, server, sweep_file, monkeypatch) -> None:
    server.plan(logs=BEGUN)
    say(monkeypatch, BEGUN.strip(), KeyboardInterrupt())
    code, out, err = told(capsys, "submit", sweep_file, "--wait")
    assert (code, out) == (130, "") and "tiny-1 goes on without this terminal" in err
    assert server.stopped == []


def test_logs(capsys, server) -> None:
    server.add("tiny-1", "tiny", logs=BEGUN + "data: digits\n" + "\n".join(TABLE) + "\n")
    code, out, err = told(capsys, "logs", "tiny")
    assert (code, out, err) == (0, "data: digits\nthe leaderboard\n", "tiny-1: running\n")
    server.add("tiny-2", "tiny", status="FAILED", message="runtime_env setup failed: pip")
    server.jobs["tiny-1"]["status"] = "STOPPED"
    assert told(capsys, "logs", "tiny") == (
        0, "", "tiny-2: failed\nruntime_env setup failed: pip\n",
    )  # fmt: skip
    code, _, err = told(capsys, "logs", "other")
    assert code == 2 and "its sweeps: tiny" in err


def test_logs_that_are_followed(capsys, server, monkeypatch) -> None:
    server.add("tiny-1", "tiny")
    say(monkeypatch, BEGUN.strip(), "data: digits", *TABLE)
    assert told(capsys, "logs", "tiny", "-f")[1] == "data: digits\nthe leaderboard\n"


def test_stop(capsys, server) -> None:
    server.add("tiny-1", "tiny")
    server.ending = {"status": "STOPPED", "logs": machine_line("ended", 130) + "\n"}
    code, out, err = told(capsys, "stop", "tiny")
    assert (code, out) == (0, "tiny-1: drained; nothing is lost, submit it again to go on\n")
    assert "draining" in err and server.stopped == ["tiny-1"]


def answer(server: JobsServer, snapshot: Any, times: int = 1) -> None:
    line = machine_line("snapshot", pack(snapshot)) + "\n"
    for _ in range(times):
        server.plan(logs=line, status="SUCCEEDED", driver_exit_code=0)


def test_status_and_report_are_those_of_the_home_itself(
    capsys, server, finished_home, tmp_path
) -> None:
    here = ("--home", finished_home)
    answer(server, raybench.open("tiny", home=finished_home).snapshot(), times=6)
    for option in ([], ["--json"]):
        local = told(capsys, "status", "tiny", *here, *option)
        assert told(capsys, "status", "tiny", "--address", server.url, *option) == local
    _, out, _ = told(capsys, "report", "tiny", "--address", server.url)
    assert "! The predictions are on the cluster and were not read" in out
    _, out, _ = told(capsys, "report", "tiny", "--address", server.url, "--json")
    _, local_out, _ = told(capsys, "report", "tiny", *here, "--json")
    found, local_json = json.loads(out), json.loads(local_out)
    assert found["pairs"] == local_json["pairs"] and len(found["notes"]) == 1
    page, tables = tmp_path / "page.html", tmp_path / "tables"
    code, _, _ = told(
        capsys, "report", "tiny", "--address", server.url, "--html", page, "--csv", tables
    )
    assert code == 0 and "test_resnet" in page.read_text() and list(tables.glob("*.csv"))
    assert len(server.deleted) == 5  # one job for each, not two


def test_a_cluster_sweep_in_a_notebook(server, finished_home, sweep_file) -> None:
    snapshot = raybench.open("tiny", home=finished_home).snapshot()
    server.plan(logs=BEGUN)
    answer(server, snapshot, times=2)
    sweep = raybench.submit(sweep_file, server.url)
    assert sweep.name == "tiny" and len(sweep.leaderboard()) == 1
    assert raybench.open(address=server.url).name == "tiny"


def test_sync_there(capsys, server) -> None:
    logs = "Running entrypoint for job x: y\ntiny: 1 pairs, 8 epochs; trials: 4 written\n"
    server.plan(logs=logs, status="SUCCEEDED", driver_exit_code=0)
    code, out, _ = told(capsys, "sync", "tiny", "--address", server.url)
    assert (code, out) == (0, "tiny: 1 pairs, 8 epochs; trials: 4 written\n")


@pytest.fixture
def home(tmp_path: Path, finished_home: Path) -> Path:
    return Path(shutil.copytree(finished_home, tmp_path / "copy"))


def test_a_run_that_was_submitted_tells_its_sender(capsys, home, sweep_file) -> None:
    sent = Submitted(versions(), "raybench submit tiny.yaml", "http://head:8265")
    given = ("run", sweep_file, "--home", home, "--inline", "--no-tracking")
    code, out, err = told(capsys, *given, "--submitted-by", sent.to_text())
    results: list[str] = []
    said: list[str] = []
    listener = Listener(said.append, results.append, lambda content: None)
    for line in [*err.splitlines()[:1], *out.splitlines(), *err.splitlines()[1:]]:
        listener.hear(line)
    assert (code, listener.exit_code) == (0, 0)
    assert listener.begun == {**versions(), "home": str(home)}
    assert "\n".join(results) + "\n" == told(capsys, *given)[1]
    assert (
        said[-1].startswith("Next: raybench report tiny")
        and "--address http://head:8265" in (said[-1])
    )
    assert "raybench ui" not in said[-1]


def test_a_drained_job_says_how_the_sender_goes_on() -> None:
    sent = Submitted(versions(), "raybench submit tiny.yaml --address http://head:8265", "")
    given = build_parser().parse_args(["run", "/tmp/ray/tiny.yaml", "--home", "/there"])
    result = SimpleNamespace(snapshot=realistic_snapshot(), signal=2, tracking_problem=None)
    lines = sweeps._next_steps(given, result, sent)
    assert f"drained; nothing is lost. To go on: {sent.again}" in lines
    here = sweeps._next_steps(given, result, None)
    assert any(line.endswith("raybench run /tmp/ray/tiny.yaml --home /there") for line in here)


def test_a_run_for_another_raybench_is_refused(capsys, home, sweep_file) -> None:
    sent = Submitted({**versions(), "result_version": 99}, "", "").to_text()
    code, out, err = told(capsys, "run", sweep_file, "--home", home, "--submitted-by", sent)
    assert (code, out) == (3, "") and err.startswith("raybench: the cluster has raybench")


def test_packed_is_what_unpacks(capsys, finished_home) -> None:
    code, out, _ = told(capsys, "status", "tiny", "--home", finished_home, "--packed")
    snapshot = raybench.open("tiny", home=finished_home).snapshot()
    assert code == 0 and out == machine_line("snapshot", pack(snapshot)) + "\n"
