"""Which of Tune's hooks raybench overrides: a Ray that renames one must be noticed."""

from __future__ import annotations

import pytest

from raybench.sweep.ray_runner import PairScheduler, RaySearcher


@pytest.mark.parametrize("ours", [PairScheduler, RaySearcher])
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
