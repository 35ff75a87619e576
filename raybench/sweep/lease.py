"""One live driver per sweep: a lease row with a sequence number, and the fence it gives the ledger.

The holder raises the sequence every few seconds. A holder that is dead on the same host (boot id,
pid namespace, pid, start time) is taken over at once; any other only after its sequence has stood
still for 30 s on the observer's own monotonic clock, so that clocks that jump or differ do not
matter. Taking over raises ``attempt``; every later write of the old attempt fails its fence.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from raybench.errors import LeaseHeldError
from raybench.sweep.tables import leases, sweeps, write_transaction

RENEW_S = 3.0
SILENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Names a process so that a reused pid is not mistaken for it."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str
    since: float = 0.0
    """Unix seconds when it took the lease: for people, nothing is decided by it."""

    @classmethod
    def this_process(cls) -> Owner:
        return cls(
            host=socket.gethostname(),
            boot_id=_read("/proc/sys/kernel/random/boot_id"),
            pid_namespace=_link("/proc/self/ns/pid"),
            pid=os.getpid(),
            started=_start_time(os.getpid()),
            since=time.time(),
        )

    def is_dead_here(self) -> bool:
        """True only when this host can tell that the process is gone."""
        me = Owner.this_process()
        here = (self.host, self.boot_id, self.pid_namespace) == (
            me.host,
            me.boot_id,
            me.pid_namespace,
        )
        if not (self.boot_id and here) or _start_time(self.pid) == self.started:
            return False
        return not _is_hidden(self.pid)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks after boot at which ``pid`` started; empty for one that is gone or a zombie."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return "" if not fields or fields[0] == "Z" else fields[19]


def _is_hidden(pid: int) -> bool:
    """Whether it is another user's, of whom this /proc does not tell (mounted with hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not _start_time(pid)
    except ProcessLookupError:
        return False
    return False


class LeaseLostError(LeaseHeldError):
    """Another driver has taken the sweep over; this one must stop and write nothing more."""


class Lease:
    """Held by the one driver of a sweep; ``attempt`` is its number."""

    def __init__(self, engine: Engine, sweep: str, attempt: int) -> None:
        self.sweep, self.attempt = sweep, attempt
        self._engine = engine
        self._stop = threading.Event()
        self._renewed_at = time.monotonic()
        self.lost = False
        self._thread = threading.Thread(target=self._renew, name="raybench-lease", daemon=True)
        self._thread.start()

    def fence(self, session: Session | Connection) -> None:
        """Refuse the transaction in progress when the lease has moved on.

        Raises:
            LeaseLostError: a newer attempt owns the sweep.
        """
        query = sa.select(leases.c.attempt).where(leases.c.sweep == self.sweep)
        if session.scalar(query.with_for_update(read=True)) != self.attempt:
            self.lost = True
            raise LeaseLostError(
                f"sweep '{self.sweep}': attempt {self.attempt} was taken over by another driver; "
                "this one stops and writes nothing more"
            )

    def check(self) -> None:
        """Notice at once, not at the next record, that the sweep has another owner.

        Raises:
            LeaseLostError: a newer attempt owns it.
        """
        if self.lost:
            raise LeaseLostError(f"sweep '{self.sweep}' was taken over by another driver")

    def active_since_last(self) -> float:
        """Wall seconds since the last call; what ``budget.wall_clock`` is charged."""
        now = time.monotonic()
        elapsed, self._renewed_at = now - self._renewed_at, now
        return elapsed

    def release(self) -> None:
        """Stop renewing and let the next driver in at once."""
        self._stop.set()
        self._thread.join()
        if not self.lost:
            with contextlib.suppress(LeaseLostError):
                self._beat(released=True)

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            try:
                self._beat(released=False)
            except LeaseLostError:
                return
            except sa.exc.SQLAlchemyError:
                # A database that is locked for a while must not end the sweep; the next beat tries
                # again, and a lease that went stale meanwhile shows at the fence.
                continue

    def _beat(self, released: bool) -> None:
        with write_transaction(self._engine) as connection:
            self.fence(connection)
            connection.execute(
                leases.update()
                .where((leases.c.sweep == self.sweep) & (leases.c.attempt == self.attempt))
                .values(sequence=leases.c.sequence + 1, released=released)
            )
            connection.execute(
                sweeps.update()
                .where(sweeps.c.sweep == self.sweep)
                .values(active_s=sweeps.c.active_s + self.active_since_last())
            )


def acquire(
    engine: Engine,
    sweep: str,
    tell: Callable[[str], None] = lambda text: None,
    silence_s: float = SILENCE_S,
) -> Lease:
    """Take the sweep's lease, waiting only for a holder that may be alive elsewhere.

    Raises:
        LeaseHeldError: the holder is alive: its host, pid and what to do.
    """
    seen = _try_acquire(engine, sweep, None)
    if isinstance(seen, Lease):
        return seen
    owner, sequence = seen
    if _alive_here(owner):
        raise LeaseHeldError(_refusal(sweep, owner))
    tell(
        f"sweep '{sweep}' may still run on {owner.host} (pid {owner.pid}); "
        f"watching it for {silence_s:.0f} s"
    )
    deadline = time.monotonic() + silence_s
    while time.monotonic() < deadline:
        time.sleep(min(1.0, silence_s))
        now = _read_lease(engine, sweep)
        if now is None or now[1] != sequence:
            raise LeaseHeldError(_refusal(sweep, owner))
    taken = _try_acquire(engine, sweep, sequence)
    if isinstance(taken, Lease):
        return taken
    raise LeaseHeldError(_refusal(sweep, taken[0]))


def read_holder(engine: Engine, sweep: str) -> dict[str, object] | None:
    """The lease row for ``status``; None when nobody holds it."""
    row = _read_row(engine, sweep)
    if row is None or row.released:
        return None
    owner = Owner(**json.loads(row.owner))
    return {
        "host": owner.host,
        "pid": owner.pid,
        "since": owner.since,
        "attempt": row.attempt,
        "alive": not owner.is_dead_here(),
    }


def _alive_here(owner: Owner) -> bool:
    """Only what this host can see; a holder elsewhere is watched."""
    me = Owner.this_process()
    here = owner.boot_id == me.boot_id and owner.pid_namespace == me.pid_namespace
    return bool(owner.boot_id) and here and _start_time(owner.pid) == owner.started


def _refusal(sweep: str, owner: Owner) -> str:
    return (
        f"sweep '{sweep}' is being run by process {owner.pid} on {owner.host}{_age(owner)}; wait "
        f"for it, stop it (kill -INT {owner.pid}: it drains), or use another --home"
    )


def _age(owner: Owner) -> str:
    """Hours, minutes and seconds; nothing where the clocks do not agree."""
    seconds = time.time() - owner.since
    if not owner.since or seconds < 0:
        return ""
    return f" (for {timedelta(seconds=int(seconds))})"


def _read_row(engine: Engine, sweep: str) -> sa.Row[tuple[object, ...]] | None:
    with engine.connect() as connection:
        return connection.execute(sa.select(leases).where(leases.c.sweep == sweep)).first()


def _read_lease(engine: Engine, sweep: str) -> tuple[Owner, int] | None:
    row = _read_row(engine, sweep)
    return None if row is None else (Owner(**json.loads(row.owner)), row.sequence)


def _try_acquire(
    engine: Engine, sweep: str, expected_sequence: int | None
) -> Lease | tuple[Owner, int]:
    """In one transaction, take a free, released, dead or silent lease, or return its holder."""
    me = json.dumps(asdict(Owner.this_process()))
    with write_transaction(engine) as connection:
        row = connection.execute(
            sa.select(leases).where(leases.c.sweep == sweep).with_for_update()
        ).first()
        if row is not None and not row.released and row.sequence != expected_sequence:
            owner = Owner(**json.loads(row.owner))
            if not owner.is_dead_here():
                return owner, row.sequence
        attempt = 1 if row is None else row.attempt + 1
        values = {"attempt": attempt, "owner": me, "released": False}
        if row is None:
            connection.execute(leases.insert().values(sweep=sweep, sequence=0, **values))
        else:
            connection.execute(
                leases.update()
                .where(leases.c.sweep == sweep)
                .values(sequence=leases.c.sequence + 1, **values)
            )
    return Lease(engine, sweep, attempt)
