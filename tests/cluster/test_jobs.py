"""Which job is meant by a name, and which id comes next."""

from __future__ import annotations

import pytest

from raybench.cluster.client import connect
from raybench.cluster.jobs import Job, list_jobs, newest_job, next_id
from raybench.errors import UserInputError
from tests.cluster.standin import JobsServer


def test_ids_count_on_past_ten_and_by_sweep() -> None:
    jobs = [Job(id) for id in ("a-2", "a-10", "a-b-99", "a.b-7", "raysubmit_x", "a-x", "ax-50")]
    assert next_id(jobs, "a") == "a-11"
    assert next_id(jobs, "a.b") == "a.b-8"
    assert next_id(jobs, "axb") == "axb-1"
    assert next_id([], "new") == "new-1"


def test_the_newest_or_the_live_one(server: JobsServer) -> None:
    client = connect(server.url)
    server.add("a-1", "a", status="RUNNING", start_time=5)
    server.add("a-2", "a", status="FAILED", start_time=9, driver_exit_code=1)
    server.add("b-1", "b", status="STOPPED", start_time=7)
    server.add("b-2", "b", status="STOPPED", start_time=8)
    server.add("raysubmit_1", status="SUCCEEDED", start_time=1)
    assert [job.id for job in list_jobs(client)][:2] == ["a-2", "b-2"]
    assert newest_job(client, "a").id == "a-1"
    assert newest_job(client, "b").id == "b-2"
    assert newest_job(client, "b-1").id == "b-1"
    assert newest_job(client, "raysubmit_1").sweep == ""


def test_an_unknown_one_is_told_with_those_there_are(server: JobsServer) -> None:
    client = connect(server.url)
    with pytest.raises(UserInputError, match="no job of a sweep 'x' .* its sweeps: none yet"):
        newest_job(client, "x")
    server.add("b-1", "b")
    server.add("a-1", "a", home="/there")
    with pytest.raises(UserInputError, match="its sweeps: a, b"):
        newest_job(client, "x")
    with pytest.raises(UserInputError, match="'a' in the home /elsewhere on this cluster"):
        newest_job(client, "a", "/elsewhere")
    assert newest_job(client, "a", "/there").id == "a-1"


def test_two_live_ones_in_two_homes_must_be_told_apart(server: JobsServer) -> None:
    client = connect(server.url)
    server.add("a-1", "a", home="/one")
    server.add("a-2", "a")
    with pytest.raises(UserInputError, match="several homes: /one, the cluster's default; "):
        newest_job(client, "a")
    assert newest_job(client, "a", "/one").id == "a-1"


def test_exit_codes_as_a_shell_says_them() -> None:
    assert [Job("", driver_code=code).exit_code for code in (None, 0, 3, -9)] == [None, 0, 3, 137]
