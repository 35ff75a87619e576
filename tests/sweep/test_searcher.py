"""Quotas are exact and fair whatever happens, in any order of events, over any number of kills."""

from __future__ import annotations

import errno
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Literal

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raybench.plan import make_plan
from raybench.records import EndRecord, FailureClass
from raybench.sweep.adoption import done_pairs
from raybench.sweep.assignment import FINISHED, Assignment, Capacity
from raybench.sweep.ledger import TrialKey
from raybench.sweep.packing import Shape
from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.slots import Slots
from raybench.sweep.tables import open_engine
from raybench.sweep.trial_files import TrialFiles
from tests.specs import pairs_spec, tiny_spec
from tests.sweep.simulation import (
    Home,
    Simulation,
    complete_record,
    epoch_record,
    failed_record,
)

TERMINAL = {"complete", "pruned", "failed"}


def _succeed(searcher: SweepSearcher, key: TrialKey) -> None:
    """One epoch, then a complete end."""
    searcher.receive(key, [epoch_record(1, 0.5)])
    searcher.receive(key, [complete_record(1, 0.5, key[1] == "final")])


def _failing(rate: float) -> object:
    kinds: tuple[FailureClass, ...] = ("infrastructure", "diverged", "oom", "user", "disk")

    def fails(rng: random.Random) -> FailureClass | None:
        return rng.choice(kinds) if rng.random() < rate else None

    return fails


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pairs=st.integers(1, 4),
    trials=st.integers(1, 7),
    slots=st.integers(1, 5),
    rate=st.sampled_from([0.0, 0.05, 0.3]),
    early_stop=st.sampled_from(["asha", "median", "none"]),
    kills=st.lists(st.integers(1, 40), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_quota_is_exact_over_failures_and_kills(
    pairs: int,
    trials: int,
    slots: int,
    rate: float,
    early_stop: Literal["asha", "median", "none"],
    kills: list[int],
    seed: int,
) -> None:
    """T search trials per pair, none open, one final per seed for every pair with a winner."""
    rng = random.Random(seed)
    search = {"sampler": "random", "ladder": 1, "early_stop": early_stop}
    spec = pairs_spec(pairs, trials, search=search)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder), spec, capacity=Capacity(float(slots), 0.0))
        lives = [*kills, None]
        while lives:
            with home.attempt() as searcher:
                simulation = Simulation(searcher, rng, spec.recipe.epochs, _failing(rate))  # type: ignore[arg-type]
                simulation.run(lives.pop(0))
                assert simulation.most_at_once <= slots
                if not lives and searcher.draining:
                    lives.append(None)  # the disk was full: the same command goes on
        snapshot = home.snapshot()
    for pair in snapshot.pairs:
        search_trials = pair.search_trials()
        assert [t.number for t in search_trials] == list(range(trials))
        assert {t.state for t in pair.trials} <= TERMINAL
        assert pair.state in ("done", "failed")
        finals = pair.final_trials("tuned")
        if any(t.state == "complete" for t in search_trials):
            assert sorted(t.seed for t in finals) == [0, 1]  # type: ignore[type-var]
        else:
            assert not finals
        for trial in pair.trials:
            numbers = [record.epoch for record in trial.epochs]
            assert numbers == sorted(set(numbers))


def test_slow_pair_does_not_hold_up_another(tmp_path: Path) -> None:
    """One pair's trials never report; the other still gets all its trials and finals."""
    spec = pairs_spec(2, 3, search={"sampler": "random", "ladder": 1, "early_stop": "none"})
    home = Home(tmp_path, spec, capacity=Capacity(3.0, 0.0))
    with home.attempt() as searcher:
        slow, quick = list(searcher.boards)
        for _ in range(100):
            while isinstance(searcher.ask(), Assignment):
                pass
            ready = list(searcher.boards[quick].active)
            if not ready:
                break
            for key in ready:
                _succeed(searcher, key)
        assert searcher.boards[quick].progress(False).state == "done"
        assert searcher.boards[slow].progress(False).search_done == 0


def test_served_evenly(tmp_path: Path) -> None:
    """While all pairs owe, none gets further ahead than the window that actor reuse needs."""
    spec = pairs_spec(3, 8, search={"sampler": "random", "ladder": 1, "early_stop": "none"})
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        for _ in range(24):
            assignment = searcher.ask()
            assert isinstance(assignment, Assignment)
            asked = [board.asked for board in searcher.boards.values()]
            assert max(asked) - min(asked) <= 8 // 4 + 1
            _succeed(searcher, assignment.key)


def test_few_actors_for_four_shapes(tmp_path: Path) -> None:
    """48 short trials of four shapes on two slots: an actor is reused only by an equal shape."""
    spec = pairs_spec(4, 12, search={"sampler": "random", "ladder": 1, "early_stop": "none"},
                      final={"seeds": [0]})  # fmt: skip
    shares = dict(zip(range(4), (1.0, 0.5, 0.25, 0.125), strict=True))
    home = Home(
        tmp_path, spec, shape_of=lambda pair: Shape(1.0, shares[pair.position]),
        capacity=Capacity(2.0, 2.0),
    )  # fmt: skip
    started, idle = 0, Counter[Shape]()
    running: list[Assignment] = []
    rng = random.Random(0)
    with home.attempt() as searcher:
        while True:
            while isinstance(assignment := searcher.ask(), Assignment):
                if idle[assignment.shape]:
                    idle[assignment.shape] -= 1
                else:
                    started += 1
                    idle.clear()  # Tune lets cached actors of other shapes go
                running.append(assignment)
            if assignment == FINISHED:
                break
            ended = running.pop(rng.randrange(len(running)))
            _succeed(searcher, ended.key)
            idle[ended.shape] += 1
    assert started <= 12


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_eight_at_once_in_one_pair(tmp_path: Path, sampler: str) -> None:
    """Two GPUs and a share of a quarter: eight trials run at once."""
    spec = pairs_spec(1, 12, search={"sampler": sampler, "ladder": 1, "early_stop": "none"})
    home = Home(
        tmp_path, spec, shape_of=lambda pair: Shape(1.0, 0.25), capacity=Capacity(16.0, 2.0)
    )
    with home.attempt() as searcher:
        assignments = []
        while isinstance(assignment := searcher.ask(), Assignment):
            assignments.append(assignment)
    assert len(assignments) == 8


def test_user_failures_end_the_pair(tmp_path: Path) -> None:
    spec = pairs_spec(2, 6)
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        broken = next(iter(searcher.boards))
        while isinstance(assignment := searcher.ask(), Assignment):
            if assignment.pair.id == broken:
                searcher.receive(assignment.key, [failed_record("user")])
            else:
                _succeed(searcher, assignment.key)
    first, second = home.snapshot().pairs
    failures = [t.end.failure for t in first.search_trials() if t.end is not None]
    assert failures == ["user"] * 3 + ["pair_failed"] * 3
    assert (first.state, second.state) == ("failed", "done")


@pytest.mark.parametrize(("node_lost", "lives"), [(False, 4), (True, 11)])
def test_a_trial_that_comes_no_further_fails(tmp_path: Path, node_lost: bool, lives: int) -> None:
    """Always under the same number; the loss of a node is not held against it as soon."""
    home = Home(tmp_path, pairs_spec(1, 1), capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        assignments = []
        while isinstance(assignment := searcher.ask(), Assignment):
            assignments.append(assignment)
            searcher.lost(assignment.key, "gone", node_lost=node_lost)
    assert len({a.key for a in assignments}) == 1
    assert [a.retry for a in assignments] == list(range(lives))
    (pair,) = home.snapshot().pairs
    assert [t.state for t in pair.trials] == ["failed"]
    assert pair.trials[0].end is not None
    assert pair.trials[0].end.failure == "infrastructure"
    assert len(pair.trials[0].failures) == lives - 1


def test_a_trial_that_comes_further_may_lose_its_process_again(tmp_path: Path) -> None:
    """Preempted after every epoch for days: it goes on, from its checkpoint."""
    home = Home(tmp_path, pairs_spec(1, 1, final={"seeds": [0]}), capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        for epoch in range(1, 9):
            assignment = searcher.ask()
            assert isinstance(assignment, Assignment)
            assert assignment.known_epochs == epoch - 1
            searcher.receive(assignment.key, [epoch_record(epoch, 0.5)])
            searcher.lost(assignment.key, "preempted", node_lost=epoch % 2 == 0)
        assignment = searcher.ask()
        assert isinstance(assignment, Assignment)
        searcher.receive(assignment.key, [complete_record(1, 0.5)])
    (pair,) = home.snapshot().pairs
    assert [t.state for t in pair.search_trials()] == ["complete"]


@pytest.mark.parametrize("failure", ["disk", "infrastructure"])
def test_what_the_environment_failed_is_owed_by_the_next_attempt(
    tmp_path: Path, failure: FailureClass
) -> None:
    """Same number, same parameters, and the quota as if nothing had been."""
    home = Home(tmp_path, pairs_spec(1, 2, final={"seeds": [0]}), capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        first = searcher.ask()
        assert isinstance(first, Assignment)
        searcher.receive(first.key, [epoch_record(1, 0.5)])
        if failure == "disk":
            searcher.receive(first.key, [failed_record("disk")])
        else:
            for _ in range(3):
                searcher.lost(first.key, "gone")
                assert isinstance(searcher.ask(), Assignment)
            searcher.lost(first.key, "gone")
    assert home.snapshot().pairs[0].trials[0].state == "failed"
    with home.attempt() as searcher:
        again = searcher.ask()
        assert isinstance(again, Assignment)
        assert (again.key, again.params) == (first.key, first.params)
        assert again.known_epochs == 1
        assert again.retry > 0
        for _ in range(3):
            assert isinstance(again, Assignment)
            _succeed(searcher, again.key)
            again = searcher.ask()
        assert again == FINISHED
    (pair,) = home.snapshot().pairs
    assert [t.state for t in pair.trials] == ["complete"] * 3
    assert pair.trials[0].failures[-1].startswith(f"taken up again after {failure}")
    optuna_trials = optuna.load_study(study_name=f"{home.spec.name}/{pair.id}", storage=home.url)
    assert [t.state.name for t in optuna_trials.trials] == ["COMPLETE"] * 2


def test_a_pair_is_done_by_what_the_file_asks_for_now(tmp_path: Path) -> None:
    """What decides whether Ray is started at all; the ledger knows what was asked for before."""
    budget = {"trials": 2, "device_hours": 1e-9}
    recipe = {"epochs": 1}
    spec = tiny_spec(budget=budget, recipe=recipe)
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        while isinstance(assignment := searcher.ask(), Assignment):
            _succeed(searcher, assignment.key)
    before = home.snapshot()
    assert before.pairs[0].state == "done"

    def done(**changes: object) -> int:
        return len(done_pairs(make_plan(tiny_spec(recipe=recipe, **changes)), before))

    assert done(budget=budget) == 1
    assert done(budget=budget | {"device_hours": 1.0}) == 0
    assert done(budget={"trials": 1}) == 1
    assert done(budget=budget, final={"seeds": [0, 1, 2]}) == 0


def test_what_is_to_be_taken_up_is_not_done_until_it_was_twice(tmp_path: Path) -> None:
    """A trial that fails its environment for ever does not keep a sweep open for ever."""
    home = Home(tmp_path, pairs_spec(1, 2, final={"seeds": [0]}), capacity=Capacity(1.0, 0.0))
    plan, asked = make_plan(home.spec), []
    for _ in range(5):
        with home.attempt() as searcher:
            asked.append(0)
            while isinstance(assignment := searcher.ask(), Assignment):
                asked[-1] += 1
                if assignment.key[1:] == ("search", 1):
                    searcher.receive(assignment.key, [failed_record("disk")])
                else:
                    _succeed(searcher, assignment.key)
        assert home.snapshot().pairs[0].state == "done"
        assert bool(done_pairs(plan, home.snapshot())) == (len(asked) > 2)
    assert asked == [3, 1, 1, 0, 0]


def test_readers_see_that_a_trial_was_taken_up_and_failed_again(tmp_path: Path) -> None:
    """SQLite gives the number of a deleted row again; MLflow's side goes by these."""
    home = Home(tmp_path, pairs_spec(1, 1), capacity=Capacity(1.0, 0.0))
    versions = []
    for _ in range(3):
        with home.attempt() as searcher:
            assignment = searcher.ask()
            assert isinstance(assignment, Assignment)
            searcher.receive(assignment.key, [failed_record("disk")])
        engine = open_engine(home.url, create=False)
        versions += SweepReader(engine, home.spec.name).versions().values()
        engine.dispose()
    assert len(set(versions)) == 3


def test_trials_of_a_pair_that_left_the_file_stay_as_they_are(tmp_path: Path) -> None:
    with Home(tmp_path, pairs_spec(2, 1)).attempt() as searcher:
        while isinstance(assignment := searcher.ask(), Assignment):
            searcher.receive(assignment.key, [failed_record("disk")])
    home = Home(tmp_path, pairs_spec(1, 1))
    with home.attempt() as searcher:
        assert isinstance(searcher.ask(), Assignment)
    assert [pair.state for pair in home.snapshot().pairs] == ["searching", "failed"]


def test_no_clock_no_taking_up(tmp_path: Path) -> None:
    """A sweep that is done stays done when its wall clock is spent."""
    home = Home(tmp_path, pairs_spec(1, 2, final={"seeds": [0]}), capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        while isinstance(assignment := searcher.ask(), Assignment):
            if assignment.key[2] == 1:
                searcher.receive(assignment.key, [failed_record("disk")])
            else:
                _succeed(searcher, assignment.key)
    home.remaining_s = lambda: 0.0
    with home.attempt() as searcher:
        assert searcher.ask() == FINISHED
    assert home.snapshot().pairs[0].trials[1].state == "failed"


@pytest.mark.parametrize(("number", "failure"), [(errno.ENOSPC, "disk"), (errno.EIO, None)])
def test_a_trial_that_is_stopped_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, failure: str | None
) -> None:
    """Its best weights are written by the driver: that fails the trial, not the sweep."""
    spec = tiny_spec(budget={"trials": 1, "device_hours": 1e-9})
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))

    def full(*_: object) -> None:
        raise OSError(number, "as planned")

    with home.attempt() as searcher, monkeypatch.context() as patch:
        patch.setattr(TrialFiles, "best_weights", full)
        first = searcher.ask()
        assert isinstance(first, Assignment)
        assert not searcher.receive(first.key, [epoch_record(1, 0.5)])
    (trial,) = home.snapshot().pairs[0].search_trials()
    assert trial.end is not None
    assert trial.end.failure == (failure or "infrastructure")
    with home.attempt() as searcher:
        assert searcher.ask() == FINISHED
    (trial,) = home.snapshot().pairs[0].search_trials()
    assert trial.end is not None
    assert (trial.state, trial.end.reason) == ("pruned", "budget")


def test_a_full_disk_ends_the_asking(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three trials in a row; what is done in between breaks the row."""
    spec = pairs_spec(1, 9, search={"sampler": "random", "ladder": 1, "early_stop": "none"})
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        for failure in ("disk", "disk", "user", "disk", "disk", "disk"):
            assignment = searcher.ask()
            assert isinstance(assignment, Assignment)
            searcher.receive(assignment.key, [failed_record(failure)])  # type: ignore[arg-type]
        assert searcher.ask() == FINISHED
        assert searcher.draining
    assert "the disk is full" in caplog.text and "make space" in caplog.text
    (pair,) = home.snapshot().pairs
    assert pair.state == "searching"
    assert pair.owed == 3


def test_out_of_memory_takes_the_next_share_then_smaller_micro_batches(tmp_path: Path) -> None:
    home = Home(
        tmp_path, pairs_spec(1, 1), shape_of=lambda pair: Shape(1.0, 0.25),
        capacity=Capacity(4.0, 1.0),
    )  # fmt: skip
    with home.attempt() as searcher:
        shares, parts = [], []
        while isinstance(assignment := searcher.ask(), Assignment):
            shares.append(assignment.shape.gpus)
            parts.append(assignment.fit.accumulation)
            searcher.receive(assignment.key, [failed_record("oom")])
    assert shares == [0.25, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert parts == [1, 1, 1, 2, 4, 8]
    (pair,) = home.snapshot().pairs
    assert [t.state for t in pair.trials] == ["failed"]
    assert [f.split(":")[0] for f in pair.trials[0].failures] == [
        "oom at share 0.25", "oom at share 0.5", "oom at share 1",
        "oom at share 1 in 2 micro-batches", "oom at share 1 in 4 micro-batches",
    ]  # fmt: skip


@pytest.mark.parametrize(("gpus", "retried_with"), [(0.25, (0.25, 1)), (0.0, (0.0, 2))])
def test_a_worker_killed_for_the_machines_memory(
    tmp_path: Path, gpus: float, retried_with: tuple[float, int]
) -> None:
    """On a CPU it was the trial's memory; on a GPU a larger share of that would not help."""
    home = Home(
        tmp_path, pairs_spec(1, 1), shape_of=lambda pair: Shape(1.0, gpus),
        capacity=Capacity(4.0, 1.0),
    )  # fmt: skip
    with home.attempt() as searcher:
        first = searcher.ask()
        assert isinstance(first, Assignment)
        searcher.lost(first.key, "killed by the memory monitor", "oom")
        again = searcher.ask()
    assert isinstance(again, Assignment)
    assert again.key == first.key
    assert (again.shape.gpus, again.fit.accumulation) == retried_with


def test_drained_trials_wait_and_come_back(tmp_path: Path) -> None:
    home = Home(tmp_path, pairs_spec(1, 3), capacity=Capacity(2.0, 0.0))
    with home.attempt() as searcher:
        first = [searcher.ask(), searcher.ask()]
        keys = [a.key for a in first if isinstance(a, Assignment)]
        params = [a.params for a in first if isinstance(a, Assignment)]
        searcher.receive(keys[0], [epoch_record(1, 0.5)])
        searcher.drain()
        assert searcher.ask() is None
        for key in keys:
            searcher.receive(key, [EndRecord("interrupted", 1.7e9)])
        assert searcher.ask() == FINISHED
    assert {t.state for t in home.snapshot().pairs[0].trials} == {"waiting"}
    with home.attempt() as searcher:
        again = [searcher.ask(), searcher.ask()]
        assert [a.key for a in again if isinstance(a, Assignment)] == keys
        assert [a.params for a in again if isinstance(a, Assignment)] == params
        assert [a.known_epochs for a in again if isinstance(a, Assignment)] == [1, 0]


def test_a_late_record_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, pairs_spec(1, 1, final={"seeds": [0]}), capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        assignment = searcher.ask()
        assert isinstance(assignment, Assignment)
        searcher.receive(assignment.key, [complete_record(1, 0.5)])
        before = home.snapshot()
        assert searcher.receive(assignment.key, [epoch_record(1, 0.9)]) is False
        assert home.snapshot() == before


def test_device_hours_end_the_search_and_finals_run(tmp_path: Path) -> None:
    """3.6 s of device time: the trial that crosses it is pruned, its pair still gets finals."""
    budget = {"trials": 5, "device_hours": 0.001}
    spec = pairs_spec(1, 5)
    spec = spec.model_copy(update={"budget": type(spec.budget)(**budget)})
    home = Home(tmp_path, spec, capacity=Capacity(1.0, 0.0))
    with home.attempt() as searcher:
        assert Simulation(searcher, random.Random(0), spec.recipe.epochs).run()
    (pair,) = home.snapshot().pairs
    states = [(t.state, t.end.reason if t.end else "") for t in pair.search_trials()]
    assert states == [("complete", ""), ("complete", "")]
    assert pair.state == "done"
    assert pair.owed == 0


def test_wall_clock_keeps_the_finals_time_back(tmp_path: Path) -> None:
    """At the reserve the search pauses, the finals of the winner so far run, the rest waits."""
    clock = {"left": 1e6}
    home = Home(
        tmp_path, pairs_spec(1, 4, final={"seeds": [0]}), capacity=Capacity(1.0, 0.0),
        remaining_s=lambda: clock["left"],
    )  # fmt: skip
    with home.attempt() as searcher:
        first = searcher.ask()
        assert isinstance(first, Assignment)
        searcher.receive(first.key, [epoch_record(1, 0.5, seconds=10.0)])
        searcher.receive(first.key, [complete_record(1, 0.5)])
        clock["left"] = 11.0  # a final takes 10 s, 12 s with the margin
        final = searcher.ask()
        assert isinstance(final, Assignment)
        assert final.key[1] == "final"
        searcher.receive(final.key, [complete_record(1, 0.5, final=True)])
        assert searcher.ask() == FINISHED
    (pair,) = home.snapshot().pairs
    assert (pair.state, pair.owed) == ("incomplete", 3)
    clock["left"] = 1e6
    with home.attempt() as searcher:
        assert Simulation(searcher, random.Random(1), 2).run()
    assert home.snapshot().pairs[0].state == "done"


def test_wall_clock_leaves_no_pair_without_a_result(tmp_path: Path) -> None:
    """At the reserve a pair that has nothing yet may finish, or begin, one trial at a time."""
    clock = {"left": 1e6}
    home = Home(
        tmp_path, pairs_spec(3, 4, final={"seeds": [0]}), capacity=Capacity(2.0, 0.0),
        remaining_s=lambda: clock["left"],
    )  # fmt: skip
    with home.attempt() as searcher:
        first, second = searcher.ask(), searcher.ask()
        assert isinstance(first, Assignment) and isinstance(second, Assignment)
        searcher.receive(first.key, [epoch_record(1, 0.5, seconds=10.0)])
        searcher.receive(first.key, [complete_record(1, 0.5)])
        clock["left"] = 20.0  # less than three finals of 10 s in one slot
        searcher.tick()
        assert searcher.receive(second.key, [epoch_record(1, 0.5, seconds=10.0)])  # goes on
        final = searcher.ask()
        assert isinstance(final, Assignment) and final.key[1] == "final"
        searcher.receive(second.key, [complete_record(1, 0.5)])
        searcher.receive(final.key, [complete_record(1, 0.5, final=True)])
        assert Simulation(searcher, random.Random(1), 2).run()
    pairs = home.snapshot().pairs
    assert [len(pair.search_trials()) for pair in pairs] == [1, 1, 1]
    assert [len(pair.final_trials("tuned")) for pair in pairs] == [1, 1, 1]
    assert all(t.state == "complete" for pair in pairs for t in pair.trials)


def test_raised_budget_runs_only_what_is_missing(tmp_path: Path) -> None:
    with (home := Home(tmp_path, pairs_spec(1, 2))).attempt() as searcher:
        assert Simulation(searcher, random.Random(0), 2).run()
    with (home := Home(tmp_path, pairs_spec(1, 4))).attempt() as searcher:
        simulation = Simulation(searcher, random.Random(1), 2)
        assert simulation.run()
        assert {n for _, phase, n in simulation.starts if phase == "search"} == {2, 3}
    (pair,) = home.snapshot().pairs
    assert len(pair.search_trials()) == 4
    assert len(pair.final_trials("tuned")) == 2


def test_default_config_coincides_with_a_winning_default(tmp_path: Path) -> None:
    """Where trial 0 wins, one final per seed stands for both configurations."""
    spec = pairs_spec(1, 1, final={"seeds": [0, 1], "configs": ["tuned", "default"]})
    home = Home(tmp_path, spec)
    with home.attempt() as searcher:
        assert Simulation(searcher, random.Random(0), 2).run()
    (pair,) = home.snapshot().pairs
    assert [t.configs for t in pair.final_trials()] == [("tuned", "default")] * 2


def test_two_trials_out_of_memory_are_both_retried(tmp_path: Path) -> None:
    """Each is judged by the share it held, not by what its sibling has raised meanwhile."""
    home = Home(
        tmp_path, pairs_spec(1, 2), shape_of=lambda pair: Shape(1.0, 0.5),
        capacity=Capacity(4.0, 1.0),
    )  # fmt: skip
    with home.attempt() as searcher:
        first = [searcher.ask(), searcher.ask()]
        for assignment in first:
            assert isinstance(assignment, Assignment)
            assert searcher.receive(assignment.key, [failed_record("oom")]) is False
        again = searcher.ask()
        assert isinstance(again, Assignment)
        assert again.shape.gpus == 1.0
        assert searcher.ask() is None, "one whole GPU is taken"
        searcher.drain()
        searcher.receive(again.key, [EndRecord("interrupted", 1.7e9)])
    assert {t.state for t in home.snapshot().pairs[0].trials} == {"waiting"}
    with home.attempt() as searcher:
        remembered = searcher.ask()
        assert isinstance(remembered, Assignment)
        assert remembered.shape.gpus == 1.0


def test_nothing_stays_running_that_nobody_runs(tmp_path: Path) -> None:
    """Killed, resumed with one pair gone from the file, drained before anything was taken up."""
    with Home(tmp_path, pairs_spec(2, 2)).attempt() as searcher:
        for _ in range(2):
            assert isinstance(searcher.ask(), Assignment)
    home = Home(tmp_path, pairs_spec(1, 2))
    with home.attempt() as searcher:
        searcher.drain()
        assert searcher.ask() == FINISHED
    states = [t.state for p in home.snapshot().pairs for t in p.trials]
    assert states == ["waiting", "waiting"]


def test_narrowed_seeds_come_back(tmp_path: Path) -> None:
    """A final whose seed leaves the file waits; it is neither run nor lost."""
    wide, narrow = pairs_spec(1, 1, final={"seeds": [0, 1]}), pairs_spec(1, 1, final={"seeds": [0]})
    home = Home(tmp_path, wide)
    with home.attempt() as searcher:
        search = searcher.ask()
        assert isinstance(search, Assignment)
        _succeed(searcher, search.key)
        finals = [searcher.ask(), searcher.ask()]
        assert all(isinstance(final, Assignment) for final in finals)
    with Home(tmp_path, narrow).attempt() as searcher:
        simulation = Simulation(searcher, random.Random(0), 2)
        assert simulation.run()
        assert simulation.starts == [(search.pair.id, "final", 0)]
    with home.attempt() as searcher:
        simulation = Simulation(searcher, random.Random(0), 2)
        assert simulation.run()
        assert simulation.starts == [(search.pair.id, "final", 1)]
    (pair,) = home.snapshot().pairs
    assert [t.state for t in pair.final_trials("tuned")] == ["complete", "complete"]


def test_an_abandoned_trial_waits_and_its_late_record_is_ignored(tmp_path: Path) -> None:
    home = Home(tmp_path, pairs_spec(1, 1))
    with home.attempt() as searcher:
        assignment = searcher.ask()
        assert isinstance(assignment, Assignment)
        searcher.abandon()
        assert searcher.ask() == FINISHED
        assert searcher.receive(assignment.key, [epoch_record(1, 0.5)]) is False
    (trial,) = home.snapshot().pairs[0].trials
    assert (trial.state, trial.epochs) == ("waiting", ())


def test_a_full_cluster_is_known_without_a_look_at_each_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune asks several times per trial; with hundreds of pairs each look would cost."""
    with Home(tmp_path, pairs_spec(4, 2), capacity=Capacity(2.0, 0.0)).attempt() as searcher:
        held = [searcher.ask(), searcher.ask()]
        looks: list[object] = []
        room = Slots.room
        monkeypatch.setattr(Slots, "room", lambda *args: looks.append(args) or room(*args))
        assert searcher.ask() is None
        assert not looks
        assert isinstance(held[0], Assignment)
        _succeed(searcher, held[0].key)
        assert isinstance(searcher.ask(), Assignment)
        assert looks
