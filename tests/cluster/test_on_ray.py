"""Jobs on a real Ray head with a token: two sweeps at once, refused, drained, resumed, read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import raybench
from tests.ray_head import RayHead, ray_head
from tests.specs import tiny_data, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

SHORT = {"image_size": 32, "batch_size": 64, "epochs": 1, "augment": "none"}
LONG = {"image_size": 32, "batch_size": 16, "epochs": 400, "augment": "none"}


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head() as head:
        yield head


def small(name: str, **changes: object) -> dict[str, object]:
    """One search trial at a time, so that two sweeps have a core each."""
    return tiny_data(name=name, budget={"trials": 1}, final={"seeds": [0]}, **changes)


def wait_for_epochs(head: RayHead, sweep: str, home: Path, more_than: int) -> int:
    """The ledger is on this very machine, so it need not be asked through Ray."""
    until = time.monotonic() + 100
    while time.monotonic() < until:
        if (home / "ledger.db").exists():
            pairs = raybench.open(sweep, home=home).status()["pairs"] if _knows(home, sweep) else []
            if (count := sum(pair["epochs"] for pair in pairs)) > more_than:
                return int(count)
        time.sleep(0.5)
    raise AssertionError(head.raybench("logs", sweep).stdout)


def _knows(home: Path, sweep: str) -> bool:
    try:
        raybench.open(sweep, home=home)
    except raybench.RaybenchError:
        return False
    return True


def test_two_at_once_refused_drained_resumed_and_read(head: RayHead, tmp_path: Path) -> None:
    home = head.home / "raybench-home"
    short = write_sweep(tmp_path / "short.yaml", small("short", recipe=SHORT))
    long = write_sweep(tmp_path / "long.yaml", small("long", recipe=LONG, subsets=["full"]))

    waiting = subprocess.Popen(
        head.command("submit", short, "--wait"), env=dict(head.laptop),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    submitted = head.raybench("submit", long, "--json")
    assert submitted.returncode == 0, submitted.stderr
    facts = json.loads(submitted.stdout)
    assert (facts["submission_id"], facts["home"]) == ("long-1", str(home))

    twice = head.raybench("submit", long)
    assert twice.returncode == 3 and "running already, as job long-1" in twice.stderr

    out, err = waiting.communicate(timeout=150)
    assert waiting.returncode == 0, err
    assert "test_resnet" in out and "::raybench" not in out + err
    assert "raybench report short --address" in err

    before = wait_for_epochs(head, "long", home, more_than=0)
    stopped = head.raybench("stop", "long")
    assert stopped.returncode == 0 and "drained; nothing is lost" in stopped.stdout, stopped
    kept = raybench.open("long", home=home).status()
    assert kept["pairs"][0]["trials"]["running"] == 0
    epochs = kept["pairs"][0]["epochs"]
    assert epochs >= before

    again = head.raybench("submit", long)
    assert again.returncode == 0 and again.stdout == "long-2\n", again.stderr
    wait_for_epochs(head, "long", home, more_than=epochs)
    stop_as_ray_does(head, "long-2")
    said = head.raybench("logs", "long")
    assert said.returncode == 0 and "drained; nothing is lost. To go on: raybench submit" in (
        said.stdout
    )
    resumed = raybench.open("long", home=home).status()
    assert resumed["pairs"][0]["epochs"] > epochs and resumed["attempt"] == 2
    assert resumed["pairs"][0]["trials"]["complete"] == 0  # it is the same trial that went on

    table = head.raybench("report", "short")
    assert table.returncode == 0 and "predictions are on the cluster" in table.stdout
    command = [sys.executable, "-m", "raybench.cli", "report", "short", "--home", str(home)]
    there = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert there.stdout == out, there.stderr


def stop_as_ray_does(head: RayHead, job_id: str) -> None:
    """``ray job stop`` waits until the job is over."""
    command = head.command("stop", job_id)
    ray = str(Path(command[0]).with_name("ray"))
    given = [ray, "job", "stop", job_id, "--address", head.address]
    done = subprocess.run(given, env=dict(head.laptop), capture_output=True, timeout=100)
    assert done.returncode == 0, done


def test_another_token_is_told_at_once(head: RayHead) -> None:
    began = time.monotonic()
    wrong = head.raybench("logs", "short", RAY_AUTH_TOKEN="0" * 32)
    none = head.raybench("logs", "short", RAY_AUTH_MODE="disabled")
    assert wrong.returncode == none.returncode == 3
    assert "refuses the token" in wrong.stderr and "wants a token" in none.stderr
    assert time.monotonic() - began < 15
