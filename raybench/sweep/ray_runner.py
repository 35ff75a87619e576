"""Run a sweep on Ray: one Tuner, whose searcher and scheduler are thin adapters of ours.

Tune is the executor only. It never restores anything: each attempt is a fresh Tuner, and what is
owed comes from the ledger (measured: ``Tuner.restore`` retrains finished trials, or starts empty).
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.sweep.ray_session import PRELOADING  # sets what Ray reads when it is imported

# isort: split
import ray
from ray import tune
from ray.tune.execution import class_cache, tune_controller
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from raybench.errors import RaybenchError
from raybench.records import FailureClass, from_dict
from raybench.sweep.actor_cache import IdleActors
from raybench.sweep.assignment import FINISHED, Assignment
from raybench.sweep.ledger import TrialKey
from raybench.sweep.packing import Shape
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.stall import StallWatch
from raybench.sweep.stop_signal import make_signal
from raybench.sweep.supplies import Supplies
from raybench.sweep.trainable import TrialActor
from raybench.trial.config import TrialConfig

logger = logging.getLogger(__name__)
# Tune's own cache lets every idle actor go while one of another shape starts (measured: 20 trials
# of four shapes in 20 processes). A private name, hence the upper bound on ray in pyproject.
tune_controller._ObjectCache = lambda may_keep_one: IdleActors()


class _ActorClasses(class_cache._ActorClassCache):  # type: ignore[misc]
    """Tune gives its actors a runtime environment, for which Ray starts new processes.

    A private Ray's workers have inherited ours, and the first of them are ready for trials.
    """

    def get(self, trainable_cls: Any) -> Any:
        if PRELOADING not in os.environ:
            return super().get(trainable_cls)
        return self._cache.setdefault(trainable_cls, ray.remote(trainable_cls))


tune_controller._ActorClassCache = _ActorClasses
DRAIN_PATIENCE_S = 15.0
CLUSTER_PATIENCE_S = 240.0
"""Where a checkpoint travels: 3 GB to an object store take a minute or more."""
_NODE_LOST = "its node has died"
_MEMORY_MONITOR = ("low on memory", "OUT_OF_MEMORY")
"""What Ray says of a worker that it killed before the machine ran out of memory."""


@dataclass(frozen=True, slots=True)
class _Death:
    """Why a trial's actor is gone, as far as Ray knows."""

    reason: str = "its worker process or node died"
    failure: FailureClass = "infrastructure"
    node_lost: bool = False

    @classmethod
    def of(cls, error: Exception | str) -> _Death:
        words = str(error)
        lines = words.strip().splitlines()
        if not lines:
            return cls()
        last = lines[-1].strip()
        killed = any(sign in words for sign in _MEMORY_MONITOR)
        return cls(
            reason=f"{type(error).__name__}: {last}" if isinstance(error, Exception) else last,
            failure="oom" if killed else "infrastructure",
            node_lost=_NODE_LOST in words,
        )


def _error_of(trial: Any) -> Exception | str:
    """Tune keeps the errors of actors and tasks; of others, such as lost objects, only the text."""
    error: Exception | None = trial.get_pickled_error()
    if error is not None:
        return error
    return Path(trial.error_file).read_text() if trial.error_file else ""


class _NotPickled:
    """Tune pickles searcher and scheduler into its folder, with all they hold.

    Nothing of ours belongs there: neither the ledger's URL with its password, nor a lock.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RaySearcher(_NotPickled, Searcher):  # type: ignore[misc]
    """Tune's searcher interface over ``SweepSearcher``."""

    def __init__(
        self, searcher: SweepSearcher, configure: Callable[[Assignment], TrialConfig]
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._searcher, self._configure = searcher, configure
        self.keys: dict[str, TrialKey] = {}
        self.deaths: dict[str, _Death] = {}
        self.waiting: dict[str, Shape] = {}
        """Trials that were handed out and have no actor yet."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        assignment = self._searcher.ask()
        if assignment == FINISHED:
            return str(Searcher.FINISHED)
        if not isinstance(assignment, Assignment):
            return None
        self.keys[trial_id] = assignment.key
        self.waiting[trial_id] = assignment.shape
        trial = self._configure(assignment).to_dict()
        return {"trial": trial, "resources": ray_resources(assignment.shape)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The last result of a trial that ended by itself comes here, and only here."""
        key = self.keys.pop(trial_id, None)
        self.waiting.pop(trial_id, None)
        death = self.deaths.pop(trial_id, _Death())
        if key is None:
            return
        if error or result is None:
            self._searcher.lost(key, death.reason, death.failure, death.node_lost)
        else:
            self._searcher.receive(key, [from_dict(r) for r in result["record"]])

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: each attempt is a fresh Tuner."""


class _Starts(_NotPickled, tune.Callback):  # type: ignore[misc]
    """Hears of a trial's actor, a new one or one used again."""

    def __init__(self, ray_searcher: RaySearcher) -> None:
        self._waiting = ray_searcher.waiting

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._waiting.pop(trial.trial_id, None)


class PairScheduler(_NotPickled, FIFOScheduler):  # type: ignore[misc]
    """First come, first served; a trial goes on as long as its searcher says so."""

    def __init__(self, searcher: SweepSearcher, ray_searcher: RaySearcher) -> None:
        super().__init__()
        self._searcher, self._ray_searcher = searcher, ray_searcher

    def choose_trial_to_run(self, controller: Any) -> None:
        """Nobody jumps the queue: Tune starts pending trials by itself, in the searcher's order.

        The inherited choice is the first pending trial of all trials so far. While that waits for
        its actor to start (seconds), it would take each actor that another trial leaves, and Tune
        would throw away the one that starts and begin another (measured: with trials shorter than
        the start of an actor one slot of two stood empty, and 17 actors ran 2,000 trials).
        """

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Called just before the searcher hears of the death, which brings no reason of its own."""
        self._ray_searcher.deaths[trial.trial_id] = _Death.of(_error_of(trial))

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        key = self._ray_searcher.keys.get(trial.trial_id)
        if key is None:
            return str(TrialScheduler.CONTINUE)  # a retired actor's next step ends it
        records = [from_dict(record) for record in result["record"]]
        if self._searcher.receive(key, records):
            return str(TrialScheduler.CONTINUE)
        self._ray_searcher.keys.pop(trial.trial_id)
        failed = result["record"][-1].get("state") == "failed"
        return str(TrialScheduler.CONTINUE if failed else TrialScheduler.STOP)


def run_on_ray(
    searcher: SweepSearcher,
    configure: Callable[[Assignment], TrialConfig],
    name: str,
    wait: Callable[[threading.Thread], None],
    stall: StallWatch | None = None,
    supplies: Supplies | None = None,
    patience_s: float = DRAIN_PATIENCE_S,
) -> None:
    """Run until the searcher is finished; Ray is connected already.

    ``fit`` runs in a thread of its own, so that the main thread keeps the signals (Tune installs
    handlers otherwise) and the live table. ``wait`` is called in the main thread until ``fit`` is
    over; when the searcher drains, all trials are told at once, and one that does not answer within
    ``patience_s`` is given up for this attempt: it waits in the ledger and goes on from its last
    checkpoint.
    ``stall`` says so when trials wait and none runs; ``supplies`` are what other nodes must fetch.

    Raises:
        RaybenchError: e.g. the lease was lost while the sweep ran.
    """
    signal = make_signal()
    shared = {"signal": signal, "supplies": supplies}
    ray_searcher = RaySearcher(searcher, configure)
    failures: list[BaseException] = []

    def fit() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="raybench-tune-") as scratch:
                _tuner(searcher, ray_searcher, shared, name, scratch).fit()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, raised there
            failures.append(error)

    thread = threading.Thread(target=fit, name="raybench-tune", daemon=True)
    thread.start()
    drained: Callable[[], bool] | None = None
    while thread.is_alive():
        wait(thread)
        searcher.tick()
        if stall is not None:
            stall.look(list(ray_searcher.waiting.values()), running=len(_running(ray_searcher)))
        if searcher.draining and drained is None:
            signal.set.remote()
            drained = _drain(ray_searcher, patience_s)
        if drained is not None and drained():
            searcher.abandon()  # what has no slot yet, or is deep in a long call
            return
    if failures:
        raise _root_cause(failures[0])


def _running(ray_searcher: RaySearcher) -> set[str]:
    """Tune's ids of trials that have an actor; from any thread."""
    return set(ray_searcher.keys) - set(ray_searcher.waiting)


def _drain(ray_searcher: RaySearcher, patience_s: float) -> Callable[[], bool]:
    """Says when every trial that runs now has answered, or has had its time to."""
    told_at, told = time.monotonic(), _running(ray_searcher)
    return lambda: not (told & _running(ray_searcher)) or time.monotonic() - told_at > patience_s


def _root_cause(error: BaseException) -> BaseException:
    """What Tune has wrapped: ours where there is one, else the first."""
    cause: BaseException = error
    while not isinstance(cause, RaybenchError):
        inner = cause.__cause__ or cause.__context__
        if inner is None:
            break
        cause = inner
    return cause


def _tuner(
    searcher: SweepSearcher,
    ray_searcher: RaySearcher,
    shared: dict[str, Any],
    name: str,
    scratch: str,
) -> tune.Tuner:
    trainable = tune.with_resources(
        tune.with_parameters(TrialActor, **shared),
        lambda config: tune.PlacementGroupFactory([dict(config["resources"])]),
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=ray_searcher,
            scheduler=PairScheduler(searcher, ray_searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=scratch,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[_Starts(ray_searcher)],
            # The trial writes its own; Tune would ask a class trainable for one at its end.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def ray_resources(shape: Shape) -> dict[str, float]:
    """The bundle of one trial, in Ray's names and units (memory in bytes)."""
    wanted = {"CPU": shape.cpus, "GPU": shape.gpus, "memory": int(shape.memory_gb * 999_999_999)}
    if shape.accelerator:
        wanted[f"accelerator_type:{shape.accelerator}"] = 0.001
    return {name: amount for name, amount in wanted.items() if amount}
