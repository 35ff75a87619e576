"""Which of Tune's hooks raybench overrides: a Ray that renames one must be noticed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, OutOfMemoryError

from raybench.errors import HomeError
from raybench.sweep.ray_runner import (
    PairScheduler,
    RaySearcher,
    _Death,
    _error_of,
    _root_cause,
    _Starts,
)


@pytest.mark.parametrize("ours", [PairScheduler, RaySearcher, _Starts])
def test_every_hook_is_one_of_tunes(ours: type) -> None:
    theirs = {
        name
        for base in ours.__mro__[1:]
        if base.__module__.startswith("ray.")
        for name in vars(base)
    }
    hooks = {name for name in vars(ours) if not name.startswith("_")}
    assert hooks
    assert hooks <= theirs


def test_no_trial_jumps_the_queue() -> None:
    """Chosen by the scheduler, it would take an actor from the trial that was asked after it."""

    class Pending:
        status = "PENDING"

    class Controller:
        def get_trials(self) -> list[Pending]:
            return [Pending()]

    scheduler = PairScheduler(None, None)  # type: ignore[arg-type]
    assert super(PairScheduler, scheduler).choose_trial_to_run(Controller()) is not None
    assert scheduler.choose_trial_to_run(Controller()) is None


def _actor_died(words: str) -> ActorDiedError:
    """As Ray makes it of what its control store says (``ActorDiedErrorContext``)."""
    return ActorDiedError(ActorDiedErrorContext(actor_id=b"\0" * 16, error_message=words))


class FailedTrial:
    """As Tune leaves one whose error was neither an actor's nor a task's."""

    def __init__(self, file: Path) -> None:
        self.error_file = str(file)

    def get_pickled_error(self) -> None:
        return None


def test_a_lost_object_says_why_in_tunes_file_only(tmp_path: Path) -> None:
    """Seen when both nodes of an elastic cluster died: the reason read ``NoneType: None``."""
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nhealth check failed: its node has died\n")
    death = _Death.of(_error_of(FailedTrial(file)))
    assert death.reason == "health check failed: its node has died"
    assert death.node_lost


@pytest.mark.parametrize(
    ("error", "failure", "node_lost"),
    [
        (_actor_died("The actor died because its node has died. Node Id: 12"), None, True),
        (_actor_died("Worker unexpectedly exits with a connection error code 2."), None, False),
        (_actor_died("Task was killed due to the node running low on memory."), "oom", False),
        (OutOfMemoryError("The worker was killed: OUT_OF_MEMORY"), "oom", False),
        (RuntimeError(""), None, False),
    ],
)
def test_why_an_actor_is_gone(error: Exception, failure: str | None, node_lost: bool) -> None:
    death = _Death.of(error)
    assert death.failure == (failure or "infrastructure")
    assert death.node_lost == node_lost
    assert death.reason


def test_what_tune_wraps_is_unwrapped() -> None:
    """Whoever reads it wants to know of the database, not of Tune."""
    cases = [(HomeError("damaged"), HomeError), (sqlite3.OperationalError("locked"), sqlite3.Error)]
    for first, expected in cases:
        try:
            try:
                raise first
            except Exception as error:
                raise RuntimeError("TuneError: a long story") from error
        except RuntimeError as wrapped:
            assert isinstance(_root_cause(wrapped), expected)
    assert isinstance(_root_cause(ValueError("plain")), ValueError)
