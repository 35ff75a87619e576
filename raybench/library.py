"""raybench as a library: run a sweep, open one, and get its results as DataFrames.

Imports are inside the functions, so that ``import raybench`` costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from raybench.records import SweepSnapshot
    from raybench.settings import Settings
    from raybench.sweep.options import Observer, Tracker
    from raybench.sweep.preflight import Preflight
    from raybench.sweep.reader import SweepReader
    from raybench.sweep.run import RunResult


@dataclass(frozen=True)
class Sweep:
    """A sweep in a home, read from its ledger; always what is committed now."""

    name: str
    settings: Settings

    def snapshot(self) -> SweepSnapshot:
        """Everything the ledger holds of the sweep."""
        reader, engine = _reader(self.settings, self.name)
        try:
            return reader.snapshot()
        finally:
            engine.dispose()

    def status(self) -> dict[str, Any]:
        """Per pair: states, counts, costs, best and final results; what ``--json`` prints."""
        from raybench.analysis.contract import summarize

        return summarize(self.snapshot())

    def records(self) -> pd.DataFrame:
        """One row per trial and epoch, hyperparameters and metrics as columns."""
        from raybench.analysis.frames import records_frame

        return records_frame(self.snapshot())

    def leaderboard(self) -> pd.DataFrame:
        """One row per pair, best final test result first within each task."""
        from raybench.analysis.ranking import leaderboard

        return leaderboard(self.snapshot())


def open(name: str | None = None, home: str | Path | None = None) -> Sweep:  # noqa: A001
    """A sweep of a home; ``name`` may be left out where the home has only one.

    Raises:
        HomeError: no ledger there. UserInputError: no such sweep, or several and none named.
    """
    from raybench.settings import resolve_settings
    from raybench.sweep.reader import only_sweep
    from raybench.sweep.tables import open_engine

    settings = resolve_settings(home)
    engine = open_engine(settings.ledger_url, create=False)
    try:
        return Sweep(only_sweep(engine, name), settings)
    finally:
        engine.dispose()


def run(
    spec: str | Path,
    *,
    home: str | Path | None = None,
    overrides: Sequence[str] = (),
    inline: bool = False,
    address: str | None = None,
    tracking: bool = True,
) -> Sweep:
    """Run or resume a sweep file (or a shipped one by name) and open it.

    Args:
        spec: a path, or the name of a shipped file.
        home: where the sweep lives; default ``RAYBENCH_HOME``, else ``./raybench-home``.
        overrides: ``key.path=value`` strings, as ``--set`` takes them.
        inline: in this process, without Ray.
        address: a running Ray to use.
        tracking: project to MLflow while it runs.

    Raises:
        SpecError, DataError, LeaseHeldError, HomeError, ResourceError: see ``raybench.errors``.
    """
    result = run_sweep_file(
        spec, home=home, overrides=overrides, inline=inline, address=address, tracking=tracking
    )
    return open(result.snapshot.sweep, home)


def run_sweep_file(
    spec: str | Path,
    *,
    home: str | Path | None = None,
    overrides: Sequence[str] = (),
    inline: bool = False,
    address: str | None = None,
    max_gpus: float | None = None,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    accept_leaks: bool = False,
    tracking: bool = True,
    observer: Observer | None = None,
) -> RunResult:
    """``run`` with every option, returning how it ended."""
    from raybench.settings import resolve_settings
    from raybench.sweep.options import RunOptions
    from raybench.sweep.run import run_sweep
    from raybench.validate import load_spec

    settings = resolve_settings(home)
    options = RunOptions(
        inline=inline,
        address=address,
        max_gpus=max_gpus,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        accept_leaks=accept_leaks,
        tracker=_tracker_factory(settings) if tracking else None,
    )
    tell = observer.message if observer is not None else lambda sentence: None
    return run_sweep(load_spec(spec, overrides, tell), settings, options, observer)


def fetch(
    spec: str | Path,
    *,
    home: str | Path | None = None,
    overrides: Sequence[str] = (),
    tell: Callable[[str], None] = lambda sentence: None,
) -> Preflight:
    """Everything that ``run`` needs from outside: weights, data, the decoded cache; all checked.

    For machines with a network (login nodes); ``run`` then needs none. Leaks are told, not refused.

    Raises:
        SpecError, DataError: what is wrong with the sweep file, the data or the models.
        HomeError, ResourceError: what cannot be written or had.
    """
    from raybench.plan import make_plan
    from raybench.records import SweepSnapshot
    from raybench.settings import create_home, resolve_settings
    from raybench.sweep.preflight import check_everything
    from raybench.validate import load_spec

    plan = make_plan(load_spec(spec, overrides, tell))
    settings = resolve_settings(home)
    create_home(settings)
    nothing = SweepSnapshot(plan.spec.name, "", 0, plan.spec.search.metric, {}, ())
    return check_everything(
        plan, settings, nothing, tell, accept_leaks=True, leak_words="run will refuse this"
    )


def sync(
    name: str | None = None,
    home: str | Path | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Any:
    """Complete or rebuild MLflow's side of a sweep from the ledger; returns counts."""
    from raybench.settings import private_files
    from raybench.tracking.client import open_projection
    from raybench.tracking.sync import sync as sync_once

    sweep = open(name, home)
    reader, engine = _reader(sweep.settings, sweep.name)
    settings = sweep.settings
    try:
        with private_files(settings.home):
            projection = open_projection(
                settings.tracking_uri, settings.artifact_root, settings.checkpoint_root
            )
            return sync_once(reader, projection, tell)
    finally:
        engine.dispose()


def _tracker_factory(settings: Settings) -> Any:
    from raybench.tracking.client import open_projection
    from raybench.tracking.worker import TrackingThread

    def make(reader_factory: Any) -> Tracker:
        return TrackingThread(
            reader_factory,
            lambda: open_projection(
                settings.tracking_uri, settings.artifact_root, settings.checkpoint_root
            ),
        )

    return make


def _reader(settings: Settings, name: str) -> tuple[SweepReader, Any]:
    from raybench.sweep.reader import SweepReader
    from raybench.sweep.tables import open_engine

    engine = open_engine(settings.ledger_url, create=False)
    return SweepReader(engine, name), engine
