"""The shell line of a job, run by a real shell below processes that look like Ray's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.cluster.entrypoint import entrypoint

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")

RAYLET = """
import subprocess, sys
worker = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1], shell=True).returncode)"
sys.exit(subprocess.run([sys.executable, "-c", worker, sys.argv[1]]).returncode)
"""


def below_a_raylet(line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``line`` in a shell, whose parent's parent has ``arguments`` on its command line."""
    return subprocess.run(
        [sys.executable, "-c", RAYLET, line, *arguments],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def fake_python(folder: Path) -> Path:
    folder.mkdir(parents=True)
    place = folder / "python3"
    place.write_text('#!/bin/sh\necho "$0" "$@"\n')
    place.chmod(0o755)
    return place


@linux
@pytest.mark.parametrize("folder", ["venv/bin", "with a blank/bin"])
def test_the_python_that_the_clusters_ray_runs_on(tmp_path: Path, folder: str) -> None:
    python = fake_python(tmp_path / folder)
    command = subprocess.list2cmdline([str(python), "setup_worker.py", "--node-ip-address=1.2.3.4"])
    done = below_a_raylet(
        entrypoint(["run", "a b.yaml"]), "--head", f"--python_worker_command={command}",
        f"--dashboard_agent_command={sys.executable} -u agent.py",
    )  # fmt: skip
    assert done.stdout == f"{python} -m raybench.cli run a b.yaml\n", done.stderr


@linux
def test_where_it_cannot_be_told_words_and_3() -> None:
    done = below_a_raylet(entrypoint(["run", "a.yaml"]), "--head")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("raybench: cannot tell which Python")


@linux
def test_what_is_given_counts(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "a $HOME b")
    done = below_a_raylet(entrypoint(["run", "--set", "a='b' $c"], str(python)))
    assert done.stdout == f"{python} -m raybench.cli run --set a='b' $c\n"


@pytest.mark.parametrize("key", ["pip", "uv", "conda"])
def test_an_environment_of_its_own_brings_its_python(key: str) -> None:
    assert entrypoint(["run"], runtime_env={key: ["x"]}) == "exec python -m raybench.cli run"
    assert entrypoint(["run"], "/py", {key: ["x"]}) == "exec /py -m raybench.cli run"
    assert "proc" in entrypoint(["run"], runtime_env={key: [], "env_vars": {"A": "b"}})


def test_one_line_so_that_logs_can_tell_it_from_the_job() -> None:
    assert os.linesep not in entrypoint(["run", "a.yaml"])
