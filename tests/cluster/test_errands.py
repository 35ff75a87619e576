"""Snapshots that a short job brings back."""

from __future__ import annotations

import shlex

import pytest

from raybench.cluster import errands
from raybench.cluster.client import connect
from raybench.cluster.errands import read_snapshot, run_there
from raybench.cluster.lines import machine_line
from raybench.errors import ResourceError, UserInputError
from raybench.parser import build_parser
from raybench.snapshot_json import pack
from tests.cluster.standin import JobsServer
from tests.factories import realistic_snapshot

SNAPSHOT = realistic_snapshot()
ANSWER = "INFO -- setting up\nRunning entrypoint for job x: y\n" + (
    machine_line("snapshot", pack(SNAPSHOT)) + "\n"
)


def test_a_snapshot_from_the_newest_jobs_home(server: JobsServer) -> None:
    env = {"pip": ["lightly"], "working_dir": "gcs://gone.zip", "env_vars": {"MODE": "fast"}}
    server.add("a-1", "a", home="/first", status="STOPPED")
    server.add("a-2", "a", home="/second", runtime_env=env)
    server.plan(logs=ANSWER, status="SUCCEEDED", driver_exit_code=0)
    assert read_snapshot(connect(server.url), "a") == SNAPSHOT
    (job_id,) = server.deleted
    sent = server.jobs[job_id]
    assert sent["metadata"] == {}  # it is no job of the sweep
    assert sent["runtime_env"]["pip"] and sent["runtime_env"]["env_vars"]["MODE"] == "fast"
    assert "working_dir" not in sent["runtime_env"]
    words = shlex.split(sent["entrypoint"])
    there = build_parser().parse_args(words[words.index("raybench.cli") + 1 :])
    assert (there.verb, there.sweep, there.home, there.packed) == ("status", "a", "/second", True)


def test_a_home_that_is_named_counts(server: JobsServer) -> None:
    server.add("a-1", "a", home="/first")
    server.plan(logs=ANSWER, status="SUCCEEDED")
    read_snapshot(connect(server.url), None, "/named")
    assert shlex.split(server.jobs[server.deleted[0]]["entrypoint"])[-3:] == [
        "--packed", "--home", "/named",
    ]  # fmt: skip


def test_what_raybench_says_there_is_said_here(server: JobsServer) -> None:
    logs = "raybench: no sweep 'x' in this home; its sweeps: a, b\n"
    server.plan(logs=logs, status="FAILED", driver_exit_code=2)
    with pytest.raises(UserInputError, match="^no sweep 'x' in this home; its sweeps: a, b$"):
        read_snapshot(connect(server.url), "x")
    assert len(server.deleted) == 1


def test_an_answer_without_a_snapshot(server: JobsServer) -> None:
    server.plan(logs="something else", status="SUCCEEDED")
    with pytest.raises(ResourceError, match="without a snapshot"):
        read_snapshot(connect(server.url), "a")


def test_one_that_takes_too_long_is_stopped(server: JobsServer, monkeypatch) -> None:
    monkeypatch.setattr(errands, "ANSWER_S", 0.1)
    server.plan(status="PENDING", message="waiting for a node")
    with pytest.raises(ResourceError, match="no answer within 0 s: waiting for a node"):
        run_there(connect(server.url), ["sync"], None)
    assert len(server.stopped) == 1 and server.deleted == server.stopped
