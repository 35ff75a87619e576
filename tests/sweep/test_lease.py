"""One live driver per sweep, whatever the clocks say."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from raybench.errors import LeaseHeldError
from raybench.sweep import holder
from raybench.sweep.holder import Owner
from raybench.sweep.lease import Lease, LeaseLostError, acquire, read_holder
from raybench.sweep.tables import leases
from tests.sweep.conftest import Database


def _pretend_owner(engine: sa.Engine, **changes: object) -> None:
    """Make the lease look as if somebody else held it."""
    owner = dataclasses.asdict(Owner.this_process()) | changes
    with engine.begin() as connection:
        connection.execute(leases.update().values(owner=json.dumps(owner), released=False))


def _fence(lease: Lease, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        lease.fence(connection)


def test_attempts_count_up(engine: sa.Engine) -> None:
    for attempt in (1, 2, 3):
        lease = acquire(engine, "s")
        assert lease.attempt == attempt
        lease.release()
    assert read_holder(engine, "s") is None


def test_second_driver_is_refused_at_once(engine: sa.Engine) -> None:
    lease = acquire(engine, "s")
    with pytest.raises(LeaseHeldError, match=rf"process {os.getpid()} on .*0:00:.*kill -INT"):
        acquire(engine, "s")
    assert acquire(engine, "another").attempt == 1
    lease.release()


@pytest.mark.parametrize(
    ("age_s", "words"),
    [(59, "(for 0:00:59)"), (7503, "(for 2:05:03)"), (90_000, "(for 1 day, 1:00:00)"), (-9, None)],
)
def test_the_refusal_says_for_how_long(engine: sa.Engine, age_s: int, words: str | None) -> None:
    """A clock that was set back says nothing."""
    lease = acquire(engine, "s")
    _pretend_owner(engine, since=time.time() - age_s)
    with pytest.raises(LeaseHeldError) as refused:
        acquire(engine, "s")
    assert words in str(refused.value) if words else "(for" not in str(refused.value)
    lease.release()


def test_dead_holder_on_this_host_is_taken_over_at_once(engine: sa.Engine) -> None:
    first = acquire(engine, "s")
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    _pretend_owner(engine, pid=dead.pid)
    second = acquire(engine, "s", silence_s=1e9)
    assert second.attempt == 2
    with pytest.raises(LeaseLostError, match="taken over"):
        _fence(first, engine)
    _fence(second, engine)
    first.release()
    second.release()


def test_a_reused_pid_is_not_mistaken_for_the_holder(engine: sa.Engine) -> None:
    first = acquire(engine, "s")
    _pretend_owner(engine, started="1")
    second = acquire(engine, "s", silence_s=1e9)
    assert second.attempt == 2
    first.release()
    second.release()


def test_silent_holder_elsewhere_is_taken_over_after_the_silence(engine: sa.Engine) -> None:
    first = acquire(engine, "s")
    first._stop.set()
    first._thread.join()
    _pretend_owner(engine, host="elsewhere", boot_id="another")
    said: list[str] = []
    second = acquire(engine, "s", said.append, silence_s=0.2)
    assert second.attempt == 2
    assert "elsewhere" in said[0]
    second.release()


def test_living_holder_elsewhere_is_respected(engine: sa.Engine) -> None:
    """Its sequence moves on while it is watched; only that counts, no clock."""
    first = acquire(engine, "s")
    _pretend_owner(engine, host="elsewhere", boot_id="another")

    def beat(text: str) -> None:
        first._beat(released=False)

    with pytest.raises(LeaseHeldError, match="elsewhere"):
        acquire(engine, "s", beat, silence_s=0.5)
    first.release()


def test_races_have_one_winner(database: Database, tmp_path: Path) -> None:
    """Eight processes at once on a fresh file: one lease, seven refusals, no other error."""
    program = (
        "import sys\n"
        "from raybench.errors import LeaseHeldError\n"
        "from raybench.sweep.lease import acquire\n"
        "from raybench.sweep.tables import open_engine\n"
        "engine = open_engine(sys.argv[1], create=True)\n"
        "try:\n"
        "    lease = acquire(engine, 's')\n"
        "except LeaseHeldError:\n"
        "    print('refused', flush=True)\n"
        "else:\n"
        "    print('won', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    url = database(tmp_path)
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", program, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    said = [d.stdout.readline().strip() for d in drivers if d.stdout is not None]
    for driver in drivers:
        driver.communicate("\n", timeout=60)
    assert sorted(said) == ["refused"] * 7 + ["won"]


def test_another_users_process_that_proc_hides_is_not_taken_for_dead(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc mounted with hidepid, a home that a group shares: watched, not taken over at once."""
    first = acquire(engine, "s")

    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(holder, "_start_time", lambda pid: "")
        patch.setattr(holder.os, "kill", forbidden)
        said: list[str] = []

        def beat(text: str) -> None:
            said.append(text)
            first._beat(released=False)

        with pytest.raises(LeaseHeldError):
            acquire(engine, "s", beat, silence_s=0.2)
        assert "may still run" in said[0]
    first.release()
