"""Failpoints strike where they say, once, and leave the disk as a kill at that place does."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.drivers import failpoints_environ
from tests.chaos.failpoints import POINTS, arm, disarm, fired

_FILES = """
import sys
from pathlib import Path
from raybench.trial.files import replace_file

for number in range(2):
    replace_file(Path(sys.argv[1]) / f"{number}.bin", [b"x" * 100])
(Path(sys.argv[1]) / "0.bin").unlink()
"""
_COMMITS = """
import sys
import sqlalchemy as sa

with sa.create_engine(f"sqlite:///{sys.argv[1]}/ledger.db").connect() as connection:
    connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
    connection.commit()
    connection.execute(sa.text("SELECT * FROM numbers"))
    connection.rollback()
    connection.exec_driver_sql("INSERT INTO numbers VALUES (7)")
    connection.commit()
"""


def _run(program: str, folder: Path, armed: Path, **more: str) -> int:
    environ = os.environ | failpoints_environ(armed) | more
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, env=environ, check=False).returncode


@pytest.fixture
def armed(tmp_path: Path) -> Path:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "trial"
    folder.mkdir(parents=True)
    return folder


# Each file is one fsync, one rename, one fsync of the folder.
WRITES = {
    "half-written": (2, {"0.bin": 100, ".tmp-1.bin": 50}),
    "before-fsync": (3, {"0.bin": 100, ".tmp-1.bin": 100}),
    "after-fsync": (2, {"0.bin": 100}),
    "before-rename": (2, {"0.bin": 100, ".tmp-1.bin": 100}),
    "after-rename": (2, {"0.bin": 100, "1.bin": 100}),
    "unlink": (1, {"0.bin": 100, "1.bin": 100}),
}


@pytest.mark.parametrize("moment", WRITES)
def test_killed_inside_a_write(checkpoints: Path, armed: Path, moment: str) -> None:
    hit, left = WRITES[moment]
    arm(armed, f"checkpoint.{moment}", hit)
    assert _run(_FILES, checkpoints, armed) == -signal.SIGKILL
    assert {path.name: path.stat().st_size for path in checkpoints.iterdir()} == left
    assert fired(armed) == 1
    assert not disarm(armed)


@pytest.mark.parametrize(("moment", "rows"), [("before-commit", 0), ("after-commit", 1)])
def test_killed_at_a_commit(tmp_path: Path, armed: Path, moment: str, rows: int) -> None:
    arm(armed, f"ledger.{moment}", 1)  # the table and the query end no transaction
    assert _run(_COMMITS, tmp_path, armed) == -signal.SIGKILL
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (rows,)
    assert fired(armed) == 1


def test_a_point_fires_once(checkpoints: Path, armed: Path) -> None:
    arm(armed, "checkpoint.before-rename", 1)
    assert _run(_FILES, checkpoints, armed) == -signal.SIGKILL
    assert _run(_FILES, checkpoints, armed) == 0
    assert fired(armed) == 1


@pytest.mark.parametrize("point", ["", "cache.before-rename", "checkpoint.before-rename:9"])
def test_nobody_dies_of_another_point(checkpoints: Path, armed: Path, point: str) -> None:
    if point:
        name, _, hit = point.partition(":")
        arm(armed, name, int(hit or 1))
    assert _run(_FILES, checkpoints, armed) == 0
    assert fired(armed) == 0
    assert disarm(armed) == bool(point)


def test_another_sitecustomize_still_comes(tmp_path: Path, armed: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import sys; sys.marked = True")
    path = f"{failpoints_environ(armed)['PYTHONPATH']}{os.pathsep}{other}"
    program = "import os, sys; sys.exit(0 if sys.marked and os.fsync.__name__ == 'fsync' else 1)"
    assert _run(program, tmp_path, armed, PYTHONPATH=path) == 0


def test_an_unknown_point_is_a_mistake(armed: Path) -> None:
    with pytest.raises(ValueError, match=r"no failpoint 'ledger\.rename'; there are checkpoint"):
        arm(armed, "ledger.rename", 1)
    assert len(POINTS) == len(set(POINTS))
