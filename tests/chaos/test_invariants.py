"""Each invariant is named when, and only when, it is violated: sound homes damaged in one place."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from raybench.library import sync
from raybench.trial.files import safetensors_chunks, sha256_of
from tests.chaos.aftermath import Aftermath
from tests.chaos.drivers import Rerun
from tests.chaos.invariants import check_invariants, snapshot_of

SWEEP = "tiny"
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished home, its MLflow store brought up to date."""
    home = tmp_path_factory.mktemp("sound") / "home"
    shutil.copytree(finished_home, home)
    sync(SWEEP, home)
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "home"))


def _sql(home: Path, database: str, *statements: str) -> None:
    with closing(sqlite3.connect(home / database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _ledger(*statements: str) -> Damage:
    return lambda home: _sql(home, "ledger.db", *statements)


def _mlflow(*statements: str) -> Damage:
    return lambda home: _sql(home, "mlflow.db", *statements)


def _named(violations: list[str]) -> set[str]:
    return {line.partition(":")[0] for line in violations}


def _file(home: Path, kind: str) -> Path:
    """The weights or predictions of some trial that has them."""
    query = "SELECT value_json FROM trial_user_attributes WHERE key = 'end'"
    with closing(sqlite3.connect(home / "ledger.db")) as connection:
        ends = [json.loads(row[0]) for row in connection.execute(query)]
    path = next(end[f"{kind}_path"] for end in ends if end[f"{kind}_path"] is not None)
    return home / "checkpoints" / str(path)


def _cut(kind: str) -> Damage:
    def damage(home: Path) -> None:
        path = _file(home, kind)
        os.truncate(path, path.stat().st_size - 1)

    return damage


def _flip(kind: str) -> Damage:
    """The last byte: the file still loads."""

    def damage(home: Path) -> None:
        path = _file(home, kind)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    return damage


def _remove(kind: str) -> Damage:
    return lambda home: _file(home, kind).unlink()


def _leave_checkpoint(home: Path) -> None:
    (_file(home, "weights").parent / "e2-b0").mkdir()


def _leave_aside(name: str) -> Damage:
    return lambda home: (_file(home, "weights").parent / name).touch()


def _empty_weights(home: Path) -> None:
    """Without a tensor, but with the digest that the record names."""
    path = _file(home, "weights")
    before = sha256_of(path)
    path.write_bytes(b"".join(bytes(chunk) for chunk in safetensors_chunks({})))
    change = f"value_json = replace(value_json, '{before}', '{sha256_of(path)}')"
    _sql(home, "ledger.db", f"UPDATE trial_user_attributes SET {change}")


_FIRST = "(SELECT min(trial_id) FROM trials)"
_SECOND = "(SELECT min(trial_id) + 1 FROM trials)"
_FINAL = "(SELECT max(trial_id) FROM trials)"
_CHILD = "(SELECT run_uuid FROM tags WHERE key = 'raybench.trial' ORDER BY value LIMIT 1)"

DAMAGES: dict[str, tuple[str, Damage]] = {
    "end record gone": (
        "records",
        _ledger(f"DELETE FROM trial_user_attributes WHERE key = 'end' AND trial_id = {_FIRST}"),
    ),
    "end record of another state": (
        "records",
        _ledger(
            "UPDATE trial_user_attributes SET value_json = "
            "replace(value_json, '\"complete\"', '\"pruned\"') "
            f"WHERE key = 'end' AND trial_id = {_FIRST}"
        ),
    ),
    "a number twice": (
        "records",
        _ledger(
            "INSERT INTO trials (number, study_id, state) "
            f"SELECT number, study_id, state FROM trials WHERE trial_id = {_FIRST}",
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT "
            f"{_FINAL}, key, value_json FROM trial_user_attributes WHERE trial_id = {_FIRST}",
        ),
    ),
    "an epoch of a later attempt first": (
        "attempts",
        _ledger(
            "UPDATE trial_user_attributes SET value_json = "
            "replace(value_json, '\"attempt\": 1', '\"attempt\": 2') "
            f"WHERE key = 'epoch:1' AND trial_id = {_FIRST}",
            "UPDATE raybench_leases SET attempt = 2",
        ),
    ),
    "an attempt that the lease never had": (
        "attempts",
        _ledger(
            "UPDATE trial_user_attributes SET value_json = "
            "replace(value_json, '\"attempt\": 1', '\"attempt\": 7') "
            f"WHERE key LIKE 'epoch:%' AND trial_id = {_FIRST}"
        ),
    ),
    "an epoch twice": (
        "attempts",
        _ledger(
            "UPDATE trial_user_attributes SET value_json = "
            "replace(value_json, '\"epoch\": 2', '\"epoch\": 1') "
            f"WHERE key = 'epoch:2' AND trial_id = {_FIRST}"
        ),
    ),
    "no store": ("mlflow", lambda home: (home / "mlflow.db").unlink()),
    "no run": ("mlflow", _mlflow(f"DELETE FROM tags WHERE run_uuid = {_CHILD}")),
    "two runs": (
        "mlflow",
        _mlflow(
            f"CREATE TEMP TABLE copied AS SELECT * FROM runs WHERE run_uuid = {_CHILD}",
            "UPDATE copied SET run_uuid = 'twin'",
            "INSERT INTO runs SELECT * FROM copied",
            "INSERT INTO tags (run_uuid, key, value) SELECT 'twin', key, value FROM tags "
            f"WHERE run_uuid = {_CHILD}",
            "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) SELECT 'twin', "
            f"key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = {_CHILD}",
        ),
    ),
    "a run of no trial": (
        "mlflow",
        _mlflow(
            "INSERT INTO runs (run_uuid, name, status, lifecycle_stage, experiment_id) SELECT "
            "'alien', name, status, lifecycle_stage, experiment_id FROM runs "
            f"WHERE run_uuid = {_CHILD}",
            "INSERT INTO tags (run_uuid, key, value) VALUES ('alien', 'raybench.trial', 'x/y/9')",
        ),
    ),
    "a run that never ended": (
        "mlflow",
        _mlflow(f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = {_CHILD}"),
    ),
    "a step twice": (
        "steps",
        _mlflow(
            "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) SELECT run_uuid, "
            "key, value + 1, timestamp + 1, step, is_nan FROM metrics "
            f"WHERE run_uuid = {_CHILD} AND key = 'val/accuracy' AND step = 2"
        ),
    ),
    "steps backwards": (
        "steps",
        _mlflow(
            f"UPDATE metrics SET timestamp = 1 WHERE run_uuid = {_CHILD} "
            "AND key = 'val/accuracy' AND step = 2"
        ),
    ),
    "an epoch that MLflow lacks": (
        "steps",
        _mlflow(f"DELETE FROM metrics WHERE run_uuid = {_CHILD} AND step = 2"),
    ),
    "weights cut": ("weights", _cut("weights")),
    "weights changed": ("weights", _flip("weights")),
    "weights gone": ("weights", _remove("weights")),
    "weights without tensors": ("weights", _empty_weights),
    "predictions cut": ("predictions", _cut("predictions")),
    "predictions changed": ("predictions", _flip("predictions")),
    "predictions gone": ("predictions", _remove("predictions")),
    "checkpoint left": ("left behind", _leave_checkpoint),
    "half a file left": ("left behind", _leave_aside(".tmp-best.safetensors")),
    "a quota that was not met": (
        "budget",
        _ledger(
            "UPDATE raybench_pairs SET definition = "
            "replace(definition, '\"quota\": 2', '\"quota\": 3')"
        ),
    ),
    "a seed twice": (
        "budget",
        _ledger(
            "UPDATE trial_user_attributes SET value_json = '0' "
            f"WHERE key = 'seed' AND trial_id = {_FINAL}"
        ),
    ),
}  # fmt: skip


def test_a_sound_home_violates_nothing(home: Path) -> None:
    assert check_invariants(home, SWEEP, snapshot_of(home, SWEEP)) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(home: Path, damage: str) -> None:
    invariant, apply = DAMAGES[damage]
    apply(home)
    assert _named(check_invariants(home, SWEEP)) == {invariant}


def test_a_running_trial_without_a_driver(home: Path) -> None:
    """It is not over either, so that nothing but its run is missed where it should be."""
    _ledger(f"UPDATE trials SET state = 'RUNNING' WHERE trial_id = {_SECOND}")(home)
    named = _named(check_invariants(home, SWEEP))
    assert named == {"running", "records", "mlflow", "budget"}


def test_another_number_in_the_table(home: Path, sound: Path) -> None:
    _ledger(
        "UPDATE trial_user_attributes SET value_json = "
        "replace(value_json, '\"val/accuracy\": 0.', '\"val/accuracy\": 0.0') "
        f"WHERE key = 'epoch:2' AND trial_id = {_FIRST}"
    )(home)
    assert _named(check_invariants(home, SWEEP, snapshot_of(sound, SWEEP))) == {"table"}


def test_another_trial_in_the_table(home: Path) -> None:
    whole = snapshot_of(home, SWEEP)
    (pair,) = whole.pairs
    unbroken = replace(whole, pairs=(replace(pair, trials=pair.trials[:-1]),))
    assert _named(check_invariants(home, SWEEP, unbroken)) == {"table"}


def _aftermath(**changes: object) -> Aftermath:
    quiet = Aftermath((), lambda: Rerun(0, 1.0, 1.0), patience_s=0.2)
    return replace(quiet, **changes)  # type: ignore[arg-type]


def _check(home: Path, aftermath: Aftermath) -> set[str]:
    return _named(check_invariants(home, SWEEP, None, aftermath))


def test_a_quiet_aftermath_violates_nothing(home: Path) -> None:
    equal = {"CPU": 2.0}
    assert _check(home, _aftermath(resources=lambda: (equal, dict(equal)))) == set()


@pytest.mark.parametrize("again", [Rerun(1, 1.0, 1.0), Rerun(0, 10.5, 1.0)])
def test_a_rerun_that_fails_or_takes_long(home: Path, again: Rerun) -> None:
    assert _check(home, _aftermath(rerun=lambda: again)) == {"no-op"}


def test_a_busy_machine_may_take_longer(home: Path) -> None:
    slow = _aftermath(rerun=lambda: Rerun(0, 19.0, 4.0), slowness=lambda: 2.0)
    assert _check(home, slow) == set()


def test_a_rerun_that_trains_again(home: Path) -> None:
    def trains() -> Rerun:
        _ledger(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES "
            f"({_FIRST}, 'failures', '[]')"
        )(home)
        return Rerun(0, 1.0, 1.0)

    assert _check(home, _aftermath(rerun=trains)) == {"no-op"}


def test_resources_that_do_not_come_back(home: Path) -> None:
    assert _check(home, _aftermath(resources=lambda: ({"CPU": 2.0}, {"CPU": 1.0}))) == {"resources"}


@pytest.fixture
def orphan() -> Iterator[int]:
    """The session of a driver that has gone; a grandchild of it has stayed."""
    program = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    pid = int(driver.communicate()[0])
    yield driver.pid
    os.kill(pid, 9)


def test_a_process_of_a_driver_is_left(home: Path, orphan: int) -> None:
    assert _check(home, _aftermath(sessions=[orphan])) == {"processes"}


def test_a_process_that_goes_in_time(home: Path) -> None:
    leaving = subprocess.Popen(["sleep", "0.3"], start_new_session=True)
    started = time.monotonic()
    assert _check(home, _aftermath(sessions=[leaving.pid], patience_s=30.0)) == set()
    assert time.monotonic() - started < 20
    leaving.wait()
