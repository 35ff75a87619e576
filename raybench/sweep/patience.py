"""A database server that is away for a while (restarted, cut off) is waited for.

What is called again must do no harm when the first call was heard and only its answer lost: nobody
can know whether a transaction was committed when the connection broke meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from raybench.sweep.soundness import reason_of

T = TypeVar("T")
PATIENCE_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_DISK_FULL = "53100"
logger = logging.getLogger(__name__)


class Patience:
    """Calls again what failed because the server of ``engine`` did not answer.

    Nested calls wait once: seconds count from the first failure on, until something succeeds. A
    SQLite file is not waited for; locks on it are, by SQLite.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._since: float | None = None

    def __call__(self, action: Callable[[], T]) -> T:
        """What ``action`` returns.

        Raises:
            sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError: as ``action``, when
                the server stays away, or there is something else that does not pass.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                result = action()
            except (sa.exc.DBAPIError, StorageInternalError) as error:
                if not self._waits_for(error):
                    raise
            else:
                self._recover()
                return result
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _waits_for(self, error: BaseException) -> bool:
        cause = database_error(error)
        if self._engine.dialect.name == "sqlite" or cause is None or not _may_pass(cause):
            return False
        since = self._since  # another thread may recover meanwhile
        if since is None:
            since = self._since = time.monotonic()
            logger.warning(
                "the ledger's server does not answer (%s); it is waited for, %.0f s at most: "
                "trials go on, and what they report is written then",
                reason_of(cause),
                PATIENCE_S,
            )
        return time.monotonic() - since < PATIENCE_S

    def _recover(self) -> None:
        if self._since is not None:
            logger.warning("the ledger's server answers again")
            self._since = None


def database_error(
    error: BaseException | None,
) -> sa.exc.DBAPIError | StorageInternalError | None:
    """The database's own behind ``error``, else Optuna's for it.

    What was handled before it, it is not about.
    """
    of_optuna = None
    while error is not None and not isinstance(error, sa.exc.DBAPIError):
        of_optuna = error if isinstance(error, StorageInternalError) else of_optuna
        error = error.__cause__ or error.__context__
    return error or of_optuna


def _may_pass(error: sa.exc.DBAPIError | StorageInternalError) -> bool:
    """Whether the connection, or a deadlock, was to blame rather than what was asked."""
    if isinstance(error, StorageInternalError) or getattr(error.orig, "pgcode", None) == _DISK_FULL:
        return False
    kinds = (sa.exc.OperationalError, sa.exc.InterfaceError)
    return error.connection_invalidated or isinstance(error, kinds)
