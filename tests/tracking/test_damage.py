"""An mlflow.db that is damaged, or another MLflow's: said with the way out, which then works."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from raybench.library import run_sweep_file
from raybench.library import sync as sync_home
from raybench.tracking.sync import sync
from raybench.tracking.worker import TrackingThread
from tests.specs import tiny_data, write_sweep
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_state import Store

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
LEDGER = FakeLedger(pair(trial(0, (0.5, 0.6)), final(0, 0.9), state="final"))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def half_rubbish(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\x07" * (size - size // 2))


def all_rubbish(path: Path) -> None:
    path.write_bytes(b"\x07" * 9999)


def half_made(path: Path) -> None:
    """What a killed first migration leaves."""
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        database.commit()


def revision(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (name,))
            database.commit()

    return change


DAMAGES = {
    "truncated": truncated,
    "half": half_rubbish,
    "all": all_rubbish,
    "half made": half_made,
    "older": revision("451aebb31d03"),  # MLflow 1.0's
    "unknown": revision("0123456789ab"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_way_out_is_said(store: Store, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = store.folder / "mlflow.db"
    DAMAGES[damage](path)
    worker = TrackingThread(lambda: LEDGER, store.projection, poll_s=0.01)
    worker.start()
    assert not worker.flush(PATIENCE_S)
    problem = worker.problem or ""
    worker.stop()
    assert f"(mv {path} {path}.old): 'raybench sync' then builds it anew" in problem
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_the_way_out_works(new_store: Callable[[str], Store], left: str) -> None:
    """Also in the process that has the moved file open, and may have made an empty one."""
    sound, moved = new_store("sound"), new_store("moved")
    for store in (sound, moved):
        store.send(LEDGER)
    path = moved.folder / "mlflow.db"
    path.rename(f"{path}.old")
    if left == "an empty file":
        path.touch()
    sync(LEDGER, moved.projection())
    assert moved.state() == sound.state()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT COUNT(*) FROM runs").fetchone() == (3,)


@pytest.mark.slow
def test_a_sweep_runs_beside_a_damaged_store(tmp_path: Path) -> None:
    file, home = write_sweep(tmp_path / "tiny.yaml", tiny_data()), tmp_path / "home"
    run_sweep_file(file, home=home, inline=True, tracking=False)
    all_rubbish(home / "mlflow.db")
    result = run_sweep_file(file, home=home, inline=True, overrides=["budget.trials=3"])
    assert result.exit_code == 0
    assert "mlflow.db is damaged" in (result.tracking_problem or "")
    (home / "mlflow.db").rename(home / "mlflow.db.old")
    synced = sync_home("tiny", home)
    store = Store(home, home / "checkpoints")
    assert len(store.runs("tiny")) == 1 + sum(synced.trials.values())
    store.close()
