"""``raybench report``: which sweeps, from a home, a cluster or bundles; one analysis; all files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from raybench.anonymity import without_traces
from raybench.errors import ResourceError, UserInputError
from raybench.joining import Joined, Source, join, unique_names
from raybench.predictions import StoredPredictions
from raybench.settings import Settings, resolve_settings
from raybench.storage import Store

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from raybench.analysis.whole import Analysis
    from raybench.records import SweepSnapshot

_STORE_PATIENCE_S = 5.0
"""A report is looked at by somebody who waits for it."""


@dataclass(frozen=True)
class Outputs:
    """Files and folders (csv, parquet, plots) to write; None: not wanted."""

    html: Path | None = None
    csv: Path | None = None
    latex: Path | None = None
    parquet: Path | None = None
    plots: Path | None = None
    bundle: Path | None = None

    @property
    def wanted(self) -> dict[str, Path]:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: place for name, place in found.items() if place is not None}


@dataclass(frozen=True)
class Choices:
    """What is asked of the analysis: see ``Analysis`` and ``analysis.constraints``.

    ``pictures``: whether the page may show some of the images.
    """

    reference: Literal["paper"] | None = None
    max_latency_ms: float | None = None
    max_params_m: float | None = None
    licence: str | None = None
    pictures: bool = True


class Report:
    """What is reported on, analysed at most once."""

    def __init__(
        self, sources: Sequence[Source], settings: Settings, choices: Choices, is_here: bool
    ) -> None:
        self.sources, self.settings, self.is_here = sources, settings, is_here
        self.joined: Joined = join(sources)
        self.choices = choices

    @cached_property
    def analysis(self) -> Analysis:
        from raybench.analysis.constraints import Constraints
        from raybench.analysis.whole import Analysis

        asked, joined = self.choices, self.joined
        return Analysis(
            shareable(joined.snapshot),
            joined.predictions,
            constraints=Constraints(asked.max_latency_ms, asked.max_params_m, asked.licence),
            reference=asked.reference,
            notes=(*joined.notes, *(() if self.is_here else (_NOT_HERE,))),
        )

    def as_json(self) -> dict[str, Any]:
        """As ``report --json`` prints it; ``sweeps`` are those that were joined."""
        from raybench.analysis.contract import report_json

        joined = {"sweeps": list(self.joined.names)} if len(self.sources) > 1 else {}
        return report_json(self.analysis) | joined

    def write(self, outputs: Outputs) -> Iterator[Path]:
        """Each file as it is there.

        Raises:
            HomeError: a place cannot be written.
        """
        for name, place in outputs.wanted.items():
            yield from _WRITERS[name](self, place)


def shareable(snapshot: SweepSnapshot) -> SweepSnapshot:
    """As a bundle has it: what is made of a report is sent on. Only who holds the lease stays.

    Backbones whose weights lie in two folders under one name stay two.
    """
    clean = without_traces(snapshot)
    shortened = {
        raw.backbone: pair.backbone for raw, pair in zip(snapshot.pairs, clean.pairs, strict=True)
    }
    names = dict(zip(shortened, unique_names(shortened.values()), strict=True))
    pairs = tuple(
        replace(pair, backbone=names[raw.backbone])
        for raw, pair in zip(snapshot.pairs, clean.pairs, strict=True)
    )
    return replace(clean, pairs=pairs, lease=snapshot.lease)


_NOT_HERE = (
    "The predictions are on the cluster and were not read: there are no intervals over test images."
)


def report_of(snapshot: SweepSnapshot, settings: Settings, choices: Choices) -> Report:
    """Of a sweep that was read already, with the predictions of its home."""
    source = Source(snapshot, StoredPredictions(PatientOnce(settings.checkpoints)))
    return Report([source], settings, choices, is_here=True)


@contextmanager
def open_report(
    names: Sequence[str] = (),
    home: str | Path | None = None,
    address: str | None = None,
    choices: Choices | None = None,
    outputs: Outputs | None = None,
) -> Iterator[Report]:
    """Reads sweeps of a home (with ``address``, of a cluster's) and bundles.

    Args:
        names: sweeps and bundle files; none: the home's only sweep.
        home: default ``RAYBENCH_HOME``, else ``./raybench-home``.
        address: of a cluster's dashboard.
        choices: what is asked of the analysis.
        outputs: checked before anything is read; written by ``Report.write``.

    Raises:
        UserInputError: every mistake at once.
        HomeError, ResourceError: what cannot be read.
    """
    from raybench.bundle.reading import is_bundle

    settings = resolve_settings(home)
    mistakes = _mistakes(outputs or Outputs(), choices or Choices(), address)
    if address is not None and names and all(map(is_bundle, names)):
        mistakes.append("--address is where sweeps are, and only bundles are named; leave it out")
    sources: list[Source] = []
    with ExitStack() as stack:
        stack.enter_context(first_few(logging.getLogger("raybench.predictions")))
        place = _Place(settings, home, address, stack)
        wanted: Sequence[str | None] = names or [None]
        for name in wanted:
            try:
                sources += place.sources(name)
            except UserInputError as error:
                mistakes += error.mistakes
        if mistakes:
            raise UserInputError(mistakes)
        yield Report(sources, settings, choices or Choices(), address is None)


def _mistakes(outputs: Outputs, choices: Choices, address: str | None) -> list[str]:
    found = []
    for name, place in outputs.wanted.items():
        is_folder = name in ("csv", "parquet", "plots")
        if str(place) == "-":
            found.append(f"--{name} writes no stdout, which is for --json; give it a place")
        if is_folder and place.exists() and not place.is_dir():
            found.append(f"--{name} is for a folder, and {place} is a file")
        if not is_folder and place.is_dir():
            found.append(f"--{name} is for a file, and {place} is a folder")
    twice = [place for place in outputs.wanted.values() if _count(outputs, place) > 1]
    if twice:
        found.append(f"{twice[0]} is named twice; give each output a place of its own")
    if outputs.bundle is not None and address is not None:
        found.append(
            "--bundle packs predictions and splits, which are on the cluster and not here; run "
            "'raybench report --bundle FILE' there"
        )
    for option, value in (
        ("--max-latency-ms", choices.max_latency_ms),
        ("--max-params-m", choices.max_params_m),
    ):
        if value is not None and value <= 0:
            found.append(f"{option} got {value:g}; give a number above 0")
    return found


def _count(outputs: Outputs, place: Path) -> int:
    return sum(other.absolute() == place.absolute() for other in outputs.wanted.values())


class _Place:
    """Where the names are looked up; what is opened stays open until the stack ends."""

    def __init__(
        self, settings: Settings, home: str | Path | None, address: str | None, stack: ExitStack
    ) -> None:
        self._settings, self._stack, self._address = settings, stack, address
        self._home = None if home is None else str(home)

    def sources(self, name: str | None) -> Sequence[Source]:
        """One sweep, or all of a bundle."""
        from raybench.bundle.reading import Bundle, is_bundle

        if name is not None and is_bundle(name):
            bundle = self._stack.enter_context(Bundle(Path(name)))
            return [replace(source, given=name) for source in bundle.sources()]
        if self._address is not None:
            from raybench.cluster.client import connect
            from raybench.cluster.errands import read_snapshot

            return [Source(read_snapshot(connect(self._address), name, self._home))]
        return [self._from_ledger(name)]

    def _from_ledger(self, name: str | None) -> Source:
        from raybench.sweep.reader import SweepReader, only_sweep
        from raybench.sweep.splits import read_splits

        engine = self._engine
        snapshot = SweepReader(engine, only_sweep(engine, name)).snapshot()
        predictions = StoredPredictions(PatientOnce(self._settings.checkpoints))
        return Source(snapshot, predictions, lambda: read_splits(engine, snapshot))

    @cached_property
    def _engine(self) -> Engine:
        from raybench.sweep.tables import open_engine

        engine = open_engine(self._settings.ledger_url, create=False)
        self._stack.callback(engine.dispose)
        return engine


class PatientOnce:
    """A store's files; once it was out of reach, it is not waited for again."""

    def __init__(self, place: str) -> None:
        self._store = Store(place, _STORE_PATIENCE_S)
        self._trouble: ResourceError | None = None

    def get(self, name: str) -> bytes:
        """Raises FileNotFoundError, ResourceError as ``Store.get``."""
        if self._trouble is not None:
            raise self._trouble
        try:
            return self._store.get(name)
        except ResourceError as error:
            self._trouble = error
            raise


@contextmanager
def first_few(logger: logging.Logger, count: int = 3) -> Iterator[None]:
    """Lets the first of its messages through, each once; at the end says how many more there were.

    A bundle without predictions lacks as many files as there are finals.
    """
    seen: set[str] = set()

    def is_wanted(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in seen
        seen.add(message)
        return is_new and len(seen) <= count

    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)
        if len(seen) > count:
            logger.warning("and %d more of that kind", len(seen) - count)


# -- writers, by the name of their output ---------------------------------------------------------


def _write_html(report: Report, file: Path) -> Sequence[Path]:
    from raybench.report.page import write_html
    from raybench.thumbnails import Thumbnails

    cache_dir = report.settings.cache_dir if report.settings.cache_dir.is_dir() else None
    wanted = report.choices.pictures
    pictures = Thumbnails(cache_dir if report.is_here else None) if wanted else None
    links = _links(report)
    return [write_html(report.analysis, file, links=links, pictures=pictures, cache_dir=cache_dir)]


def _links(report: Report) -> dict[str, str]:
    """To the MLflow runs of sweeps of this home; a bundle names no address."""
    from raybench.tracking.links import pair_links

    found: dict[str, str] = {}
    for source, new_ids in zip(report.sources, report.joined.ids, strict=True):
        if source.snapshot.ledger_id and report.is_here:
            links = pair_links(report.settings.tracking_uri, source.snapshot)
            found |= {new_ids[pair]: link for pair, link in links.items() if pair in new_ids}
    return found


def _write_csv(report: Report, folder: Path) -> Sequence[Path]:
    from raybench.report.csv import write_csv

    return write_csv(report.analysis, folder)


def _write_latex(report: Report, file: Path) -> Sequence[Path]:
    from raybench.report.latex import write_latex

    return [write_latex(report.analysis, file)]


def _write_parquet(report: Report, folder: Path) -> Sequence[Path]:
    from raybench.report.parquet import write_parquet

    return write_parquet(report.analysis, folder)


def _write_plots(report: Report, folder: Path) -> Sequence[Path]:
    from raybench.report.rendering import write_plots

    return write_plots(report.analysis, folder)


def _write_bundle(report: Report, file: Path) -> Sequence[Path]:
    from raybench.bundle.packing import write_bundle

    return [write_bundle(report.sources, file)]


_WRITERS: dict[str, Callable[[Report, Path], Sequence[Path]]] = {
    "html": _write_html,
    "csv": _write_csv,
    "latex": _write_latex,
    "parquet": _write_parquet,
    "plots": _write_plots,
    "bundle": _write_bundle,
}
