"""Real disks that are full: a tmpfs of a few megabytes in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import raybench
from raybench.errors import HomeError
from raybench.settings import resolve_settings
from raybench.sweep.ledger import Ledger
from raybench.sweep.options import RunOptions
from raybench.sweep.run import run_sweep
from tests.specs import tiny_data, tiny_spec, write_sweep
from tests.sweep.test_runners import table

FULL = "database or disk is full"
MODELS = """
from torch import nn


def wide(classes, image_size):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 7000), nn.ReLU(),
                         nn.Linear(7000, classes))
"""
SPEC = tiny_data(
    name="full",
    backbones=[{"name": "python:full_disk_models:wide"}],
    recipe={"image_size": 32, "batch_size": 16, "epochs": 3, "augment": "none"},
    search={"sampler": "random", "ladder": 1, "early_stop": "none"},
    budget={"trials": 5},
    final={"seeds": [0, 1]},
)
"""A model of 1.7 MB, whose size the reckoning before the start does not know."""

# Runs in a namespace of its own: makes the small disk, runs, makes space, runs again, tells all.
PROGRAM = """
import contextlib, json, os, shutil, sqlite3, subprocess, sys, time
from pathlib import Path

import raybench
from tests.sweep.test_runners import table

folder, which = Path(sys.argv[1]), sys.argv[2]
home, small, ledger = folder / "home", folder / "small", folder / "home" / "ledger.db"
small.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small], check=True)
answer = {}
if which == "checkpoints":
    os.environ["RAYBENCH_STORAGE"] = str(small)
else:
    ledger = small / "ledger.db"
    os.environ["RAYBENCH_LEDGER_URL"] = f"sqlite:///{ledger}"

def start():
    command = [sys.executable, "-m", "raybench.cli", "run", folder / "x.yaml", "--home", home,
               "--no-tracking", "--inline"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def end(driver, name):
    out, err = driver.communicate(timeout=200)
    answer[name] = {"code": driver.returncode, "out": out, "err": err}
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        answer[name]["integrity"] = connection.execute("PRAGMA integrity_check").fetchone()[0]
    snapshot = raybench.open("full", home).snapshot()
    trials = [trial for pair in snapshot.pairs for trial in pair.trials]
    answer[name]["trials"] = [
        (trial.key.split("/", 1)[1], trial.state, trial.end and trial.end.failure)
        for trial in trials
    ]
    answer[name]["table"] = table(snapshot) if all(trial.end for trial in trials) else None

def epochs():
    try:
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM trial_user_attributes WHERE key LIKE 'epoch:%'"
            return connection.execute(query).fetchone()[0]
    except sqlite3.Error:
        return 0

driver = start()
if which == "ledger":
    while driver.poll() is None and epochs() < 4:
        time.sleep(0.01)
    with contextlib.suppress(OSError), (small / "filler").open("wb") as filler:
        while True:
            filler.write(bytes(4096))
            filler.flush()
end(driver, "full")
if which == "ledger":
    end(start(), "still full")
    (small / "filler").unlink()
subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
end(start(), "space")
files = sorted(path.name for path in small.rglob("*") if path.is_file())
print(json.dumps(answer | {"files": files}))
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount in a namespace of its own")
    (tmp_path / "full_disk_models.py").write_text(MODELS)
    path = os.pathsep.join([str(tmp_path), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_sweep(tmp_path / "x.yaml", SPEC)
    return tmp_path


@pytest.fixture
def unbroken(folder: Path) -> Any:
    home = folder / "unbroken"
    raybench.run(folder / "x.yaml", home=home, inline=True, tracking=False)
    return as_json(table(raybench.open("full", home).snapshot()))


def as_json(rows: Any) -> Any:
    return json.loads(json.dumps(rows))


def run_on_a_small_disk(folder: Path, which: str) -> Any:
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", PROGRAM, folder, which],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_full_at_the_checkpoints_is_that_trials_failure_and_goes_on_after(
    folder: Path, unbroken: Any
) -> None:
    """Three weights of 1.7 MB fit on 6 MB; then trials fail, and the third in a row ends it."""
    told = run_on_a_small_disk(folder, "checkpoints")
    full = told["full"]
    assert full["code"] == 1, full["err"]
    assert "disk is full" in full["err"] and "Traceback" not in full["err"]
    states = [state for _, state, _ in full["trials"]]
    assert states.count("complete") >= 2
    failures = [failure for _, state, failure in full["trials"] if state != "complete"]
    assert failures and set(failures) <= {"disk", None}
    assert told["space"]["code"] == 0, told["space"]["err"]
    assert told["space"]["table"] == unbroken
    assert {told[name]["integrity"] for name in ("full", "space")} == {"ok"}
    assert not [name for name in told["files"] if name.startswith(".tmp")]


def test_full_under_the_ledger_ends_in_words_and_goes_on_after(folder: Path, unbroken: Any) -> None:
    told = run_on_a_small_disk(folder, "ledger")
    for name in ("full", "still full"):
        full = told[name]
        assert full["code"] == 3 and "Traceback" not in full["err"], full["err"]
        assert "unexpected" not in full["err"] and full["integrity"] == "ok"
    assert "database or disk is full" in told["full"]["err"]
    assert "make room" in told["full"]["err"] and "make room" in told["still full"]["err"]
    assert told["space"]["code"] == 0, told["space"]["err"]
    assert told["space"]["table"] == unbroken


@pytest.mark.ray
@pytest.mark.parametrize("method", ["write_epoch", "create_final_trial"])
def test_on_ray_a_ledger_that_cannot_be_written_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """What the database raises comes through Tune's thread."""

    def full(*_: object) -> None:
        raise sa.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(FULL))

    monkeypatch.setattr(Ledger, method, full)
    settings = resolve_settings(tmp_path / "home", {})
    with pytest.raises(HomeError, match=rf"cannot be written \({FULL}\); make room on its disk"):
        run_sweep(tiny_spec(), settings, RunOptions(num_cpus=2, num_gpus=0))
    monkeypatch.undo()
    assert run_sweep(tiny_spec(), settings, RunOptions(inline=True)).exit_code == 0
