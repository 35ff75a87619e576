"""A job's lines, whole and once each, however its connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from raybench.cluster import following
from raybench.cluster.client import connect
from raybench.cluster.following import Listener, follow, readable
from raybench.cluster.lines import machine_line
from raybench.errors import ResourceError
from tests.cluster.standin import JobsServer

TEXT = "one\ntwo\n\nfour, which is longer\nlast without end"
BEGUN = {"raybench": "0.1", "home": "/h"}
PROGRESS = {"at_s": 0, "caption": "1/2", "rows": [["a", "b"]]}


class Flaky:
    """A client whose connections end as they are told; each begins at the log's beginning."""

    def __init__(self, real: Any, *lives: list[Any]) -> None:
        self._real, self.lives = real, list(lives)

    def get_job_info(self, job_id: str) -> Any:
        return self._real.get_job_info(job_id)

    def get_job_logs(self, job_id: str) -> Any:
        return self._real.get_job_logs(job_id)

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        for piece in self.lives.pop(0):
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece


@pytest.fixture
def real(server: JobsServer) -> Any:
    server.add("a-1", "a", status="RUNNING")
    return connect(server.url)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those that were made, of no time."""
    made: list[float] = []
    monkeypatch.setattr(following.time, "sleep", made.append)
    return made


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    "lives",
    [
        [[TEXT]],
        [list(TEXT)],
        [[TEXT[:6], RuntimeError("closed")], [TEXT]],
        [
            [TEXT[:6], OSError("reset")],
            [TEXT[:3], TEXT[3:9], RuntimeError("x")],
            [TEXT[:1], TEXT[1:]],
        ],
        [[TEXT[:6], 5.0], [TEXT]],
        [[RuntimeError("at once")], [TEXT]],
    ],
)
def test_every_line_once(real: Any, lives: list[list[Any]]) -> None:
    client = Flaky(real, *lives)
    assert list(follow(client, "a-1", silence_s=0.2)) == TEXT.split("\n")
    assert client.lives == []


def test_a_cluster_that_is_gone_is_told(server: JobsServer, real: Any) -> None:
    lines = follow(Flaky(real, ["one\n", RuntimeError("closed")]), "a-1")
    assert next(lines) == "one"
    server.refuse, server.body = 403, "Forbidden"
    with pytest.raises(ResourceError, match="refuses the token"):
        next(lines)


def test_connections_that_all_break_are_given_up_after_a_minute(
    real: Any, pauses: list[float]
) -> None:
    """A proxy that answers 502 to each; one that lets the beginning through, and never more."""
    for life in ([RuntimeError("502")], [TEXT[:6], RuntimeError("502")]):
        pauses.clear()
        lives = [[TEXT[:6], OSError("reset")]] + [life] * 20
        with pytest.raises(ResourceError, match=r"broke 10 times running \(502\).*WebSockets"):
            list(follow(Flaky(real, *lives), "a-1"))
        assert pauses == sorted(pauses) and 55 < sum(pauses) < 65


@pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")  # Ray's
@pytest.mark.usefixtures("pauses")
def test_a_dashboard_behind_something_without_websockets(real: Any) -> None:
    """As Ray's own client tells of it: the stand-in answers plain HTTP."""
    with pytest.raises(ResourceError, match="broke 10 times running .*Invalid response status"):
        list(follow(real, "a-1"))


def test_what_brings_something_new_or_has_held_is_none_of_them(
    real: Any, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    lives: list[list[Any]] = [[TEXT[:end], RuntimeError("x")] for end in range(1, len(TEXT))]
    assert list(follow(Flaky(real, *lives, [TEXT]), "a-1")) == TEXT.split("\n")
    assert set(pauses) == {0.5}
    monkeypatch.setattr(following, "HELD_S", 0.02)
    silent: list[list[Any]] = [[TEXT, 5.0]] * 15
    assert list(follow(Flaky(real, *silent, [TEXT]), "a-1", 0.03)) == TEXT.split("\n")


@pytest.mark.usefixtures("pauses")
def test_the_rest_of_a_job_that_is_over_needs_no_connection(server: JobsServer, real: Any) -> None:
    server.jobs["a-1"]["status"], server.logs["a-1"] = "FAILED", TEXT
    client = Flaky(real, [TEXT[:6], RuntimeError("502")])
    assert list(follow(client, "a-1")) == TEXT.split("\n")


def test_what_is_heard_goes_where_it_belongs() -> None:
    said: list[str] = []
    results: list[str] = []
    shown: list[Any] = []
    listener = Listener(said.append, results.append, shown.append)
    for line in (
        "INFO job_manager.py -- Runtime env is setting up.",
        machine_line("begun", BEGUN),
        "data: digits",
        machine_line("progress", PROGRESS),
        machine_line("newer_kind", 1),
        '::raybench {"progress": 1}',
        machine_line("result", True),
        "leaderboard",
        "",
        machine_line("ended", 1),
        "1 of 2 pairs ended without a result",
    ):
        listener.hear(line)
    assert said == [
        "data: digits",
        '::raybench {"progress": 1}',
        "1 of 2 pairs ended without a result",
    ]
    assert results == ["leaderboard", ""]
    assert shown == [PROGRESS]
    assert (listener.exit_code, listener.begun) == (1, BEGUN)


def test_for_people_the_table_is_a_line_every_half_minute() -> None:
    def at(at_s: int) -> str:
        return machine_line("progress", {"at_s": at_s, "caption": f"after {at_s} s", "rows": []})

    lines = ["Running entrypoint for job a-1: exec x", machine_line("begun", BEGUN), "data: digits"]
    lines += [at(second) for second in (0, 5, 29, 30, 59, 60)] + [machine_line("ended", 0), "done"]
    assert list(readable(iter(lines))) == [
        "data: digits", "after 0 s", "after 30 s", "after 60 s", "done",
    ]  # fmt: skip
