"""One driver owns a sweep: others are refused in words, and a late one changes nothing."""

from __future__ import annotations

import functools
import json
import signal
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import raybench
from raybench.sweep.lease import acquire
from raybench.trial.files import sha256_of
from tests.chaos.drivers import Driver, Stage
from tests.chaos.invariants import check_invariants
from tests.chaos.ledgers import read_trials
from tests.chaos.sweeps import short_sweep, unbroken
from tests.chaos.torture import Witness


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path, short_sweep(), ("--inline",)) as stage:
        yield stage


def _assert_refused(driver: Driver, holder: Driver) -> None:
    assert driver.wait() == 3, driver.output()
    words = driver.output()
    assert f"process {holder.pid} on {socket.gethostname()}" in words
    assert f"kill -INT {holder.pid}" in words
    assert "Traceback" not in words


@pytest.mark.nightly
@pytest.mark.slow
def test_drivers_that_start_at_once(stage: Stage) -> None:
    """Two on a new home, then four on what a killed one has left: one works each time."""
    witness = Witness(stage)
    first = _race(stage, 2, "--no-tracking")
    assert first.until_epochs(2), first.output()
    first.kill()
    assert witness.look() == []
    assert _race(stage, 4).wait() == 0
    assert witness.look() == []
    assert check_invariants(stage.home, stage.sweep, unbroken("short")) == []
    counted = Counter(t.attributes["end"]["state"] for t in read_trials(stage.home, stage.sweep))
    assert counted == {"complete": 6}


def _race(stage: Stage, racers: int, *options: str) -> Driver:
    """The one that is left when the others have been refused."""
    drivers = [stage.start(*options) for _ in range(racers)]
    left = list(drivers)
    while len(left) > 1:
        time.sleep(0.05)
        left = [driver for driver in drivers if driver.code is None]
    assert left, [driver.output() for driver in drivers]
    for driver in drivers:
        if driver is not left[0]:
            _assert_refused(driver, left[0])
    return left[0]


def _move_elsewhere(home: Path) -> None:
    """Make the holder look as one on another machine does: nobody here can tell if it lives."""
    with closing(sqlite3.connect(home / "ledger.db", timeout=30)) as ledger, ledger:
        (owner,) = ledger.execute("SELECT owner FROM raybench_leases").fetchone()
        elsewhere = json.loads(owner) | {"host": "elsewhere", "boot_id": "another"}
        ledger.execute("UPDATE raybench_leases SET owner = ?", (json.dumps(elsewhere),))


def _files(home: Path, attempt: int) -> dict[str, str]:
    """What that attempt has written, by path."""
    paths = (home / "checkpoints").glob(f"*/*/*/a{attempt}*/**/*")
    return {str(path): sha256_of(path) for path in paths if path.is_file()}


@pytest.mark.nightly
@pytest.mark.slow
def test_a_late_driver_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a trial, it wakes when another has taken over and finished.

    On its own machine it is respected, since it lives; elsewhere nobody can tell.
    """
    late = stage.start()
    assert late.until_epochs(2), late.output()
    late.send(signal.SIGSTOP)
    _assert_refused(stage.start(), late)
    _move_elsewhere(stage.home)
    monkeypatch.setattr("raybench.sweep.run.acquire", functools.partial(acquire, silence_s=1.0))
    raybench.run(stage.file, home=stage.home, inline=True, tracking=False)
    trials, files = read_trials(stage.home, stage.sweep), _files(stage.home, 2)
    late.send(signal.SIGCONT)
    assert late.wait() == 3, late.output()
    assert "taken over by another driver" in late.output()
    assert read_trials(stage.home, stage.sweep) == trials
    assert _files(stage.home, 2) == files
    # A further run takes away what the late one has left, and completes MLflow, whose store may
    # have been locked by it all the time.
    last = stage.start()
    assert last.wait() == 0, last.output()
    assert check_invariants(stage.home, stage.sweep, unbroken("short")) == []
