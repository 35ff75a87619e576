"""Both files: refused while an example is left, else sound for Ray and for ourselves."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.cluster_file import cluster_mistakes, read_cluster_file
from tests.cluster_files.conftest import WriteFile
from tests.cluster_files.files import PLACEHOLDERS, ROOT, SHIPPED, filled, text_of

SCRIPTS = sorted((ROOT / "cluster").glob("*.sh"))
UNITS = sorted((ROOT / "cluster" / "systemd").iterdir())
COMMANDS = [
    (name, key, text)
    for name in SHIPPED
    for key, value in yaml.safe_load(filled(name)).items()
    if key.endswith("commands")
    for text in value
]


def prepared(name: str) -> dict[str, Any]:
    """As ``ray up`` makes it: with Ray's defaults, checked against the schema in its package."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    with contextlib.redirect_stdout(io.StringIO()):  # words about files and docker
        config: dict[str, Any] = prepare_config(yaml.safe_load(filled(name)))
    validate_config(config)
    return config


@pytest.mark.parametrize("name", SHIPPED)
def test_as_shipped_nothing_is_started(name: str) -> None:
    with pytest.raises(yaml.constructor.ConstructorError, match="!SET"):
        yaml.safe_load(text_of(name))  # the first thing that every `ray` command does


@pytest.mark.parametrize(("name", "line"), PLACEHOLDERS)
def test_each_placeholder_is_refused(name: str, line: int, write_file: WriteFile) -> None:
    file = write_file(filled(name, left=line))
    with pytest.raises(yaml.constructor.ConstructorError, match="!SET"):
        yaml.safe_load(file.read_text())
    (mistake,) = cluster_mistakes(file)
    assert mistake.startswith(f"line {line}: still an example")


@pytest.mark.parametrize("name", SHIPPED)
def test_all_placeholders_are_told_at_once(name: str, write_file: WriteFile) -> None:
    told = cluster_mistakes(write_file(text_of(name)))
    assert len(told) == len([1 for shipped, _ in PLACEHOLDERS if shipped == name])


@pytest.mark.parametrize("name", SHIPPED)
def test_filled_in_it_is_sound(name: str, write_file: WriteFile) -> None:
    assert cluster_mistakes(write_file(filled(name))) == []
    config = prepared(name)
    for key in ("head_start_ray_commands", "worker_start_ray_commands", "setup_commands"):
        assert config[key] == yaml.safe_load(filled(name))[key]  # nothing of Ray's defaults


def test_head_runs_no_trials_and_workers_come_from_zero() -> None:
    types = prepared("cluster.yaml")["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert types["head"]["max_workers"] == 0
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert types["gpu"]["node_config"]["IamInstanceProfile"] == {"Name": "raybench-worker"}


@pytest.mark.parametrize("name", SHIPPED)
def test_env_file_is_what_bash_reads(name: str, tmp_path: Path) -> None:
    """The commands that write it, run; then every variable is one that Ray or raybench reads."""
    (tmp_path / "raybench").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cloud-init").write_text("#!/bin/sh\necho us-west-2\n")
    (tmp_path / "bin" / "cloud-init").chmod(0o755)
    environ = {"HOME": str(tmp_path), "USER": "me", "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    for _, key, text in [c for c in COMMANDS if c[0] == name]:
        if key == "setup_commands" and re.search(r"> ?~/raybench/env", text):
            subprocess.run(["bash", "-c", f"({text})"], env=environ, check=True)
    shown = subprocess.run(
        ["bash", "-c", "set -a; . ~/raybench/env; env"],
        env=environ, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = dict(line.split("=", 1) for line in shown.splitlines())
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAYBENCH_HOME"].startswith("/")
    assert found["RAYBENCH_CACHE"].startswith("/")
    assert found["PATH"].startswith(f"{tmp_path}/raybench/venv/bin:")
    sources = [*(ROOT / "raybench").rglob("*.py"), *SCRIPTS]
    known = "".join(path.read_text() for path in sources)
    assert not [key for key in found if key.startswith("RAYBENCH_") and key not in known]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_user_adds_to_the_settings_is_kept_and_private(name: str, tmp_path: Path) -> None:
    (command,) = [text for shipped, _, text in COMMANDS if shipped == name and ".bashrc" in text]
    (tmp_path / "raybench").mkdir()
    (tmp_path / "raybench" / "env").write_text("A=shipped\nB=shipped\n")
    mine, bashrc = tmp_path / "raybench" / "env.local", tmp_path / ".bashrc"
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for _ in range(2):  # `ray up` again
        subprocess.run(["bash", "-c", f"umask 022; {command}"], env=environ, check=True)
        assert mine.stat().st_mode & 0o777 == 0o600
        mine.write_text("B=mine\n")
    assert mine.read_text() == "B=mine\n"
    assert len(bashrc.read_text().splitlines()) == 1
    shown = subprocess.run(
        ["bash", "-c", ". ~/.bashrc; env"], env=environ, check=True, capture_output=True, text=True
    ).stdout
    assert {"A=shipped", "B=mine"} <= set(shown.splitlines())


def test_checkpoints_of_spot_workers_go_to_the_bucket() -> None:
    assert "RAYBENCH_STORAGE=s3://" in filled("cluster.yaml")


@pytest.mark.parametrize(("name", "key", "text"), COMMANDS)
def test_commands_are_bash(name: str, key: str, text: str) -> None:
    """As Ray wraps them (``command_runner._with_interactive``)."""
    wrapped = f"source ~/.bashrc; export A=1 && (export RAY_HEAD_IP=10.0.0.1; {text})"
    done = subprocess.run(["bash", "-n", "-c", wrapped], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_and_say_what_they_do(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & stat.S_IXUSR


def test_nothing_listens_on_all_addresses() -> None:
    texts = [text for *_, text in COMMANDS] + [path.read_text() for path in SCRIPTS]
    assert not [text for text in texts if "0.0.0.0" in text or "ray stop\n" in text]
    node = (ROOT / "cluster" / "node.sh").read_text()
    assert "--dashboard-host=127.0.0.1" in node
    assert "--host 127.0.0.1" in node
    assert "--allowed-hosts" in node


@pytest.mark.parametrize("name", SHIPPED)
def test_everything_that_runs_there_is_mounted(name: str) -> None:
    file = read_cluster_file(ROOT / name)
    places = [place for place in file.mounts]
    text = "\n".join(text for shipped, _, text in COMMANDS if shipped == name)
    for script in re.findall(r"~/raybench/(\w+\.sh)", text):
        assert f"~/raybench/{script}" in places
    pyproject = (ROOT / "pyproject.toml").read_text()
    for needed in ("README.md", "LICENSE", "search_spaces", "raybench"):
        assert needed in pyproject  # of the build
        assert f"~/raybench/src/{needed}" in places


def test_units_start_what_is_there() -> None:
    for unit in UNITS:
        for script in re.findall(r"^ExecStart=/home/ubuntu/raybench/(\S+)", unit.read_text(), re.M):
            assert (ROOT / "cluster" / script).exists()
    names = {unit.name for unit in UNITS}
    text = "\n".join(text for name, _, text in COMMANDS if name == "cluster.yaml")
    for name in re.findall(r"--now (raybench-[\w.-]+)", text):
        assert name in names or f"{name}.service" in names


def test_the_two_files_are_alike() -> None:
    """What both do, they do by the same words."""
    local, aws = (
        {text.replace("[ -L venv ] || ", "") for name, _, text in COMMANDS if name == shipped}
        for shipped in ("cluster-local.yaml", "cluster.yaml")
    )
    shared = [text for text in local & aws if "pip install" in text or ".bashrc" in text]
    assert len(shared) == 2
    assert {"~/raybench/node.sh start worker"} <= local & aws
