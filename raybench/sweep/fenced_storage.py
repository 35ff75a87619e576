"""Optuna's storage as the ledger uses it: every commit is fenced, no trial is created twice."""

from __future__ import annotations

import time
import warnings

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial

from raybench.errors import HomeError
from raybench.records import Phase
from raybench.sweep.database import database_url, engine_options, schema_lock
from raybench.sweep.lease import Lease
from raybench.sweep.soundness import reason_of

TrialKey = tuple[str, Phase, int]
"""Pair id, phase, Optuna number."""
CREATE_ATTEMPTS = 5
_LAST_NUMBER = sa.text("SELECT max(number) FROM trials WHERE study_id = :study_id")


class CreatedBeforeError(Exception):
    """The trial is there: it was committed, and the answer was lost."""


class FencedStorage:
    """Optuna's RDB storage for the holder of a lease.

    Attributes:
        backend: what writes. cached: the same for Optuna's studies, which read it again and again.
    """

    def __init__(self, url: str, engine: sa.Engine, lease: Lease) -> None:
        self._lease = lease
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.backend = _open_storage(url, engine)
        # The fence runs inside every transaction that Optuna commits: flushed first, so that the
        # database's write lock is held while the lease is compared.
        sa.event.listen(self.backend.scoped_session, "before_commit", self._fence)
        self.cached = optuna.storages.get_storage(self.backend)
        self._creating: tuple[int, TrialKey] | None = None  # its study's id, and the trial
        self._sent: set[TrialKey] = set()  # trials whose creation may have been committed

    def close(self) -> None:
        """Let go of the database; SQLite then puts its side file (WAL) into the ledger's own."""
        self.backend.engine.dispose()

    def create_trial(self, study_id: int, key: TrialKey, template: FrozenTrial) -> int:
        """The new trial's id.

        Raises:
            CreatedBeforeError: an earlier call was heard although it failed.
        """
        self._creating = study_id, key
        try:
            return self.cached.create_new_trial(study_id, template_trial=template)
        finally:
            self._creating = None

    def _fence(self, session: sa.orm.Session) -> None:
        session.flush()
        self._lease.fence(session)
        if self._creating is not None:
            self._check_number(session, *self._creating)

    def _check_number(self, session: sa.orm.Session, study_id: int, key: TrialKey) -> None:
        """The trial about to be committed must be the one that was meant.

        Optuna itself repeats a creation when the database fails, heard or not.
        """
        created = session.scalar(_LAST_NUMBER, {"study_id": study_id})
        if created == key[2]:
            self._sent.add(key)
        elif key in self._sent:
            raise CreatedBeforeError
        else:
            raise RuntimeError(f"{key[0]}: expected trial {key[2]}, Optuna made {created}")


def _open_storage(url: str, engine: sa.Engine) -> optuna.storages.RDBStorage:
    """Optuna creates its tables without a lock; of drivers that start at once one may come late.

    On PostgreSQL they come one after the other; on SQLite who came late tries again.

    Raises:
        HomeError: its tables are those of another Optuna, or cannot be made.
    """
    address = database_url(url).replace("{", "{{").replace("}", "}}")  # Optuna fills templates in
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        try:
            with schema_lock(engine):
                return optuna.storages.RDBStorage(address, engine_kwargs=engine_options(url))
        except RuntimeError as error:
            raise HomeError(f"the ledger cannot be opened: {error}") from None
        except sa.exc.SQLAlchemyError as error:
            if attempt == CREATE_ATTEMPTS:
                raise HomeError(f"the ledger cannot be opened: {reason_of(error)}") from None
            time.sleep(0.2 * attempt)
    raise AssertionError("the loop returns or raises")
