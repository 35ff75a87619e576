"""Signals drain within seconds, a second one ends at once, and nothing is lost, on both runners."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.chaos.aftermath import RAYS_PATIENCE_S
from tests.chaos.drivers import Driver, Stage
from tests.chaos.forms import Inline, LocalRay
from tests.chaos.invariants import check_invariants
from tests.chaos.ledgers import read_trials
from tests.chaos.processes import left_over
from tests.chaos.sweeps import short_sweep, unbroken

DRAINED_S = 20.0


def _at_work(stage: Stage) -> Driver:
    driver = stage.start("--no-tracking")
    assert driver.until_epochs(1), driver.output()
    return driver


def _drain(stage: Stage, number: signal.Signals) -> int:
    driver = _at_work(stage)
    driver.send(number)
    asked = time.monotonic()
    code = driver.wait()
    assert time.monotonic() - asked < DRAINED_S
    assert "To go on: raybench run" in driver.output()
    assert {t.state for t in read_trials(stage.home, stage.sweep)} <= {"COMPLETE", "WAITING"}
    return code


def _end_at_once(stage: Stage) -> int:
    driver = _at_work(stage)
    driver.send(signal.SIGTERM)
    driver.send(signal.SIGINT)
    asked = time.monotonic()
    code = driver.wait()
    assert time.monotonic() - asked < 2.0
    return code


def _finish(stage: Stage) -> None:
    last = stage.start()
    assert last.wait() == 0, last.output()
    assert check_invariants(stage.home, stage.sweep, unbroken("short")) == []
    assert left_over(stage.sessions, RAYS_PATIENCE_S) == []


@pytest.mark.slow
def test_signals_inline(tmp_path: Path) -> None:
    with Stage(tmp_path, short_sweep(), Inline.options) as stage:
        assert _drain(stage, signal.SIGINT) == 130
        assert _drain(stage, signal.SIGTERM) == 143
        assert _drain(stage, signal.SIGUSR1) == 143
        _finish(stage)


@pytest.mark.nightly
@pytest.mark.ray
def test_signals_on_ray(tmp_path: Path) -> None:
    with Stage(tmp_path, short_sweep(), LocalRay.options) as stage:
        assert _drain(stage, signal.SIGTERM) == 143
        assert _end_at_once(stage) in (130, 143)
        _finish(stage)
