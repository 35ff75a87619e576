"""The batch script of docs/slurm.md on two hosts, with stand-ins for Slurm's own commands."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.drivers import ENVIRON
from tests.chaos.invariants import check_invariants
from tests.chaos.ledgers import epochs_done
from tests.chaos.program import run_unbroken
from tests.chaos.sweeps import fixed_sweep
from tests.hosts.cluster import Cluster, cluster, why_not
from tests.postgres_server import missing
from tests.specs import TINY_BACKBONE, write_sweep

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "docs/slurm/raybench.sbatch"
STANDINS = Path(__file__).parent / "slurm"
NODES = ["node1", "node2"]


def test_script_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_options_of_sbatch() -> None:
    """The notice goes to the script alone, in time for a drain; the job may be run again."""
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE))
    to, _, seconds = options["signal"].partition("@")
    assert to == "B:USR1"
    assert int(seconds) >= 120
    assert "requeue" in options
    assert options["open-mode"] == "append"


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    if why := why_not():
        missing(why)
    with cluster(NODES) as hosts:
        daemons = []
        for name, host in hosts.items():
            folder = hosts.shared / "slurm" / name
            folder.mkdir(parents=True)
            command = (sys.executable, str(STANDINS / "slurmd.py"), str(folder), name)
            daemons.append(host.start(*command, log="slurmd.txt"))
        yield hosts
        for daemon in daemons:
            daemon.kill()
            daemon.wait()


class Job:
    """One life of the job: the script as Slurm starts it, on the first node."""

    def __init__(self, nodes: Cluster, file: Path, number: int, *options: str) -> None:
        self.nodes, self.node = nodes, nodes[NODES[0]]
        environ = {
            "PATH": f"{STANDINS}:{self.node.environ['PATH']}",
            "SLURM_STANDIN": str(nodes.shared / "slurm"),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": ",".join(NODES),
            "SLURM_CPUS_PER_TASK": "1",
            "RAYBENCH_HOME": str(nodes.shared / "home"),
            "RAY_gcs_rpc_server_reconnect_timeout_s": ENVIRON[
                "RAY_gcs_rpc_server_reconnect_timeout_s"
            ],
        }
        self.log = f"job{number}.txt"
        command = ("bash", str(SCRIPT), str(file), *options)
        self.process = self.node.start(*command, log=self.log, environ=environ)

    @property
    def said(self) -> str:
        steps = self.nodes.shared / "slurm" / "steps.txt"
        return self.node.path(f"/tmp/{self.log}").read_text() + steps.read_text()

    def notice(self) -> None:
        """What ``--signal=B:USR1`` does: to the script itself, not to what it runs."""
        os.kill(min(self.node.processes(SCRIPT.name)), signal.SIGUSR1)

    def wait(self) -> int:
        return self.process.wait(timeout=120)


@pytest.mark.cluster
@pytest.mark.timeout(240)
def test_drained_at_the_time_limit_and_requeued(nodes: Cluster, tmp_path: Path) -> None:
    """Two jobs, one sweep: the table of an unbroken run, and nothing is left on the nodes."""
    spec = fixed_sweep(epochs=8, seeds=1, subset="20%") | {"backbones": [TINY_BACKBONE]}
    file = write_sweep(nodes.shared / "sweep.yaml", spec)
    home, requeued = nodes.shared / "home", nodes.shared / "slurm" / "requeued"
    job = Job(nodes, file, 1, "--no-tracking")
    job.node.until(
        lambda: epochs_done(home, "fixed") >= 1 or job.process.poll() is not None, "an epoch", 90
    )
    job.notice()
    assert job.wait() == 143, job.said
    assert requeued.read_text() == "77\n"
    assert "To go on: raybench run" in job.said
    assert _left(nodes) == []

    job = Job(nodes, file, 2)
    assert job.wait() == 0, job.said
    assert requeued.read_text() == "77\n"
    unbroken = run_unbroken(tmp_path / "unbroken", spec)
    assert check_invariants(home, "fixed", unbroken) == []
    assert _left(nodes) == []
    assert not [path for host in nodes.values() for path in host.path("/tmp").glob("raybench-*")]
    assert not list(home.glob(".slurm-*"))


def _left(nodes: Cluster) -> list[int]:
    words = ("ray start", "raylet", "gcs_server", "raybench run")
    return [pid for host in nodes.values() for word in words for pid in host.processes(word)]


def _start_without_ray(tmp_path: Path, driver: str) -> subprocess.Popen[str]:
    """The script, where all commands that it calls only pretend; ``driver``: what raybench does."""
    standins = tmp_path / "bin"
    standins.mkdir()
    for name, text in {
        "srun": "exec sleep 0",
        "scontrol": 'echo "$@" >> "$HOME/scontrol"; echo here',
        "python": "cat > /dev/null; echo 1 2",
        "raybench": driver,
    }.items():
        (standins / name).write_text(f"#!/bin/bash\n{text}\n")
        (standins / name).chmod(0o755)
    environ = {
        "PATH": f"{standins}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "here",
        "RAYBENCH_HOME": str(tmp_path / "home"),
        "RAYBENCH_HEAD_ADDRESS": "127.0.0.1",
    }
    bash = shutil.which("bash")
    assert bash is not None
    pipe = subprocess.PIPE
    return subprocess.Popen([bash, SCRIPT, "sweep.yaml"], env=environ, stdout=pipe, text=True)


@pytest.mark.parametrize("code", [2, 3])
def test_other_ends_are_said_and_not_requeued(tmp_path: Path, code: int) -> None:
    job = _start_without_ray(tmp_path, f"exit {code}")
    said, _ = job.communicate(timeout=60)
    assert job.returncode == code
    assert "requeue" not in (tmp_path / "scontrol").read_text()
    assert "sbatch again" in said


@pytest.mark.parametrize(
    ("signals", "requeued"),
    [
        ([signal.SIGUSR1], True),
        ([signal.SIGUSR1, signal.SIGTERM], True),  # the limit itself, while it drains
        ([signal.SIGTERM], False),  # scancel
    ],
    ids=["notice", "notice, then the limit", "scancel"],
)
def test_drains_at_each_signal_and_is_requeued_after_the_notice_alone(
    tmp_path: Path, signals: list[signal.Signals], requeued: bool
) -> None:
    driver = """trap 'echo got >> "$HOME/told"' USR1
touch "$HOME/runs"
for _ in $(seq 600); do
  [[ $(grep -c got "$HOME/told" 2> /dev/null) -ge WANTED ]] && exit 143
  sleep 0.05
done"""
    job = _start_without_ray(tmp_path, driver.replace("WANTED", str(len(signals))))
    _until((tmp_path / "runs").exists)
    for count, number in enumerate(signals, 1):
        job.send_signal(number)
        if count < len(signals):
            _until((tmp_path / "told").exists)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 143
    assert ("requeue 77\n" in (tmp_path / "scontrol").read_text()) is requeued
    assert ("back into the queue" if requeued else "sbatch again goes on") in said


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
