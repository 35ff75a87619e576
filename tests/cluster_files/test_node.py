"""cluster/node.sh with stand-ins for Ray and MLflow: starts, starts again, ends its own only."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster_files.files import ROOT

RAY = """#!/bin/bash
echo "$@ RESOURCES=$RAY_OVERRIDE_RESOURCES OMP=${OMP_NUM_THREADS:-unset}" >> "$HOME/started"
[ -e "$HOME/broken" ] && exit 1
echo "Ray runtime started."
exec -a "raylet-standin" sleep 300
"""
MLFLOW = """#!/bin/bash
echo "$@ STORE=$MLFLOW_BACKEND_STORE_URI" >> "$HOME/started"
exec sleep 300
"""


class Node:
    """A node's home folder with the script, its settings, and commands that only pretend."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "raybench"
        binaries = self.folder / "venv" / "bin"
        binaries.mkdir(parents=True)
        shutil.copy(ROOT / "cluster" / "node.sh", self.folder)
        # What asks whether MLflow answers finds that it does.
        for name, text in {"ray": RAY, "mlflow": MLFLOW, "python": "#!/bin/sh\nexit 0\n"}.items():
            (binaries / name).write_text(text)
            (binaries / name).chmod(0o755)
        (self.folder / "env").write_text(
            f"RAY_TMPDIR={home}/tmp\nRAYBENCH_CACHE={home}/fast/cache\n"
            "RAYBENCH_HOME=/shared/home\nRAYBENCH_MLFLOW_STORE=sqlite:////x.db\n"
            f"RAYBENCH_TRACKING_URI=http://127.0.0.1:5000\nPATH={binaries}:$PATH\n"
        )

    def __call__(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        ssh = {"SSH_CONNECTION": "10.0.0.9 50000 10.0.0.1 22", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [self.folder / "node.sh", *words],
            env={"HOME": str(self.home), "PATH": os.environ["PATH"]} | ssh | environ,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    @property
    def started(self) -> list[str]:
        return (self.home / "started").read_text().splitlines()

    def pid(self, service: str = "ray") -> int:
        return int((self.folder / f"{service}.pid").read_text())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    for file in node.folder.glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            pass


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_head(node: Node) -> None:
    done = node("start", "head", "--num-cpus=0", RAY_OVERRIDE_RESOURCES='{"CPU":0}')
    assert done.returncode == 0, done.stderr
    _until(lambda: len(node.started) == 2)
    mlflow, ray = sorted(node.started, key=lambda line: line.startswith("start"))
    assert mlflow.startswith("server --host 127.0.0.1 --port 5000")
    assert "--artifacts-destination /shared/home/artifacts STORE=sqlite:////x.db" in mlflow
    assert ray.startswith("start --block --head --node-ip-address=10.0.0.1 --port=6379")
    assert "--dashboard-host=127.0.0.1" in ray
    assert ray.endswith('--num-cpus=0 RESOURCES={"CPU":0} OMP=unset')
    for folder in ("tmp", "fast"):
        assert (node.home / folder).stat().st_mode & 0o777 == 0o700


def test_what_the_user_adds_counts_and_stays(node: Node) -> None:
    (node.folder / "env.local").write_text("RAYBENCH_HOME=/mine\nRAY_OVERRIDE_RESOURCES=mine\n")
    assert node("start", "head").returncode == 0
    _until(lambda: len(node.started) == 2)
    assert [line for line in node.started if "--artifacts-destination /mine/artifacts" in line]
    assert [line for line in node.started if "RESOURCES=mine" in line], "exported to Ray"


def test_again_after_a_reboot_as_told_last(node: Node) -> None:
    node("start", "worker", "--num-gpus=2", RAY_HEAD_IP="10.0.0.7")
    first = node.pid()
    assert node("again").returncode == 0  # without the variables and the ssh of `ray up`
    assert not _lives(first)
    assert node.started[0] == node.started[1]
    assert "--address=10.0.0.7:6379 --node-ip-address=10.0.0.1 --num-gpus=2" in node.started[1]


def test_stop_ends_its_own_only(node: Node) -> None:
    node("start", "worker", RAY_HEAD_IP="10.0.0.7")
    other = subprocess.Popen(["bash", "-c", "exec -a raylet sleep 60"])  # somebody else's Ray
    supervisor = node.pid()
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    assert node("stop").returncode == 0
    assert not [pid for pid in [supervisor, *map(int, children)] if _lives(pid)]
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_pid_that_is_somebody_elses_by_now(node: Node) -> None:
    other = subprocess.Popen(["sleep", "60"])
    (node.folder / "role").write_text("role=worker\n")
    (node.folder / "ray.pid").write_text(str(other.pid))
    assert node("stop").returncode == 0
    assert other.poll() is None
    other.kill()
    other.wait()
    (node.folder / "ray.pid").unlink()


@pytest.mark.slow
def test_started_again_when_it_fails_and_said_when_it_never_starts(node: Node) -> None:
    node("start", "worker", RAY_HEAD_IP="10.0.0.7")
    supervisor = node.pid()
    child = int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    _until(lambda: len(node.started) == 2)
    assert _lives(supervisor)
    (node.home / "broken").touch()
    done = node("start", "worker", RAY_HEAD_IP="10.0.0.7")
    assert done.returncode == 1
    assert "ray does not answer on this machine" in done.stderr


def test_called_by_hand(node: Node) -> None:
    assert node("start", "worker", SSH_CONNECTION="").returncode != 0
    done = node("what")
    assert done.returncode == 2
    assert re.search(r"node.sh start head\|worker", done.stderr)


def test_mlflows_readiness_is_a_real_call() -> None:
    """/health answers while every API call is refused; the script's own check must not."""
    text = (ROOT / "cluster" / "node.sh").read_text()
    program = text.split("<<'END'\n")[1].split("\nEND\n")[0]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(["python3", "-c", program, address], capture_output=True)
    assert done.returncode != 0
    assert "/api/2.0/mlflow/experiments/search" in program
