"""Clocks that jump by a day, summer time, another time zone: results, budgets and order stay."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raybench.errors import LeaseHeldError
from raybench.records import SweepSnapshot
from raybench.settings import resolve_settings
from raybench.spec import SweepSpec
from raybench.sweep.backups import backups
from raybench.sweep.lease import acquire
from raybench.sweep.options import RunOptions
from raybench.sweep.run import RunResult, run_sweep
from raybench.sweep.tables import open_engine
from tests.specs import pairs_spec, tiny_spec
from tests.sweep.simulation import Home, Simulation
from tests.sweep.test_lease import _pretend_owner
from tests.sweep.test_runners import DrainAfter, table

DAY_S = 86_400.0
SPRING = 1_772_953_195.0
"""Five seconds before clocks in New York go from 2:00 to 3:00 (8 March 2026, 7:00 UTC)."""
Clock = Callable[[], float]


def jumping() -> Clock:
    """A day ahead, then a day behind, with every look."""
    real, sign = time.time, itertools.cycle([1, -1])
    return lambda: real() + next(sign) * DAY_S


def in_spring() -> Clock:
    started = time.monotonic()
    return lambda: SPRING + time.monotonic() - started


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets this process's time zone."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def run(home: Path, spec: SweepSpec, observer: DrainAfter | None = None) -> RunResult:
    return run_sweep(spec, resolve_settings(home, {}), RunOptions(inline=True), observer)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> SweepSnapshot:
    return run(tmp_path_factory.mktemp("unbroken") / "home", timed()).snapshot


def timed() -> SweepSpec:
    """Two hours for seconds of work: a day that went by on the clock would end it."""
    return tiny_spec(budget={"trials": 2, "wall_clock": "2h", "device_hours": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize("second", [jumping, in_spring])
def test_drained_and_resumed_under_other_clocks_and_zones(
    tmp_path: Path,
    unbroken: SweepSnapshot,
    monkeypatch: pytest.MonkeyPatch,
    zone: Callable[[str], None],
    second: Callable[[], Clock],
) -> None:
    started = time.monotonic()
    zone("Pacific/Kiritimati")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", jumping())
        first = run(tmp_path, timed(), DrainAfter(1))
    assert first.snapshot.pairs[0].state in ("searching", "final")
    zone("America/New_York")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", second())
        result = run(tmp_path, timed())
    elapsed = time.monotonic() - started
    assert result.exit_code == 0 and result.snapshot.attempt == 2
    assert table(result.snapshot) == table(unbroken)
    trials = [trial for pair in result.snapshot.pairs for trial in pair.trials]
    assert all(0 < record.duration_s < elapsed for trial in trials for record in trial.epochs)
    assert 0 < sum(trial.device_seconds for trial in trials) < elapsed
    assert 0 < _active_s(tmp_path) <= elapsed
    assert len(backups(tmp_path / "ledger.db")) == 1


def _active_s(home: Path) -> float:
    engine = open_engine(f"sqlite:///{home / 'ledger.db'}", create=False)
    with engine.connect() as connection:
        seconds = connection.exec_driver_sql("SELECT active_s FROM raybench_sweeps").scalar_one()
    engine.dispose()
    return float(seconds)


def test_a_day_on_the_clock_takes_no_lease_and_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    first = acquire(engine, "s")
    _pretend_owner(engine, host="elsewhere", boot_id="another")
    monkeypatch.setattr(time, "time", jumping())

    def beat(text: str) -> None:
        first._beat(released=False)

    with pytest.raises(LeaseHeldError, match="elsewhere"):
        acquire(engine, "s", beat, silence_s=0.5)
    first._stop.set()
    first._thread.join()
    before = time.monotonic()
    second = acquire(engine, "s", silence_s=0.5)
    assert second.attempt == 2 and time.monotonic() - before >= 0.5
    second.release()
    engine.dispose()


def test_attempts_and_copies_keep_their_order_when_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start a month earlier than the one before."""
    months = itertools.count()
    real = time.gmtime
    monkeypatch.setattr(
        time, "gmtime", lambda *_: real(SPRING - next(months) * 30 * DAY_S)
    )  # what ``backups`` reads
    spec = tiny_spec(budget={"trials": 1}, final={"seeds": [0]})
    attempts = [run(tmp_path, spec).snapshot.attempt for _ in range(4)]
    assert attempts == [1, 2, 3, 4]
    copies = backups(tmp_path / "ledger.db")
    assert [copy.name[7:13] for copy in copies] == ["000001", "000002", "000003"]
    dates = [copy.name[14:] for copy in copies]
    assert dates == sorted(dates, reverse=True)


def test_what_runs_next_does_not_depend_on_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts(folder: Path) -> list[object]:
        folder.mkdir()
        home = Home(folder, pairs_spec(3, 4, search={"sampler": "tpe", "ladder": 2}))
        with home.attempt() as searcher:
            simulation = Simulation(searcher, random.Random(5), 2)
            assert simulation.run()
        params = [trial.params for pair in home.snapshot().pairs for trial in pair.trials]
        return [simulation.starts, params]

    plain = starts(tmp_path / "plain")
    monkeypatch.setattr(time, "time", jumping())
    assert starts(tmp_path / "jumping") == plain
