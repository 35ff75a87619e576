"""One live job for each sweep, numbered, and why a job came to nothing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from raybench.cluster.client import connect
from raybench.cluster.jobs import Job, read_job
from raybench.cluster.lines import Submitted, machine_line, versions
from raybench.cluster.submitting import Order, submit, wait_begun, why_ended
from raybench.errors import LeaseHeldError, ResourceError, SetupError, UserInputError
from raybench.parser import build_parser
from tests.cluster.standin import JobsServer
from tests.specs import tiny_data, write_sweep

BEGUN = machine_line("begun", {**versions(), "home": "/head/raybench-home"}) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(write_sweep(tmp_path / "tiny.yaml", tiny_data()))


def order(file: str, server: JobsServer, **options: Any) -> Order:
    return Order(file, address=server.url, python="/venv/bin/python", **options)


def test_what_is_sent(file: str, server: JobsServer) -> None:
    client, job = submit(
        order(file, server, home="/h o", overrides=["budget.trials=3"], max_gpus=2.0,
              accept_leaks=True)
    )  # fmt: skip
    assert job.id == "tiny-1"
    sent = server.jobs["tiny-1"]
    assert (
        sent["metadata"]["raybench.sweep"] == "tiny" and sent["metadata"]["raybench.home"] == "/h o"
    )
    assert sent["runtime_env"]["working_dir"].startswith("gcs://") and len(server.uploads) == 1
    words = shlex.split(sent["entrypoint"])
    assert words[:4] == ["exec", "/venv/bin/python", "-m", "raybench.cli"]
    there = build_parser().parse_args(words[4:])
    assert (there.verb, there.file, there.home) == ("run", "tiny.yaml", "/h o")
    assert (there.overrides, there.max_gpus, there.accept_leaks) == (["budget.trials=3"], 2.0, True)
    again = Submitted.from_text(there.submitted_by).again
    typed = build_parser().parse_args(shlex.split(again)[1:])
    assert (typed.verb, typed.file, typed.address) == ("submit", file, server.url)
    assert (typed.home, typed.overrides, typed.max_gpus) == ("/h o", ["budget.trials=3"], 2.0)
    assert typed.python == "/venv/bin/python" and typed.accept_leaks


def test_a_live_one_is_refused_an_ended_one_goes_on(file: str, server: JobsServer) -> None:
    submit(order(file, server))
    with pytest.raises(LeaseHeldError) as caught:
        submit(order(file, server))
    said = str(caught.value)
    assert "running already, as job tiny-1" in said
    assert f"raybench stop tiny --address {server.url}" in said
    for status in ("STOPPED", "FAILED", "SUCCEEDED"):
        newest = max(server.jobs)
        server.jobs[newest]["status"] = status
        assert submit(order(file, server))[1].id == f"tiny-{int(newest[-1]) + 1}"


def test_another_home_is_another_sweep(file: str, server: JobsServer) -> None:
    submit(order(file, server))
    assert submit(order(file, server, home="/other"))[1].id == "tiny-2"
    with pytest.raises(LeaseHeldError, match="tiny-2"):
        submit(order(file, server, home="/other"))


def test_of_two_at_once_one_is_refused(file: str, server: JobsServer) -> None:
    server.before_submit = lambda: server.add("tiny-1", "tiny", home="")
    with pytest.raises(LeaseHeldError, match="as job tiny-1"):
        submit(order(file, server))


def test_of_two_at_once_in_two_homes_both_run(file: str, server: JobsServer) -> None:
    server.before_submit = lambda: server.add("tiny-1", "tiny", home="/other")
    assert submit(order(file, server))[1].id == "tiny-2"


def test_other_refusals_are_told(file: str, server: JobsServer) -> None:
    client = connect(server.url)
    env = {"no_such_key_of_ray": 1, "pip": 3}
    with pytest.raises(UserInputError, match="Ray refuses the runtime environment"):
        submit(order(file, server, runtime_env=env))
    assert client.list_jobs() == []


def test_mistakes_come_before_the_cluster_is_asked(tmp_path: Path) -> None:
    bad = write_sweep(tmp_path / "bad.yaml", tiny_data(seed=-1))
    with pytest.raises(UserInputError, match="seed"):
        submit(Order(str(bad), address="http://127.0.0.1:1"))


def test_it_has_begun(file: str, server: JobsServer) -> None:
    server.plan(logs="Runtime env is setting up.\n" + BEGUN)
    client, job = submit(order(file, server))
    assert wait_begun(client, job, print)["home"] == "/head/raybench-home"


def test_it_has_not_begun_in_time(file: str, server: JobsServer) -> None:
    server.plan(status="PENDING", message="waiting for the runtime environment")
    client, job = submit(order(file, server))
    told: list[str] = []
    assert wait_begun(client, job, told.append, allowed_s=0.0) == {}
    assert "tiny-1 has not begun" in told[0] and "waiting for the runtime environment" in told[0]


MISSING = "/venv/bin/python: Error while finding module specification for 'raybench.cli' " \
          "(ModuleNotFoundError: No module named 'raybench')"  # fmt: skip
PIP = "runtime_env setup failed: Failed to set up runtime environment.\nTraceback ...\n" \
      "ERROR: Could not find a version that satisfies the requirement nosuch\n" \
      "[notice] A new release of pip is available"  # fmt: skip


@pytest.mark.parametrize(
    ("logs", "details", "error", "words"),
    [
        (MISSING, {"driver_exit_code": 1}, ResourceError, "is not installed in the Python"),
        ("/venv/bin/python: No module named raybench", {"driver_exit_code": 1}, ResourceError,
         "give the one that has it with --python"),
        ("raybench: the cluster has raybench 9", {"driver_exit_code": 3}, SetupError,
         "^the cluster has raybench 9$"),
        ("raybench: a.yaml: seed: got -1", {"driver_exit_code": 2}, UserInputError,
         "^a.yaml: seed"),
        ("", {"error_type": "RUNTIME_ENV_SETUP_FAILURE", "message": PIP}, ResourceError,
         "cannot make the runtime environment: ERROR: Could not find a version"),
        ("sh: 1: /nowhere/python: not found\nRunning entrypoint for job tiny-1: exec /nowhere",
         {"driver_exit_code": 127}, ResourceError,
         "tiny-1 ended .failed. before raybench began: sh: 1: /nowhere/python: not found"),
        ("", {"message": "Job supervisor actor died: node lost"}, ResourceError, "node lost"),
    ],
)  # fmt: skip
def test_it_died_before(
    file: str, server: JobsServer, logs: str, details: dict[str, Any], error: Any, words: str
) -> None:
    server.plan(logs=logs, status="FAILED", **details)
    client, job = submit(order(file, server))
    with pytest.raises(error, match=words):
        wait_begun(client, job, print)


def test_a_module_of_the_user_that_is_missing_is_not_raybench() -> None:
    job = Job("tiny-1", status="FAILED", driver_code=1)
    said = str(why_ended(job, "ModuleNotFoundError: No module named 'mycode'"))
    assert "not installed" not in said and "mycode" in said


def test_ray_is_asked_for_what_it_knows(file: str, server: JobsServer) -> None:
    client, job = submit(order(file, server))
    assert read_job(client, job.id).python == "/venv/bin/python"
