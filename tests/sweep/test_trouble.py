"""Which of a chain of errors is the database's own, and the words for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from raybench.errors import HomeError
from raybench.sweep import patience
from raybench.sweep.patience import database_error
from raybench.sweep.trouble import telling_trouble

URL = "sqlite:////home/ledger.db"


def failure(words: str) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("UPDATE x", {}, Exception(words))


def chained(*errors: Exception) -> Exception:
    """The last, raised while those before it were handled."""
    for earlier, later in zip(errors, errors[1:], strict=False):
        later.__context__ = earlier
    return errors[-1]


def test_the_newest_of_the_databases_own_is_told() -> None:
    """What was handled before it, it is not about."""
    error = chained(failure("no such table"), failure("disk is full"), StorageInternalError("x"))
    with pytest.raises(HomeError, match="disk is full.*make room on its disk"):
        with telling_trouble(URL):
            raise error


def test_optunas_word_counts_where_there_is_no_other() -> None:
    with pytest.raises(HomeError, match="pool timed out"), telling_trouble(URL):
        raise chained(StorageInternalError("pool timed out"), RuntimeError("Tune failed"))


def test_another_thread_may_recover_while_one_looks_how_long_it_has_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The threads of a driver share one patience."""
    server: Any = SimpleNamespace(dialect=SimpleNamespace(name="postgresql"))
    patient = patience.Patience(server)

    def recovered() -> float:
        patient._recover()
        return 0.0

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=recovered, sleep=lambda s: 0))
    answers = iter([failure("server closed the connection"), None])

    def action() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "written"

    assert patient(action) == "written"


def test_other_errors_stay_as_they_are() -> None:
    assert database_error(chained(ValueError("x"), KeyError("y"))) is None
    with pytest.raises(KeyError), telling_trouble(URL):
        raise chained(ValueError("x"), KeyError("y"))
