"""The real thing: ``ray up`` on several hosts, sweeps from a laptop, a cable that is pulled.

Hosts are namespaces (``tests.hosts``). GPUs are logical: Ray shares them out, the CPU does the
work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.chaos.invariants import check_invariants
from tests.hosts import Host, why_not
from tests.hosts.lab import LEDGER, STORAGE, TRACKING, Lab, lab
from tests.postgres_server import missing, programs
from tests.specs import tiny_data, write_sweep

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
HALF_A_GPU = {"cpus": 1, "gpus": 0.5}


@pytest.fixture(scope="module")
def running() -> Iterator[Lab]:
    reason = why_not() or _no_servers()
    if reason is not None:
        missing(reason)
    with lab() as found:
        yield found


def _no_servers() -> str | None:
    return None if programs() is not None else "PostgreSQL is not installed"


def test_a_sweep_outlives_a_cut_worker_and_a_killed_driver(running: Lab) -> None:
    clock = Clock()
    make_images(running.head.path("/root/scans"))  # its own disk: nobody else sees them
    sweep = tiny_data(
        name="lab",
        datasets=["digits", {"name": "scans", "path": "/root/scans"}],
        subsets=["full"],
        recipe={"image_size": 32, "batch_size": 16, "epochs": 15, "augment": "flip"},
        budget={"trials": 4},
        resources=HALF_A_GPU,
        device="auto",
    )
    write_sweep(running.laptop.path("/root/sweep.yaml"), sweep)

    assert "refuses the token" in running.raybench("submit", "sweep.yaml", token="0" * 64, code=3)
    assert "lab-1" in running.raybench("submit", "sweep.yaml")
    assert "is running already" in running.raybench("submit", "sweep.yaml", code=3)
    clock.lap("submitted")

    worker = running.hosts["worker2"]
    running.head.until(lambda: bool(running.trials_on("worker2")), "a trial on worker2", 120)
    until_epochs(running, 4)
    clock.lap("trials on both workers")
    before = worker.processes("raylet/raylet")
    running.hosts.unplug("worker2")
    lost = "node lost after"
    running.head.until(lambda: lost in running.raybench("logs", "lab"), "the loss of worker2", 120)
    until_epochs(running, epochs(running) + 3)
    clock.lap("worker2 lost, its trials elsewhere")
    running.hosts.plug("worker2")
    running.until_workers(2)
    assert worker.processes("raylet/raylet") != before, "a raylet that is held for dead ends"
    clock.lap("worker2 back")

    assert running.head.kill("raybench.cli run") == 1
    said = running.raybench("submit", "sweep.yaml", "--wait", timeout_s=240)
    assert "lab-2" in said
    clock.lap("driver killed, resumed to the end")

    table = running.raybench("report", "lab", "--address", "http://127.0.0.1:8265")
    assert "digits" in table
    assert "scans" in table
    assert table.count("2/2") == 2, table
    assert check_invariants(bring_home(running), "lab") == []
    assert open_to_all(running.head) == set()
    clock.lap("report and invariants")
    clock.tell()


@pytest.mark.nightly
def test_two_sweeps_at_once_in_a_shared_folder_without_any_server(running: Lab) -> None:
    clock = Clock()
    make_images(running.head.path("/root/few"), per_class=20)
    for name in ("left", "right"):
        sweep = tiny_data(
            name=name,
            datasets=[{"name": "few", "path": "/root/few"}],
            subsets=["full"],
            recipe={"image_size": 32, "batch_size": 8, "epochs": 2, "augment": "none"},
            resources=HALF_A_GPU,
            device="auto",
        )
        write_sweep(running.laptop.path(f"/root/{name}.yaml"), sweep)
    said = running.raybench("submit", "left.yaml", *home_at("/root/own"), "--wait", code=3)
    assert "does not see the driver's" in said
    clock.lap("the head's own folder is refused")
    home = running.hosts.shared / "home"
    running.raybench("submit", "left.yaml", *home_at(home))
    running.raybench("submit", "right.yaml", *home_at(home), "--wait", timeout_s=200)
    running.head.until(lambda: "succeeded" in running.raybench("logs", "left"), "its end", 120)
    for name in ("left", "right"):
        assert check_invariants(home, name) == []
    clock.lap("two sweeps in a shared folder")
    clock.tell()


def home_at(folder: Path | str) -> tuple[str, ...]:
    """Options of ``submit``: everything in that folder of the cluster, and no server."""
    variables = {
        "RAYBENCH_LEDGER_URL": f"sqlite:///{folder}/ledger.db",
        "RAYBENCH_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "RAYBENCH_STORAGE": str(folder),
    }
    return ("--home", str(folder), "--runtime-env", json.dumps({"env_vars": variables}))


class Clock:
    """How long each phase takes: `pytest -s` shows it."""

    def __init__(self) -> None:
        self._laps: list[str] = []
        self._since = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        self._laps.append(f"{now - self._since:5.0f} s  {what}")
        self._since = now

    def tell(self) -> None:
        print("\n" + "\n".join(self._laps))  # noqa: T201


def make_images(folder: Path, per_class: int = 40) -> None:
    """Two classes, told apart by their brightness."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.clip(level + rng.integers(-30, 30, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:03d}.png")


def epochs(running: Lab) -> int:
    query = "SELECT count(*) FROM trial_user_attributes WHERE key LIKE 'epoch:%'"
    return int(running.query(query))


def until_epochs(running: Lab, wanted: int) -> None:
    running.head.until(lambda: epochs(running) >= wanted, f"{wanted} epochs", 120)


def bring_home(running: Lab) -> Path:
    """Ledger, MLflow store and checkpoints as a home's files, as the head sees them."""
    home = running.hosts.shared / "evidence"
    places = (LEDGER.format("postgresql"), TRACKING.format("postgresql"), STORAGE)
    repository = str(Path(__file__).resolve().parents[1])
    program = ("env", f"--chdir={repository}", "python", "-m", "tests.hosts.evidence")
    running.on_head(*program, str(home), *places)
    return home


def open_to_all(head: Host) -> set[Any]:
    """Who listens on every address of the head, without Ray's own ports, which want a token.

    Ray cannot be told otherwise of these: GCS, raylets and agents by gRPC, and what Prometheus
    reads (of the agents, the dashboard and the autoscaler). A network of one's own shuts them.
    """
    listening = head.run("ss", "--no-header", "-tlnp").stdout.splitlines()
    found = [line.split() for line in listening]
    return {
        (words[3], words[5])
        for words in found
        if words[3].startswith(("0.0.0.0:", "*:", "[::]:")) and not _is_rays(words[3], words[5])
    }


def _is_rays(place: str, who: str) -> bool:
    of_ray = ("gcs_server", "raylet", "ray::DashboardA")
    metrics = (":44217", ":44227")  # autoscaler and dashboard
    return any(name in who for name in of_ray) or place.endswith(metrics)
