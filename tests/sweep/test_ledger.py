"""The writer: what it stores is what Optuna says, and a fenced-off one stores nothing."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.plan import make_plan
from raybench.records import EndRecord
from raybench.sweep.assignment import Assignment, Capacity
from raybench.sweep.lease import LeaseLostError, acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.reader import SweepReader, only_sweep
from raybench.sweep.soundness import OPTUNA_TABLES
from raybench.sweep.tables import leases, open_engine
from tests.specs import pairs_spec, tiny_spec
from tests.sweep.conftest import Database
from tests.sweep.simulation import Home, Simulation, complete_record, epoch_record

pytestmark = pytest.mark.usefixtures("database")


def test_ladder_then_sampler(tmp_path: Path) -> None:
    """All pairs start with the same ladder; later numbers differ; all are reproducible."""
    spec = pairs_spec(2, 6, search={"sampler": "tpe", "ladder": 3, "early_stop": "none"})
    found = []
    for attempt in ("a", "b"):
        home = Home(tmp_path / attempt, spec)
        home.folder.mkdir()
        with home.attempt() as searcher:
            Simulation(searcher, random.Random(0), 2).run()
        pairs = home.snapshot().pairs
        found.append([[t.params["lr"] for t in p.search_trials()] for p in pairs])
    first, again = found
    assert first == again
    assert first[0][:3] == first[1][:3]
    assert first[0][0] == 1e-3
    assert first[0][3:] != first[1][3:]
    assert all(1e-4 <= lr <= 1e-1 for lr in first[0])


def test_tpe_models_the_trials_it_has(tmp_path: Path) -> None:
    """Beyond its startup TPE must look at results: with a clear optimum it goes there."""
    spec = pairs_spec(4, 24, search={"sampler": "tpe", "ladder": 6, "early_stop": "none"})
    home = Home(tmp_path, spec, capacity=Capacity(2.0, 0.0))
    with home.attempt() as searcher:
        running: list[Assignment] = []
        while True:
            while isinstance(assignment := searcher.ask(), Assignment):
                running.append(assignment)
            if not running:
                break
            ended = running.pop(0)
            value = 1.0 - abs(math.log10(ended.params["lr"]) + 2.0) / 3.0  # best at 1e-2
            searcher.receive(ended.key, [epoch_record(1, value)])
            searcher.receive(ended.key, [complete_record(1, value, ended.key[1] == "final")])
    trials = [t for pair in home.snapshot().pairs for t in pair.search_trials()]
    late = [t.params["lr"] for t in trials if t.number >= 12]
    assert len(late) == 48
    # A third of the range: by chance 16, seldom more than 23.
    assert sum(3e-3 < lr < 3e-2 for lr in late) >= 28, late


def test_fence(database: Database, tmp_path: Path) -> None:
    """A driver whose lease was taken writes nothing, not even through Optuna."""
    spec, url = tiny_spec(), database(tmp_path)
    engine = open_engine(url, create=True)
    lease = acquire(engine, spec.name)
    plan = make_plan(spec)
    ledger = Ledger(url, engine, spec, lease)
    ledger.register(plan)
    (pair,) = plan.pairs
    ledger.create_search_trial(pair, 0)
    with engine.begin() as connection:
        connection.execute(leases.update().values(attempt=2))
    before = SweepReader(engine, spec.name).snapshot()
    key = (pair.id, "search", 0)
    with pytest.raises(LeaseLostError):
        ledger.write_epoch(key, epoch_record(1, 0.5))
    with pytest.raises(LeaseLostError):
        ledger.write_end(key, complete_record(1, 0.5))
    with pytest.raises(LeaseLostError):
        ledger.tell(key, complete_record(1, 0.5), [])
    with pytest.raises(LeaseLostError):
        ledger.take_back(key, [], 1)
    with pytest.raises(LeaseLostError):
        ledger.create_search_trial(pair, 1)
    with pytest.raises(LeaseLostError):
        ledger.set_facts(pair.id, {"classes": 3})
    assert SweepReader(engine, spec.name).snapshot() == before
    lease.release()
    ledger.close()
    engine.dispose()


def test_untold_end_is_told_without_running(tmp_path: Path) -> None:
    """Killed between writing ``end`` and telling Optuna: the next attempt closes the trial."""
    home = Home(tmp_path, pairs_spec(1, 1, final={"seeds": [0]}))
    with home.attempt() as searcher:
        assignment = searcher.ask()
        assert isinstance(assignment, Assignment)
        searcher.receive(assignment.key, [epoch_record(1, 0.5)])
        searcher._ledger.write_end(assignment.key, complete_record(1, 0.5))
    with home.attempt() as searcher:
        following = searcher.ask()
        assert isinstance(following, Assignment)
        assert following.key[1] == "final"


def test_an_unsaid_stop_is_made_up_for(tmp_path: Path) -> None:
    """Killed between a trial's last epoch and the word that it was the last: not one epoch more.

    Found by ``tests.chaos``: the table was not the unbroken run's.
    """
    search = {"sampler": "random", "ladder": 1, "early_stop": "asha"}
    spec = pairs_spec(1, 4, search=search, recipe={"epochs": 3}, final={"seeds": [0]})
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        for value in (0.9, 0.8):
            assignment = searcher.ask()
            assert isinstance(assignment, Assignment)
            searcher.receive(assignment.key, [epoch_record(1, value)])
            searcher.receive(assignment.key, [complete_record(1, value)])
        assignment = searcher.ask()
        assert isinstance(assignment, Assignment)
        searcher._ledger.write_epoch(assignment.key, epoch_record(1, 0.1))
    with home.attempt() as searcher:
        following = searcher.ask()
        assert isinstance(following, Assignment)
        assert following.key == (assignment.key[0], "search", 3)
    stopped = home.snapshot().pairs[0].trials[2]
    assert stopped.end is not None
    assert (stopped.state, stopped.end.reason, len(stopped.epochs)) == ("pruned", "early_stop", 1)


def test_a_drain_does_not_judge_a_trial_anew(tmp_path: Path) -> None:
    """It had passed its rung before better ones came by, and goes on as it would have."""
    search = {"sampler": "random", "ladder": 1, "early_stop": "asha"}
    spec = pairs_spec(1, 4, search=search, recipe={"epochs": 3}, final={"seeds": [0]})
    home = Home(tmp_path, spec, capacity=Capacity(4.0, 0.0))
    with home.attempt() as searcher:
        asked = [searcher.ask() for _ in range(4)]
        keys = [a.key for a in asked if isinstance(a, Assignment)]
        values = zip(keys[1:] + keys[:1], (0.5, 0.8, 0.9, 0.7), strict=True)
        for moment, (key, value) in enumerate(values):
            record = replace(epoch_record(1, value), finished_at=1.7e9 + moment)
            searcher.receive(key, [record])
        searcher.drain()
        for key in keys:
            searcher.receive(key, [EndRecord("interrupted", 1.7e9)])
    with home.attempt() as searcher:
        again = [searcher.ask() for _ in range(4)]
    assert keys[1] in {a.key for a in again if isinstance(a, Assignment)}


def test_sweeps_with_alike_names_do_not_mix(tmp_path: Path) -> None:
    """``_`` is a wildcard in SQL's LIKE."""
    for name in ("a_b", "axb"):
        home = Home(tmp_path, tiny_spec(name=name))
        with home.attempt() as searcher:
            Simulation(searcher, random.Random(0), 2).run()
    engine = open_engine(home.url, create=False)
    for name in ("a_b", "axb"):
        assert len(SweepReader(engine, only_sweep(engine, name)).versions()) == 4
    engine.dispose()


def test_a_pair_that_left_the_file_is_kept(tmp_path: Path) -> None:
    with Home(tmp_path, pairs_spec(2, 1)).attempt() as searcher:
        Simulation(searcher, random.Random(0), 2).run()
    home = Home(tmp_path, pairs_spec(1, 1))
    with home.attempt():
        pass
    assert [p.current for p in home.snapshot().pairs] == [True, False]
    assert all(len(p.trials) == 3 for p in home.snapshot().pairs)


FIRST_STARTS = """
import multiprocessing, sys, time, warnings
from pathlib import Path
from raybench.errors import LeaseHeldError
from raybench.plan import make_plan
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.reader import SweepReader
from raybench.sweep.tables import open_engine
from tests.specs import tiny_spec

def start(url, name, barrier, answers):
    spec = tiny_spec(name=name)
    barrier.wait(60)
    try:
        engine = open_engine(url, create=True)
        lease = acquire(engine, name)
        ledger = Ledger(url, engine, spec, lease)
        ledger.register(make_plan(spec))
        ledger.create_search_trial(make_plan(spec).pairs[0], 0)
        answers.put("done")
        barrier.wait(60)
        lease.release()
    except LeaseHeldError:
        answers.put("refused")
        barrier.wait(60)
    except BaseException as error:
        answers.put(repr(error))
        barrier.abort()
        raise

fork = multiprocessing.get_context("fork")
for url in sys.argv[1:]:
    barrier, answers = fork.Barrier(8), fork.Queue()
    names = [f"s{number % 6}" for number in range(8)]  # two pairs of rivals
    drivers = [fork.Process(target=start, args=(url, name, barrier, answers)) for name in names]
    for driver in drivers:
        driver.start()
    said = [answers.get(timeout=60) for _ in drivers]
    for driver in drivers:
        driver.join(60)
    assert sorted(said) == ["done"] * 6 + ["refused"] * 2, said
    engine = open_engine(url, create=False)
    assert all(len(SweepReader(engine, name).snapshot().pairs[0].trials) == 1 for name in names)
    engine.dispose()
print("sound")
"""


@pytest.mark.slow
def test_first_starts_at_once_make_one_ledger(database: Database, tmp_path: Path) -> None:
    """Eight drivers on an empty database, two rounds: measured before, four of eight failed."""
    urls = []
    for turn in range(2):
        (tmp_path / str(turn)).mkdir()
        urls.append(database(tmp_path / str(turn)))
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STARTS, *urls],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["sound"], done.stderr


def test_the_tables_that_must_be_there_are_optunas(tmp_path: Path) -> None:
    """What ``soundness`` lists as Optuna's are tables that Optuna makes."""
    home = Home(tmp_path, tiny_spec())
    with home.attempt():
        pass
    engine = open_engine(home.url, create=False)
    assert set(sa.inspect(engine).get_table_names()) >= OPTUNA_TABLES
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.scalar(sa.text("PRAGMA integrity_check")) == "ok"
    engine.dispose()
