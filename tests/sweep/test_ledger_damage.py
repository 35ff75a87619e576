"""A ledger cut, garbled, emptied or replaced: refused with the way out, never begun anew."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import raybench
from raybench.cli import main
from raybench.errors import HomeError
from raybench.sweep.backups import KEPT, back_up, backups
from raybench.sweep.soundness import OPTUNA_TABLES, telling_damage
from raybench.sweep.tables import REQUIRED, open_engine
from raybench.trial.files import sha256_of
from tests.specs import tiny_data, write_sweep
from tests.sweep.test_runners import table

pytestmark = pytest.mark.slow

VERBS = ("run", "status", "report", "sync", "doctor")
RESULTS = "SELECT study_id, number, state FROM trials ORDER BY trial_id"


@pytest.fixture(scope="module")
def pristine(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of a finished sweep, closed, with one copy of its ledger."""
    home = tmp_path_factory.mktemp("damage") / "home"
    home.mkdir()
    shutil.copytree(finished_home / "checkpoints", home / "checkpoints")
    with closing(sqlite3.connect(finished_home / "ledger.db")) as source:
        source.execute("VACUUM INTO ?", (str(home / "ledger.db"),))
    back_up(home / "ledger.db")
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "home"))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "tiny.yaml", tiny_data())


def say(
    capsys: pytest.CaptureFixture[str], verb: str, home: Path, sweep: Path
) -> tuple[int, str, str]:
    """One verb on the home; its exit code, what it says, and on which stream results came."""
    arguments = [sweep, "--inline", "--no-tracking", "--quiet"] if verb == "run" else []
    capsys.readouterr()
    code = main([verb, *map(str, arguments), "--home", str(home)])
    out, err = capsys.readouterr()
    return code, out, err


def content(home: Path) -> bytes | None:
    path = home / "ledger.db"
    return path.read_bytes() if path.is_file() else None


def drop(*tables: str) -> Callable[[Path], None]:
    def harm(ledger: Path) -> None:
        with closing(sqlite3.connect(ledger)) as connection:
            for name in tables:
                connection.execute(f"DROP TABLE {name}")
            connection.commit()

    return harm


def cut(part: float) -> Callable[[Path], None]:
    def harm(ledger: Path) -> None:
        size = ledger.stat().st_size
        os.truncate(ledger, int(size * part) if part <= 1 else size - 1)

    return harm


def into_folder(ledger: Path) -> None:
    ledger.unlink()
    ledger.mkdir()


def without_header(ledger: Path) -> None:
    with ledger.open("r+b") as file:
        file.write(bytes(100))


def no_tables(ledger: Path) -> None:
    """What is left of a young ledger whose WAL was deleted: a header."""
    ledger.unlink()
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


ALL = tuple(table.name for table in REQUIRED)
HARMS = {
    "emptied": cut(0),
    "a header only": no_tables,
    **{f"cut to {part:.0%}": cut(part) for part in (0.001, 0.02, 0.25, 0.5, 0.75, 0.9, 0.99)},
    "one byte short": cut(2),
    "no header": without_header,
    "a text file": lambda ledger: ledger.write_text("my notes\n" * 500) and None,
    "a folder": into_folder,
    "gone": Path.unlink,
    **{f"no {name}": drop(name) for name in (*ALL, "trials", "studies", "trial_user_attributes")},
    "half of the tables": drop("raybench_pairs", "raybench_sweeps"),
    "none of raybench's tables": drop(*ALL, "raybench_footprints", "raybench_profiles"),
    "none of Optuna's tables": drop(*sorted(OPTUNA_TABLES)),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_each_command_refuses_and_names_the_newest_copy(
    harm: Callable[[Path], None], home: Path, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(home / "ledger.db")
    before = content(home)
    for verb in VERBS:
        code, out, err = say(capsys, verb, home, sweep)
        words = out if verb == "doctor" else err
        assert code == 3, (verb, words)
        assert str(backups(home / "ledger.db")[-1]) in words, (verb, words)
        assert "Traceback" not in words and "unexpected" not in words
        assert verb == "doctor" or out == ""
        assert content(home) == before, f"{verb} wrote to a damaged ledger"
    assert len(backups(home / "ledger.db")) == 1


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_are_refused_or_do_no_harm(
    seed: int, home: Path, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What SQLite and JSON cannot notice is as if the trial had reported it; see the docs."""
    chance, ledger = random.Random(seed), home / "ledger.db"
    damaged = bytearray(ledger.read_bytes())
    for _ in range(chance.choice([1, 3, 30, 300])):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    ledger.write_bytes(damaged)
    for verb in ("status", "report", "run"):
        code, _, err = say(capsys, verb, home, sweep)
        assert code in (0, 3) and "unexpected" not in err and "Traceback" not in err
        if code == 3:
            assert "backups/ledger-000001-" in err
    if code == 0:
        with closing(sqlite3.connect(ledger)) as connection:
            assert len(connection.execute(RESULTS).fetchall()) == 4, "nothing was begun anew"


def test_the_named_copy_opens_and_goes_on(
    home: Path, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the words of the message: the three files away, the copy in their place, run again."""
    expected = table(raybench.open(None, home).snapshot())
    ledger = home / "ledger.db"
    cut(0.5)(ledger)
    (home / "ledger.db-wal").write_bytes(b"left over" * 1000)
    code, _, err = say(capsys, "run", home, sweep)
    assert code == 3
    (copy,) = backups(ledger)
    assert f"move ledger.db, ledger.db-wal and ledger.db-shm away, copy {copy} to {ledger}" in err
    put_back(copy, ledger)
    code, _, err = say(capsys, "run", home, sweep)
    assert code == 0, err
    assert table(raybench.open(None, home).snapshot()) == expected
    assert len(backups(ledger)) == 2


def put_back(copy: Path, ledger: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, ledger)


@pytest.fixture
def restored(
    tmp_path: Path, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], Path, Any]:
    """A home whose ledger is that of its first run; its second run's command and results.

    The second left everything in the trials' folders, as a driver does that is killed.
    """
    home = tmp_path / "home"
    command = ["run", str(sweep), "--inline", "--no-tracking", "--quiet", "--home", str(home)]
    assert main([*command, "--set", "budget.trials=1", "--set", "final.seeds=[0]"]) == 0
    monkeypatch.setattr("raybench.trial.loop.CHECKPOINT_EVERY_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr("raybench.sweep.trial_files.tidy", lambda *_: None)
        assert main(command) == 0
    assert list((home / "checkpoints").glob("*/*/search-1/a2/end.json"))
    assert list((home / "checkpoints").glob("*/*/search-1/a2/e*-b*"))
    results = raybench.open(None, home).snapshot()
    put_back(backups(home / "ledger.db")[0], home / "ledger.db")
    assert len(raybench.open(None, home).snapshot().pairs[0].trials) == 2
    return command, home, results


def test_what_a_copy_lacks_is_run_again_to_the_same_numbers(
    restored: tuple[list[str], Path, Any],
) -> None:
    command, home, before = restored
    assert main(command) == 0
    assert table(raybench.open(None, home).snapshot()) == table(before)


def test_a_restored_copy_takes_no_result_of_another_configuration(
    restored: tuple[list[str], Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the trial's folder is of a past that this ledger never saw."""
    command, home, before = restored
    other = {"lr": 0.03}
    monkeypatch.setattr("raybench.sweep.ledger.suggest", lambda *_: dict(other))
    assert main(command) == 0
    (pair,) = raybench.open(None, home).snapshot().pairs
    second = pair.search_trials()[1]
    assert before.pairs[0].search_trials()[1].params != second.params == other
    assert {record.lr for record in second.epochs} != {
        record.lr for record in before.pairs[0].search_trials()[1].epochs
    }
    assert second.end is not None and second.end.weights_path is not None
    assert sha256_of(home / "checkpoints" / second.end.weights_path) == second.end.weights_sha256


def garble(wal: Path) -> None:
    wal.write_bytes(wal.read_bytes()[:4000] + b"rubbish")


@pytest.mark.parametrize("harm", [Path.unlink, garble])
def test_the_tail_that_a_lost_wal_held_is_run_again(
    harm: Callable[[Path], None], home: Path, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The main file is sound without it, only older; a garbled WAL ends at its first bad frame."""
    assert _write_and_die(home) != 0
    wal = home / "ledger.db-wal"
    assert wal.stat().st_size > 4096
    harm(wal)
    for verb in ("status", "run"):
        code, _, err = say(capsys, verb, home, sweep)
        assert code == 0, err
    with closing(sqlite3.connect(home / "ledger.db")) as connection:
        assert len(connection.execute(RESULTS).fetchall()) == 4


def _write_and_die(home: Path) -> int:
    """Commits to the WAL, then is killed: nobody copies it into the main file."""
    program = (
        "import os, sqlite3, sys\n"
        "ledger = sqlite3.connect(sys.argv[1])\n"
        "ledger.execute('PRAGMA journal_mode=WAL')\n"
        "ledger.execute('UPDATE raybench_sweeps SET active_s = active_s + 1')\n"
        "ledger.commit()\n"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    return subprocess.run([sys.executable, "-c", program, str(home / "ledger.db")]).returncode


def test_a_first_start_that_was_killed_before_its_tables_is_no_damage(
    tmp_path: Path, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    for folder in ("checkpoints", "cache"):
        (home / folder).mkdir(parents=True)
    (home / "ledger.db").touch()
    open_engine(f"sqlite:///{home / 'ledger.db'}", create=True).dispose()
    assert say(capsys, "status", home, sweep)[0] == 2  # no sweep yet


READ_ONLY = """
import subprocess, sys
from pathlib import Path
home = Path(sys.argv[1])
subprocess.run(["mount", "--bind", home, home], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", home], check=True)
sys.exit(subprocess.run([sys.executable, "-m", "raybench.cli", *sys.argv[2:]]).returncode)
"""


@pytest.mark.parametrize("verb", ["run", "status"])
def test_a_read_only_home_is_refused_in_words_or_read(home: Path, sweep: Path, verb: str) -> None:
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount in a namespace of its own")
    arguments = [sweep, "--inline", "--no-tracking", "--quiet"] if verb == "run" else []
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", READ_ONLY, home, verb, *arguments, "--home", home],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == (3 if verb == "run" else 0), done.stderr
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr
    if verb == "run":
        assert "cannot write to the home" in done.stderr


# -- copies -----------------------------------------------------------------------------------


def test_copies_are_ordered_by_number_whatever_the_clock_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the clock set back a year, the copy just made must neither go nor be passed over."""
    ledger = home / "ledger.db"
    (first,) = backups(ledger)
    monkeypatch.setattr("time.gmtime", lambda *_: (2020, 1, 1, 0, 0, 0, 2, 1, 0))
    made = [back_up(ledger) for _ in range(3)]
    assert "20200101T000000Z" in made[0].name
    assert backups(ledger) == [first, *made]
    monkeypatch.undo()
    made += [back_up(ledger) for _ in range(3)]
    assert backups(ledger) == made[-KEPT:]
    assert not list((home / "backups").glob(".tmp*"))


def test_the_half_copy_of_a_killed_process_goes_with_the_next(home: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    left = home / "backups" / f".tmp-{dead.pid}.db"
    being_made = home / "backups" / f".tmp-{os.getppid()}.db"
    for path in (left, being_made):
        path.write_bytes(b"half")
    back_up(home / "ledger.db")
    assert not left.exists() and being_made.exists()


def test_copies_of_the_first_naming_are_the_oldest(home: Path) -> None:
    ledger = home / "ledger.db"
    (numbered,) = backups(ledger)
    old = numbered.with_name("ledger-20990101T000000Z.db")
    shutil.copy(numbered, old)
    assert backups(ledger) == [old, numbered]
    assert back_up(ledger).name.startswith("ledger-000002-")


def test_a_copy_is_complete_private_and_stands_alone(home: Path) -> None:
    assert _write_and_die(home) != 0  # part of the content is in the WAL
    copy = back_up(home / "ledger.db")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    alone = home / "alone.db"
    alone.write_bytes(copy.read_bytes())
    for path in (home / "ledger.db", alone):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("SELECT active_s FROM raybench_sweeps").fetchone()[0] > 1
    assert {path.suffix for path in copy.parent.iterdir()} == {".db"}


@pytest.mark.parametrize(
    ("words", "is_damage"),
    [
        ("unable to open database file", False),
        ("database or disk is full", False),
        ("database is locked", False),
        ("database disk image is malformed", True),
        ("no such table: studies", True),
    ],
)
def test_what_may_pass_is_not_called_damage(home: Path, words: str, is_damage: bool) -> None:
    """Out of file descriptors, a full disk: whoever puts an old copy back then loses work."""
    back_up(home / "ledger.db")
    engine = open_engine(f"sqlite:///{home / 'ledger.db'}", create=False)
    error = sa.exc.OperationalError("SELECT", {}, sqlite3.OperationalError(words))
    with pytest.raises(HomeError) as told, telling_damage(engine):
        raise error
    engine.dispose()
    assert words in str(told.value)
    assert ("backups" in str(told.value)) == is_damage


def test_somebody_elses_checkpoints_folder_is_no_sign_of_a_lost_ledger(tmp_path: Path) -> None:
    """A project's folder as home: what trials leave there is told from what others do."""
    (tmp_path / "checkpoints" / "mine").mkdir(parents=True)
    (tmp_path / "checkpoints" / "mine" / "last.ckpt").write_text("theirs")
    open_engine(f"sqlite:///{tmp_path / 'ledger.db'}", create=True).dispose()
    other = tmp_path / "other"
    (other / "checkpoints" / "sweep" / "pair" / "search-0" / "a1").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(HomeError, match="but no ledger: put a copy"):
            open_engine(f"sqlite:///{other / 'ledger.db'}", create=True)
        assert not (other / "ledger.db").exists()
