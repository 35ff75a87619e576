"""Stopping waits for the end, and says what end it was."""

from __future__ import annotations

import pytest

from raybench.cluster.client import connect
from raybench.cluster.jobs import read_job
from raybench.cluster.lines import machine_line
from raybench.cluster.stopping import stop_job
from tests.cluster.standin import JobsServer


def ended(code: int) -> str:
    return machine_line("ended", code) + "\n"


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (ended(130), "drained; nothing is lost"),
        (ended(143), "drained; nothing is lost"),
        (ended(0), "a-1: done"),
        (ended(1), "ended with exit code 1; why: raybench logs a"),
        ("raybench: interrupted before the first trial; the same command starts again\n",
         "drained; nothing is lost"),
        ("", "killed, as it had not drained within 600 s"),
    ],
)  # fmt: skip
def test_how_it_ended(
    server: JobsServer, monkeypatch: pytest.MonkeyPatch, logs: str, words: str
) -> None:
    server.add("a-1", "a", logs="data: digits\n")
    server.ending, server.drains = {"status": "STOPPED", "logs": logs}, 1
    monkeypatch.setattr("raybench.cluster.stopping._POLL_S", 0.01)
    client = connect(server.url)
    told: list[str] = []
    assert words in stop_job(client, read_job(client, "a-1"), told.append)
    assert server.stopped == ["a-1"] and told == [
        "a-1: draining, running trials are being checkpointed"
    ]


def test_one_that_is_over_is_left_alone(server: JobsServer) -> None:
    server.add("a-1", "a", logs="killed by somebody", status="FAILED", driver_exit_code=-9)
    client = connect(server.url)
    said = stop_job(client, read_job(client, "a-1"), print)
    assert said.startswith("a-1 is over already: ended with exit code 137")
    assert server.stopped == []
