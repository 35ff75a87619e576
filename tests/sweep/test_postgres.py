"""A ledger on PostgreSQL: a server that goes away, answers that are lost, words without secrets."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

import raybench
from raybench.cli import main
from raybench.errors import HomeError
from raybench.plan import make_plan
from raybench.records import EpochRecord, SweepSnapshot, TrialRow
from raybench.sweep import patience
from raybench.sweep.database import database_url, engine_options
from raybench.sweep.inline import run_trial
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.tables import open_engine
from tests.postgres_server import PostgresServer, postgres_server
from tests.specs import pairs_spec, tiny_data, tiny_spec, write_sweep
from tests.sweep import simulation
from tests.sweep.simulation import Home, Simulation
from tests.sweep.test_runners import table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """One that may be stopped: nobody else's tests are on it."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def home(own_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose ledger is on the server."""
    monkeypatch.setenv("RAYBENCH_LEDGER_URL", own_server.new_database())
    write_sweep(tmp_path / "tiny.yaml", tiny_data())
    return tmp_path / "home"


def arguments(home: Path, *more: str) -> list[str]:
    """The one command that starts and resumes."""
    file = str(home.parent / "tiny.yaml")
    return ["run", file, "--home", str(home), "--inline", "--no-tracking", *more]


def strike(monkeypatch: pytest.MonkeyPatch, moments: dict[int, Callable[[], None]]) -> None:
    """Do something when the n-th epoch of the run reports."""
    seen = 0

    def trial(*args: Any, **options: Any) -> Iterator[EpochRecord]:
        nonlocal seen
        for record in run_trial(*args, **options):
            seen += isinstance(record, EpochRecord)
            moments.pop(seen, lambda: None)()
            yield record

    monkeypatch.setattr("raybench.sweep.inline.run_trial", trial)


def test_a_server_that_is_restarted_ends_no_sweep_and_loses_no_record(
    own_server: PostgresServer,
    home: Path,
    finished_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Stopped for two seconds, then killed; the table is the unbroken run's, on SQLite."""

    def restart(end: Callable[[], None], away_s: float) -> None:
        end()
        threading.Timer(away_s, own_server.start).start()

    strike(
        monkeypatch,
        {2: lambda: restart(own_server.stop, 2.0), 5: lambda: restart(own_server.kill, 0.5)},
    )
    code = main(arguments(home))
    said = "".join(capsys.readouterr()) + caplog.text
    assert code == 0, said
    assert said.count("it is waited for, 120 s at most") == 2
    assert own_server.password not in said
    mine = raybench.open("tiny", home)
    snapshot, status = mine.snapshot(), mine.status()
    monkeypatch.delenv("RAYBENCH_LEDGER_URL")
    unbroken = raybench.open("tiny", finished_home)
    assert table(snapshot) == table(unbroken.snapshot())
    assert (snapshot.lease, snapshot.attempt) == (None, 1)
    assert shape(status) == shape(unbroken.status())
    found = [p for p in home.rglob("*") if p.is_file() and own_server.password in p.read_text("l1")]
    assert found == []


def shape(status: Any) -> Any:
    """The contract's keys and types."""
    if isinstance(status, dict):
        return {key: shape(value) for key, value in status.items()}
    if isinstance(status, list):
        return [shape(value) for value in status]
    return type(status)


def test_a_server_that_stays_away_ends_it_in_words_and_the_same_command_goes_on(
    own_server: PostgresServer,
    home: Path,
    finished_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 1.0)
    strike(monkeypatch, {3: own_server.stop})
    assert main(arguments(home)) == 3
    assert main(["status", "--home", str(home)]) == 3
    assert main(arguments(home)) == 3
    said = "".join(capsys.readouterr())
    assert "see that its server answers and give the same command again" in said
    assert "cannot be used: " in said and "see that it runs" in said
    assert own_server.password not in said and "Traceback" not in said
    own_server.start()
    assert main(arguments(home)) == 0
    snapshot = raybench.open("tiny", home).snapshot()
    monkeypatch.delenv("RAYBENCH_LEDGER_URL")
    assert table(snapshot) == table(raybench.open("tiny", finished_home).snapshot())


def test_a_lost_answer_doubles_nothing(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commits of five are heard and their answers lost: the ledger is as if none were."""
    spec = pairs_spec(
        2, 5, search={"sampler": "tpe", "ladder": 2, "early_stop": "asha"},
        recipe={"image_size": 32, "batch_size": 64, "epochs": 3},
    )  # fmt: skip
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr("optuna.storages._rdb.storage.random.random", lambda: 0.0)
    snapshots = []
    for part in (0.0, 0.4):
        url = postgres.new_database()
        monkeypatch.setattr(simulation, "ledger_url", lambda folder, url=url: url)
        home = Home(tmp_path / str(part), spec)
        for turns in (9, None):
            with home.attempt() as searcher, losing_answers(searcher._ledger, part) as lost:
                Simulation(searcher, random.Random(1), 3, fails).run(turns)
        snapshots.append(home.snapshot())
        assert lost[0] > 10 or not part
    assert timeless(snapshots[0]) == timeless(snapshots[1])
    assert {t.state for p in snapshots[0].pairs for t in p.trials} > {"complete", "failed"}


def timeless(snapshot: SweepSnapshot) -> list[TrialRow]:
    """All trials, less the moments at which the driver ended some."""
    return [
        replace(t, end=t.end and replace(t.end, finished_at=0.0))
        for pair in snapshot.pairs
        for t in pair.trials
    ]


def fails(rng: random.Random) -> Any:
    """Some trials fail for good, some are tried again."""
    return rng.choice(["diverged", "infrastructure"]) if rng.random() < 0.1 else None


@contextmanager
def losing_answers(ledger: Ledger, part: float) -> Iterator[list[int]]:
    """Within, commits of the ledger are made, and then, in ``part`` of them, the line is cut."""
    engines, lost = (ledger._engine, ledger._fenced.backend.engine), [0]
    commit, rng = engines[0].dialect.do_commit, random.Random(7)

    def commit_and_cut(connection: Any) -> None:
        commit(connection)
        if rng.random() < part:
            lost[0] += 1
            connection.close()
            raise psycopg2.OperationalError("server closed the connection unexpectedly")

    for engine in engines:
        engine.dialect.do_commit = commit_and_cut  # type: ignore[method-assign]
    try:
        yield lost
    finally:
        for engine in engines:
            engine.dialect.do_commit = commit  # type: ignore[method-assign]


def test_two_sweeps_at_once_on_one_database_do_not_mix(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pairs under two names, in two threads; each as if it were alone."""
    alone = [simulate(postgres.new_database(), name, tmp_path, monkeypatch) for name in ("a", "b")]
    url, together = postgres.new_database(), {}
    monkeypatch.setattr(simulation, "ledger_url", lambda folder: url)

    def run(name: str) -> None:
        home = Home(tmp_path / "both", pairs_spec(2, 6, name=name))
        with home.attempt() as searcher:
            Simulation(searcher, random.Random(name), 2).run()
        together[name] = home.snapshot()

    drivers = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(60)
    assert [together[s.sweep].pairs for s in alone] == [s.pairs for s in alone]


def simulate(url: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> SweepSnapshot:
    monkeypatch.setattr(simulation, "ledger_url", lambda folder: url)
    home = Home(folder / name, pairs_spec(2, 6, name=name))
    with home.attempt() as searcher:
        Simulation(searcher, random.Random(name), 2).run()
    return home.snapshot()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda url: url.replace("canary", "wrong"), "password authentication failed"),
        (lambda url: f"{url}_not", "does not exist"),
        (lambda url: url.rsplit(":", 1)[0] + ":1/x", "Connection refused"),
        (lambda url: url.replace("postgresql:", "mysql:"), "no ledger can be kept in|driver"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_words(
    postgres: PostgresServer, harm: Callable[[str], str], words: str
) -> None:
    url = harm(postgres.new_database())
    with pytest.raises(HomeError, match=words) as told:
        open_engine(url, create=True)
    assert "canary" not in str(told.value) and "wrong" not in str(told.value)
    assert "damaged" not in str(told.value)


def test_a_user_who_owns_nothing_is_told_what_to_see_to(postgres: PostgresServer) -> None:
    name = postgres.new_database().rsplit("/", 1)[1]
    postgres.execute(f"CREATE ROLE guest_{name} LOGIN PASSWORD 'canary-guest'")
    url = f"postgresql://guest_{name}:canary-guest@127.0.0.1:{postgres.port}/{name}"
    with pytest.raises(HomeError, match="permission denied.*its user owns it") as told:
        open_engine(url, create=True)
    assert "canary" not in str(told.value)


def test_mlflows_database_is_refused(postgres: PostgresServer) -> None:
    """Optuna and MLflow would take each other's ``alembic_version`` for their own."""
    url = postgres.new_database()
    engine = sa.create_engine(database_url(url))
    with engine.begin() as connection:
        for table_name in ("experiments", "runs", "latest_metrics"):
            connection.execute(sa.text(f"CREATE TABLE {table_name} (id INTEGER)"))
    engine.dispose()
    with pytest.raises(HomeError, match="is MLflow's database; give the ledger one of its own"):
        open_engine(url, create=True)


def test_a_table_that_is_gone_is_damage_and_not_begun_anew(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    simulate(url, "a", tmp_path, monkeypatch)
    engine = sa.create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE trial_user_attributes"))
    engine.dispose()
    with pytest.raises(HomeError, match="damaged .no table trial_user_attributes"):
        open_engine(url, create=True)


def test_by_the_socket_with_signs_in_the_password(postgres: PostgresServer) -> None:
    """Braces are Optuna's templates, a percent sign is the address's."""
    name = postgres.new_database().rsplit("/", 1)[1]
    postgres.execute(f"CREATE ROLE owner_{name} LOGIN PASSWORD 'canary{{x}}%@'")
    postgres.execute(f"ALTER DATABASE {name} OWNER TO owner_{name}")
    place = f"owner_{name}:canary{{x}}%25%40@/{name}?host={postgres.folder}&port={postgres.port}"
    engine = open_engine(f"postgresql://{place}", create=True)
    lease = acquire(engine, "tiny")
    ledger = Ledger(f"postgresql://{place}", engine, tiny_spec(), lease)
    ledger.register(make_plan(tiny_spec()))
    lease.release()
    ledger.close()
    engine.dispose()


def test_what_the_url_says_of_time_stays() -> None:
    options = engine_options("postgresql+psycopg2:///x?connect_timeout=3")
    limits = options["connect_args"]
    assert isinstance(limits, dict) and "connect_timeout" not in limits
    assert "tcp_user_timeout" in limits
