"""The reader: bulk SQL that says what Optuna's own API says, and sees every change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from raybench.errors import HomeError
from raybench.sweep import reader as reader_module
from raybench.sweep.assignment import Assignment
from raybench.sweep.database import database_url
from raybench.sweep.ledger import study_name
from raybench.sweep.reader import SweepReader
from raybench.sweep.tables import open_engine
from tests.specs import pairs_spec, tiny_spec
from tests.sweep.simulation import Home, Simulation

pytestmark = pytest.mark.usefixtures("database")
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "waiting": "WAITING"}


def test_reader_equals_optuna(tmp_path: Path) -> None:
    """Bulk SQL against Optuna's own API, on a sweep with every state."""
    spec = pairs_spec(
        2, 7, search={"sampler": "tpe", "ladder": 3, "early_stop": "asha"},
        recipe={"image_size": 32, "batch_size": 64, "epochs": 9},
    )  # fmt: skip
    home = Home(tmp_path, spec)
    rng = random.Random(3)
    with home.attempt() as searcher:
        fails = lambda rng: "diverged" if rng.random() < 0.03 else None  # noqa: E731
        Simulation(searcher, rng, 9, fails).run(60)  # type: ignore[arg-type]
    with home.attempt() as searcher:
        assert isinstance(searcher.ask(), Assignment)  # one of those that the first attempt left
    snapshot = home.snapshot()
    assert {t.state for p in snapshot.pairs for t in p.trials} >= {"complete", "pruned", "running"}
    storage = optuna.storages.RDBStorage(database_url(home.url))
    for pair in snapshot.pairs:
        for phase in ("search", "final"):
            rows = [t for t in pair.trials if t.phase == phase]
            if not rows:
                continue
            name = study_name(spec.name, pair.id, phase)  # type: ignore[arg-type]
            trials = optuna.load_study(study_name=name, storage=storage).trials
            assert [t.number for t in trials] == [r.number for r in rows]
            for trial, row in zip(trials, rows, strict=True):
                assert trial.params == row.params
                assert trial.state.name == STATES.get(row.state, "RUNNING")
                epochs = [k for k in trial.user_attrs if k.startswith("epoch:")]
                assert len(epochs) == len(row.epochs)
                if row.state == "complete":
                    assert trial.value == row.end.best["val/accuracy"]  # type: ignore[union-attr]
                if row.state == "pruned":
                    values = {r.epoch: r.metrics["val/accuracy"] for r in row.epochs}
                    assert trial.intermediate_values == values
    storage.remove_session()
    storage.engine.dispose()


def test_reader_sees_every_change(tmp_path: Path) -> None:
    """A reader that keeps what it parsed equals a fresh one after each event."""
    home = Home(tmp_path, pairs_spec(2, 3))
    with home.attempt() as searcher:
        engine = open_engine(home.url, create=False)
        keeping = SweepReader(engine, "tiny")
        simulation = Simulation(searcher, random.Random(0), 2)
        before = dict(keeping.versions())
        while not simulation.run(1):
            fresh = SweepReader(engine, "tiny")
            assert keeping.snapshot().pairs == fresh.snapshot().pairs
            versions = dict(fresh.versions())
            changed = {key for key in versions if versions[key] != before.get(key)}
            assert changed, "a turn changes something"
            some = fresh.snapshot(changed)
            assert {t.key for p in some.pairs for t in p.trials} == changed
            assert [p.state for p in some.pairs] == [p.state for p in fresh.snapshot().pairs]
            before = versions
        engine.dispose()


def test_a_twin_keeps_in_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's tracking thread does not parse again what the run has parsed."""
    home = Home(tmp_path, tiny_spec())
    with home.attempt() as searcher:
        Simulation(searcher, random.Random(0), 2).run()
    engine = open_engine(home.url, create=False)
    reader = SweepReader(engine, "tiny")
    snapshot = reader.snapshot()
    twin = reader.twin()
    monkeypatch.setattr("raybench.sweep.reader.from_dict", None)
    assert twin.snapshot() == snapshot
    engine.dispose()


def test_a_twin_that_is_ahead_does_not_empty_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps a newer row between this reader's look at what it knows and its use of it."""
    home = Home(tmp_path, tiny_spec())
    with home.attempt() as searcher:
        Simulation(searcher, random.Random(0), 2).run()
    engine = open_engine(home.url, create=False)
    reader = SweepReader(engine, "tiny")
    snapshot = reader.snapshot()
    read = reader_module._read_params

    def read_while_the_twin_writes(connection: sa.Connection, ids: Sequence[int]) -> Any:
        newer = {i: ("RUNNING:9999", row) for i, (_, row) in reader.twin()._known.items()}
        reader._known.update(newer)
        return read(connection, ids)

    monkeypatch.setattr(reader_module, "_read_params", read_while_the_twin_writes)
    assert reader.snapshot() == snapshot
    assert reader.snapshot() == snapshot
    engine.dispose()


@pytest.mark.parametrize("rubbish", ["", "1, 2", "{", "null", '{"kind": "epoch"}'])
def test_a_row_that_says_nothing_is_damage(tmp_path: Path, rubbish: str) -> None:
    """Also two values in one row, whose neighbours must not take its place."""
    home = Home(tmp_path, tiny_spec())
    with home.attempt() as searcher:
        Simulation(searcher, random.Random(0), 2).run()
    engine = open_engine(home.url, create=False)
    with engine.begin() as connection:
        statement = "UPDATE trial_user_attributes SET value_json = :r WHERE key = 'epoch:1'"
        connection.execute(sa.text(statement), {"r": rubbish})
    with pytest.raises(HomeError, match="damaged"):
        SweepReader(engine, "tiny").snapshot()
    engine.dispose()
