"""A trial process that outlives its driver, and wakes when the next one is at work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from raybench.trial.files import sha256_of
from tests.chaos.drivers import Driver, Stage
from tests.chaos.forms import LocalRay
from tests.chaos.invariants import check_invariants
from tests.chaos.processes import is_alive, running_trials
from tests.chaos.sweeps import short_sweep, unbroken
from tests.chaos.torture import Witness


def _stop_a_trial(form: LocalRay, driver: Driver) -> int:
    """SIGSTOP some trial's process."""
    assert driver.until(lambda: bool(form.trial_processes(driver)))
    victim = form.trial_processes(driver)[0]
    os.kill(victim, signal.SIGSTOP)
    return victim


def _written_by(home: Path, attempt: int) -> dict[Path, str]:
    paths = (home / "checkpoints").glob(f"*/*/*/a{attempt}/*/manifest.json")
    return {path: sha256_of(path) for path in paths}


@pytest.mark.ray
def test_a_late_trial_changes_nothing(tmp_path: Path) -> None:
    """Stopped, its driver killed; it wakes beside the same trial's next attempt, and is ignored."""
    with Stage(tmp_path, short_sweep(), LocalRay.options) as stage:
        _wake_beside_the_next_attempt(stage)


def _wake_beside_the_next_attempt(stage: Stage) -> None:
    witness = Witness(stage)
    first = stage.start("--no-tracking")
    assert first.until_epochs(2), first.output()
    late = _stop_a_trial(LocalRay(), first)
    first.kill()
    second = stage.start()
    assert second.until_epochs(3), second.output()
    assert running_trials([late]), "the stopped process has not outlived its driver"
    assert witness.look() == []
    before = _written_by(stage.home, 2)
    os.kill(late, signal.SIGCONT)
    deadline = time.monotonic() + 30
    while is_alive(late) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(late)
    after = _written_by(stage.home, 2)
    assert {path: after[path] for path in before.keys() & after.keys()}.items() <= before.items()
    assert second.wait() == 0, second.output()
    assert witness.look() == []
    assert check_invariants(stage.home, stage.sweep, unbroken("short")) == []
