"""SIGKILL the driver at random points, run the command again: the table is the unbroken one.

Real processes, real signals. With ``sampler: none`` and ``early_stop: none`` the whole table
(times, rates, attempts aside) must be bit-identical; MLflow must hold one run per trial and one
point per metric and step.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import raybench
from raybench.records import SweepSnapshot
from tests.specs import TINY_BACKBONE, tiny_data
from tests.sweep.test_runners import table

SPEC = tiny_data(
    name="killed",
    backbones=[TINY_BACKBONE, {**TINY_BACKBONE, "kwargs": {"drop_rate": 0.1}}],
    recipe={"image_size": 32, "batch_size": 16, "epochs": 6, "augment": "flip"},
    space={},
    search={"sampler": "none", "ladder": 1, "early_stop": "none"},
    budget={"trials": 1},
    final={"seeds": [0, 1]},
)
TIMEOUT_S = 240


class Driver:
    """``raybench run`` as a user starts it, in a process group of its own."""

    def __init__(self, folder: Path, home: Path, *options: str) -> None:
        file = folder / "sweep.yaml"
        file.write_text(json.dumps(SPEC))  # JSON is YAML
        command = [sys.executable, "-m", "raybench.cli", "run", str(file), "--home", str(home)]
        environ = os.environ | {"RAY_AUTH_MODE": "disabled", "HOME": str(folder)}
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, env=environ, start_new_session=True
            )

    def wait(self) -> int:
        return self.process.wait(TIMEOUT_S)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def output(self) -> str:
        return self.log.read_text()


def snapshot(home: Path) -> SweepSnapshot:
    return raybench.open("killed", home).snapshot()


def assert_sound(home: Path, unbroken: SweepSnapshot) -> None:
    """The invariants worth checking after any chaos."""
    resumed = snapshot(home)
    assert table(resumed) == table(unbroken)
    assert all(pair.state == "done" for pair in resumed.pairs)
    for pair in resumed.pairs:
        for trial in pair.trials:
            assert trial.state == "complete"
            assert trial.end is not None
            weights = home / "checkpoints" / str(trial.end.weights_path)
            assert weights.is_file()
            left = [path.name for path in weights.parent.iterdir() if path.is_dir()]
            assert left == [], f"checkpoints left behind: {left}"


def mlflow_points(home: Path) -> tuple[Counter[str], int]:
    """Runs per trial tag, and the number of repeated (run, metric, step) points."""
    from raybench.tracking.client import connect

    client = connect(f"sqlite:///{home / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "killed"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    tagged = [run for run in runs if "raybench.trial" in run.data.tags]
    repeated = 0
    for run in tagged:
        steps = Counter(m.step for m in client.get_metric_history(run.info.run_id, "val/accuracy"))
        repeated += sum(count - 1 for count in steps.values())
        assert run.info.status == "FINISHED"
    return Counter(run.data.tags["raybench.trial"] for run in tagged), repeated


def kill_until_done(folder: Path, home: Path, rng: random.Random, kills: int, *options: str) -> int:
    """Kill at random moments of the part that matters; returns how many kills hit a live driver."""
    hits = 0
    while hits < kills:
        driver = Driver(folder, home, *options)
        ledger = home / "ledger.db"
        before = progress(ledger)
        started = time.monotonic()
        # Let it get past its imports, then to some random point of the work.
        while driver.process.poll() is None and progress(ledger) == before:
            assert time.monotonic() - started < TIMEOUT_S, driver.output()
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.5))
        if driver.process.poll() is not None:
            break
        driver.kill()
        driver.wait()
        hits += 1
    driver = Driver(folder, home, *options)
    assert driver.wait() == 0, driver.output()
    return hits


def progress(ledger: Path) -> int:
    """Epochs committed so far; 0 while there is no ledger."""
    if not ledger.exists():
        return 0
    import sqlite3

    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        query = "SELECT count(*) FROM trial_user_attributes WHERE key LIKE 'epoch:%'"
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> SweepSnapshot:
    folder = tmp_path_factory.mktemp("unbroken")
    driver = Driver(folder, folder / "home", "--inline", "--no-tracking")
    assert driver.wait() == 0, driver.output()
    return snapshot(folder / "home")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_inline_killed_at_random(tmp_path: Path, unbroken: SweepSnapshot, seed: int) -> None:
    home = tmp_path / "home"
    hits = kill_until_done(tmp_path, home, random.Random(seed), 4, "--inline")
    assert hits >= 2
    assert_sound(home, unbroken)
    runs, repeated = mlflow_points(home)
    keys = {trial.key for pair in unbroken.pairs for trial in pair.trials}
    assert runs == Counter(keys)
    assert repeated == 0


@pytest.mark.ray
@pytest.mark.slow
def test_ray_killed_at_random(tmp_path: Path, unbroken: SweepSnapshot) -> None:
    """The dead driver's actors live on for a moment; what they still write changes nothing."""
    home = tmp_path / "home"
    hits = kill_until_done(tmp_path, home, random.Random(7), 2)
    assert hits >= 1
    assert_sound(home, unbroken)
    runs, repeated = mlflow_points(home)
    assert set(runs.values()) == {1}
    assert repeated == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_drain(
    tmp_path: Path, unbroken: SweepSnapshot, number: signal.Signals, code: int
) -> None:
    home = tmp_path / "home"
    driver = Driver(tmp_path, home, "--inline", "--no-tracking")
    while driver.process.poll() is None and progress(home / "ledger.db") < 3:
        time.sleep(0.01)
    driver.kill(number)
    asked = time.monotonic()
    assert driver.wait() == code, driver.output()
    assert time.monotonic() - asked < 20
    assert "To go on: raybench run" in driver.output()
    states = {t.state for pair in snapshot(home).pairs for t in pair.trials}
    assert states <= {"complete", "waiting"}
    driver = Driver(tmp_path, home, "--inline", "--no-tracking")
    assert driver.wait() == 0, driver.output()
    assert_sound(home, unbroken)


@pytest.mark.slow
def test_second_driver_is_refused_with_words(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = Driver(tmp_path, home, "--inline", "--no-tracking")
    while first.process.poll() is None and progress(home / "ledger.db") < 1:
        time.sleep(0.01)
    second = Driver(tmp_path, home, "--inline", "--no-tracking")
    assert second.wait() == 3
    words = second.output()
    assert f"process {first.process.pid}" in words
    assert "Traceback" not in words
    assert first.wait() == 0, first.output()
