"""A ledger that can no longer be written while a sweep runs: a full disk, damage, a lost server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from raybench.errors import HomeError, RaybenchError
from raybench.redaction import redact
from raybench.sweep.patience import database_error
from raybench.sweep.soundness import DAMAGE, damaged, reason_of, sqlite_path


@contextmanager
def telling_trouble(url: str) -> Iterator[None]:
    """Words for what the database of ``url`` raises, also through Optuna and Ray Tune.

    Raises:
        HomeError: in place of it.
    """
    try:
        yield
    except RaybenchError:
        raise
    except Exception as error:
        cause = database_error(error)
        if cause is None:
            raise
        raise HomeError(_words(url, reason_of(cause))) from error


def _words(url: str, reason: str) -> str:
    if any(sign in reason for sign in DAMAGE):
        return damaged(url, reason)
    hint = "make room on its disk" if "full" in reason else "see that it can be written"
    if sqlite_path(url) is None and "full" not in reason:
        hint = "see that its server answers"
    return (
        f"the ledger {sqlite_path(url) or redact(url)} cannot be written ({reason}); {hint} and "
        "give the same command again: what is committed is kept"
    )
