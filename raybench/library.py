"""raybench as a library: run a sweep, open one, and get its results as DataFrames.

Imports are inside the functions, so that ``import raybench`` costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from raybench.analysis.whole import Analysis
    from raybench.records import SweepSnapshot
    from raybench.reporting import Choices
    from raybench.settings import Settings
    from raybench.sweep.options import Observer
    from raybench.sweep.preflight import Preflight
    from raybench.sweep.reader import SweepReader
    from raybench.sweep.run import RunResult
    from raybench.trial.classifier import Classifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """A sweep in a home, read from its ledger; always what is committed now.

    On a cluster, ``address`` is its dashboard's and ``home`` a folder there (None: its default).
    """

    name: str
    settings: Settings
    address: str | None = None
    home: str | None = None

    def snapshot(self) -> SweepSnapshot:
        """Everything the ledger holds of the sweep; on a cluster a job reads it, in seconds."""
        if self.address is not None:
            return read_there(self.address, self.name, self.home)
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
        return self.analysis().leaderboard()

    def analysis(self, choices: Choices | None = None) -> Analysis:
        """The sweep as it is now, with its predictions; each part is computed when asked for."""
        from raybench.reporting import open_report

        with open_report([self.name], self._home, self.address, choices) as found:
            return found.analysis

    def report(self, *, choices: Choices | None = None, **outputs: str | Path) -> tuple[Path, ...]:
        """Write files; returns their paths.

        Args:
            choices: the reference to compare with, and limits (``raybench.reporting.Choices``).
            outputs: ``html``, ``latex``, ``bundle``: a file; ``csv``, ``parquet``, ``plots``: a
                folder.

        Raises:
            UserInputError: a file where a folder is wanted, or the other way round.
            HomeError: a place cannot be written.
        """
        from raybench.reporting import Outputs, open_report

        wanted = Outputs(**{name: Path(place) for name, place in outputs.items()})
        with open_report([self.name], self._home, self.address, choices, wanted) as found:
            return tuple(found.write(wanted))

    def export(
        self,
        folder: str | Path,
        pair: str | None = None,
        *,
        onnx: bool = False,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> Path:
        """Hand a trained model over, for ``raybench.load`` and others; returns ``folder``.

        Args:
            folder: a new or an empty one.
            pair: its id, or a part of it; None: the leader of the sweep's only task.
            onnx: write ``model.onnx`` too.
            tell: hears what was chosen, and what could not be written.

        Raises:
            UserInputError, DataError, HomeError, ResourceError: see ``raybench.export.folder``.
        """
        from raybench.errors import UserInputError
        from raybench.export.folder import export_model

        if self.address is not None:
            raise UserInputError(
                "a cluster's weights are on the cluster: run 'raybench export' there, on its home"
            )
        return export_model(self.snapshot(), self.settings, Path(folder), pair, onnx, tell)

    @property
    def _home(self) -> str | Path | None:
        return self.settings.home if self.address is None else self.home


def load(folder: str | Path, device: str = "auto", trust_code: bool = False) -> Classifier:
    """A model that ``export`` has handed over: ``.predict(images)``, ``.classes``, ``.model``.

    Args:
        folder: what ``export`` wrote.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        trust_code: run the Python function that a ``python:`` backbone is built by.

    Raises:
        DataError: no such folder, one that was changed, or code that is not trusted.
        ResourceError: the backbone's library is not installed.
    """
    from raybench.export.opening import load as load_folder

    return load_folder(folder, device, trust_code)


def open(  # noqa: A001
    name: str | None = None, home: str | Path | None = None, address: str | None = None
) -> Sweep:
    """A sweep of a home; ``name`` may be left out where the home has only one.

    With ``address``, a cluster's dashboard, the home is one on that cluster.

    Raises:
        HomeError: no ledger there. UserInputError: no such sweep, or several and none named.
        ResourceError: the cluster is out of reach.
    """
    from raybench.settings import resolve_settings
    from raybench.sweep.reader import only_sweep
    from raybench.sweep.tables import open_engine

    if address is not None:
        there = None if home is None else str(home)
        found = read_there(address, name, there)
        return Sweep(found.sweep, resolve_settings(), address, there)
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
    from raybench.publishing import publish_end

    result = run_sweep_file(
        spec, home=home, overrides=overrides, inline=inline, address=address, tracking=tracking
    )
    sweep = open(result.snapshot.sweep, home)
    if tracking:
        publish_end(result, sweep.settings)
    return sweep


def submit(
    spec: str | Path,
    address: str | None = None,
    *,
    home: str | None = None,
    overrides: Sequence[str] = (),
    working_dir: str | Path | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    python: str | None = None,
    max_gpus: float | None = None,
    accept_leaks: bool = False,
) -> Sweep:
    """Run or resume a sweep as a job on a Ray cluster; returns once it has begun.

    Args:
        spec: a path, or the name of a shipped file.
        address: of the cluster's dashboard; default ``RAY_API_SERVER_ADDRESS``, else
            ``http://127.0.0.1:8265``.
        home: folder on the cluster; default its ``RAYBENCH_HOME``, else ``~/raybench-home``.
        overrides: ``key.path=value`` strings, as ``--set`` takes them.
        working_dir: folder that is sent along and holds the file.
        runtime_env: Ray's runtime environment.
        python: absolute path on the cluster; default the one that its Ray runs on.
        max_gpus: leave the other GPUs alone.
        accept_leaks: run though images stand in several splits.

    Raises:
        SpecError, LeaseHeldError, ResourceError: see ``raybench.errors``.
    """
    from raybench.cluster.submitting import Order, wait_begun
    from raybench.cluster.submitting import submit as submit_order
    from raybench.settings import resolve_settings

    order = Order(
        str(spec), overrides, address, home, working_dir, runtime_env, python, max_gpus,
        accept_leaks,
    )  # fmt: skip
    client, job = submit_order(order, logger.info)
    wait_begun(client, job, logger.info)
    return Sweep(job.sweep, resolve_settings(), client.get_address(), home)


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
    from raybench.publishing import tracker_factory
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
        tracker=tracker_factory(settings) if tracking else None,
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
    from raybench.publishing import sync_all

    sweep = open(name, home)
    reader, engine = _reader(sweep.settings, sweep.name)
    try:
        return sync_all(reader, sweep.settings, tell)
    finally:
        engine.dispose()


def read_there(address: str, name: str | None, home: str | None) -> SweepSnapshot:
    """The snapshot of a sweep (None: the home's only one) that a job on a cluster reads."""
    from raybench.cluster.client import connect
    from raybench.cluster.errands import read_snapshot

    return read_snapshot(connect(address), name, home)


def _reader(settings: Settings, name: str) -> tuple[SweepReader, Any]:
    from raybench.sweep.reader import SweepReader
    from raybench.sweep.tables import open_engine

    engine = open_engine(settings.ledger_url, create=False)
    return SweepReader(engine, name), engine
