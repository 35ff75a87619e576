"""One live driver per sweep: a lease row with a sequence number, and the fence it gives the ledger.

The holder raises the sequence every few seconds. A holder that is dead on the same host (boot id,
pid namespace, pid, start time) is taken over at once; any other only after its sequence has stood
still for 30 s on the observer's own monotonic clock, so that clocks that jump or differ do not
matter. Taking over raises ``attempt``; every later write of the old attempt fails its fence. On a
network file system ``lease_files`` decides who takes an attempt.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from raybench.errors import HomeError, LeaseHeldError
from raybench.sweep.database import write_transaction
from raybench.sweep.holder import Owner
from raybench.sweep.lease_files import LeaseFiles
from raybench.sweep.soundness import reason_of, sqlite_path
from raybench.sweep.tables import leases, sweeps

_logger = logging.getLogger(__name__)
_given_up: set[str] = set()  # owners, of this process, whose database was gone at the end
RENEW_S = 3.0
SILENCE_S = 30.0


_NOBODY_KNOWN = Owner("another host", "", "", 0, "")


class LeaseLostError(LeaseHeldError):
    """Another driver has taken the sweep over; this one must stop and write nothing more."""


class Lease:
    """Held by the one driver of a sweep; ``attempt`` is its number.

    Args:
        owner: this process, as it stands in the lease's row.
        files: where the ledger is on a network file system.
    """

    def __init__(
        self, engine: Engine, sweep: str, attempt: int, owner: str, files: LeaseFiles | None = None
    ) -> None:
        self.sweep, self.attempt = sweep, attempt
        self._engine, self._owner, self._files = engine, owner, files
        self._stop = threading.Event()
        self._charged_to = time.monotonic()  # what ``budget.wall_clock`` knows of
        self.lost = False
        self._thread = threading.Thread(target=self._renew, name="raybench-lease", daemon=True)
        self._thread.start()

    def fence(self, session: Session | Connection, *, to_write: bool = False) -> None:
        """Refuse the transaction in progress when the lease has moved on.

        Args:
            session: the transaction.
            to_write: it will change the lease's row itself, which is locked for that at once.

        Raises:
            LeaseLostError: a newer attempt owns the sweep.
            HomeError: the network file system does not tell.
        """
        query = sa.select(leases.c.attempt).where(leases.c.sweep == self.sweep)
        in_row = session.scalar(query.with_for_update(read=not to_write)) == self.attempt
        if not in_row or (self._files and not self._files.is_newest(self.attempt)):
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

    def release(self) -> None:
        """Stop renewing and let the next driver in at once.

        Where the database does not answer any more, the next one finds a holder that is gone.
        """
        self._stop.set()
        self._thread.join()
        if self.lost:
            return
        try:
            self._beat(released=True)
            if self._files:
                self._files.release(self.attempt)
        except LeaseLostError:
            return
        except (sa.exc.SQLAlchemyError, HomeError) as error:
            _given_up.add(self._owner)
            reason = reason_of(error)
            _logger.warning("sweep '%s': its lease was not given back: %s", self.sweep, reason)

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            try:
                self._beat(released=False)
            except LeaseLostError:
                return
            except (sa.exc.SQLAlchemyError, HomeError):
                # A database that is locked for a while, or a file server's hiccup, must not end the
                # sweep; the next beat tries again, and a lease that went stale meanwhile shows at
                # the fence.
                continue

    def _beat(self, released: bool) -> None:
        now = time.monotonic()
        with write_transaction(self._engine) as connection:
            self.fence(connection, to_write=True)
            connection.execute(
                leases.update()
                .where((leases.c.sweep == self.sweep) & (leases.c.attempt == self.attempt))
                .values(sequence=leases.c.sequence + 1, released=released)
            )
            connection.execute(
                sweeps.update()
                .where(sweeps.c.sweep == self.sweep)
                .values(active_s=sweeps.c.active_s + (now - self._charged_to))
            )
        self._charged_to = now


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
    if owner.is_alive_here():
        raise LeaseHeldError(_refusal(sweep, owner))
    tell(
        f"sweep '{sweep}' may still run on {owner.host} (pid {owner.pid}); "
        f"watching it for {silence_s:.0f} s"
    )
    deadline = time.monotonic() + silence_s
    while time.monotonic() < deadline:
        time.sleep(min(1.0, silence_s))
        if _sequence(_read_row(engine, sweep)) != sequence:
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


def _sequence(row: sa.Row[tuple[object, ...]] | None) -> int:
    """What a living holder raises; -1 before there was any."""
    return -1 if row is None else row.sequence


def _try_acquire(
    engine: Engine, sweep: str, expected_sequence: int | None
) -> Lease | tuple[Owner, int]:
    """Take a free, released, dead or silent lease, or return its holder."""
    me = json.dumps(asdict(Owner.this_process()))
    files = LeaseFiles.beside(sqlite_path(str(engine.url)), sweep)
    try:
        taken = _take(engine, sweep, expected_sequence, me, files)
    except sa.exc.IntegrityError:  # of two first drivers the other made the row
        taken = _take(engine, sweep, expected_sequence, me, files)
    return Lease(engine, sweep, taken, me, files) if isinstance(taken, int) else taken


def _take(
    engine: Engine, sweep: str, expected_sequence: int | None, me: str, files: LeaseFiles | None
) -> int | tuple[Owner, int]:
    """In one transaction; returns the attempt, or the holder and its sequence."""
    with write_transaction(engine) as connection:
        query = sa.select(leases).where(leases.c.sweep == sweep)
        row = connection.execute(query.with_for_update()).first()
        sequence = _sequence(row)
        last, holder = (0, None) if row is None else (row.attempt, row.owner)
        released = row is None or row.released
        if files is not None and files.newest()[0] > last:
            last, holder = files.newest()  # taken, and not yet (or never) written to the row
            released = False
        if not released and sequence != expected_sequence and (owner := _living(holder)):
            return owner, sequence
        if files is not None and not files.take(last + 1, me):
            return _living(files.newest()[1]) or _NOBODY_KNOWN, sequence
        values = {"attempt": last + 1, "owner": me, "released": False, "sequence": sequence + 1}
        if row is None:
            connection.execute(leases.insert().values(sweep=sweep, **values))
        else:
            mine = leases.update().where(leases.c.sweep == sweep)
            connection.execute(mine.values(**values))
    return last + 1


def _living(holder: str | None) -> Owner | None:
    """The holder as it stands written, unless this host can tell that it is gone."""
    if holder is None:
        return _NOBODY_KNOWN
    owner = Owner(**json.loads(holder))
    return None if owner.is_dead_here() or holder in _given_up else owner
