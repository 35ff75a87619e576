"""What MLflow is given of a sweep: its runs while it is at work, its page once it is over."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from raybench.records import SweepSnapshot
from raybench.reporting import Choices, Outputs, Report, report_of
from raybench.settings import Settings, private_files
from raybench.version import __version__

if TYPE_CHECKING:
    from raybench.sweep.options import Tracker
    from raybench.sweep.reader import SweepReader
    from raybench.sweep.run import RunResult
    from raybench.tracking.projection import Projection
    from raybench.tracking.sync import SyncResult

PATIENCE_S = 60.0
_log = logging.getLogger(__name__)


def tracker_factory(settings: Settings) -> Callable[[Callable[[], SweepReader]], Tracker]:
    """Makes the tracking thread, which opens MLflow by itself."""
    from raybench.tracking.worker import TrackingThread

    return lambda reader_factory: TrackingThread(reader_factory, lambda: _projection(settings))


def sync_all(reader: SweepReader, settings: Settings, tell: Callable[[str], None]) -> SyncResult:
    """Complete or rebuild MLflow's side of a sweep, its page included (``RAYBENCH_PUBLISH``).

    Raises:
        ResourceError: the tracking store cannot be reached or refuses.
    """
    from raybench.tracking.sync import sync

    with private_files(settings.home):
        result = sync(reader, _projection(settings), tell)
    if settings.publish:
        publish(reader.snapshot(), settings, patience_s=None)
    return result


def _projection(settings: Settings) -> Projection:
    from raybench.tracking.client import open_projection

    return open_projection(
        settings.tracking_uri,
        settings.artifact_root,
        settings.checkpoints,
        own_store=settings.owns_tracking,
    )


def publish_end(result: RunResult, settings: Settings) -> None:
    """The page of a sweep that is over, where MLflow has all the rest of it.

    Left out with ``RAYBENCH_PUBLISH=0``.
    """
    if settings.publish and result.is_over and result.tracking_problem is None:
        publish(result.snapshot, settings)


def publish(
    snapshot: SweepSnapshot, settings: Settings, patience_s: float | None = PATIENCE_S
) -> None:
    """The sweep's page, plots and leaderboard as files of its own run, where they have changed.

    Without pictures: a tracking server has more readers than the data.

    What goes wrong is told, never raised. Not waited for longer than ``patience_s``: the rest is
    then left to the next run or sync.
    """
    thread = threading.Thread(
        target=_publish, args=(snapshot, settings), name="raybench-report", daemon=True
    )
    thread.start()
    thread.join(patience_s)
    if thread.is_alive():
        _log.warning(
            "MLflow has not taken the sweep's page within %.0f s; 'raybench sync' sends it",
            patience_s,
        )


def _publish(snapshot: SweepSnapshot, settings: Settings) -> None:
    from raybench.tracking.problems import what_is_wrong

    try:
        _send(snapshot, settings)
    except Exception as error:  # noqa: BLE001 - the numbers are in the ledger; this is a picture
        _log.debug("the report was not sent", exc_info=True)
        text = what_is_wrong(error, settings.tracking_uri).text
        _log.warning("the sweep's page is not in MLflow: %s; 'raybench sync' sends it", text)


def _send(snapshot: SweepSnapshot, settings: Settings) -> None:
    from raybench.tracking.sweep_run import send_report

    report = report_of(snapshot, settings, Choices(pictures=False))
    with private_files(settings.home):
        send_report(
            settings.tracking_uri,
            settings.artifact_root,
            settings.owns_tracking,
            snapshot,
            _digest(report),
            lambda folder: _write(report, folder),
        )


def _digest(report: Report) -> str:
    """Of all that is shown; who holds the lease is not."""
    shown = {**report.as_json(), "lease": None, "raybench": __version__}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _write(report: Report, folder: Path) -> None:
    from raybench.report.rendering import write_plots
    from raybench.tracking.sweep_run import TABLE

    list(report.write(Outputs(html=folder / "report.html")))
    write_plots(report.analysis, folder / "plots", pixels=False)
    frame = report.analysis.leaderboard()
    frame.to_csv(folder / "leaderboard.csv", index=False, lineterminator="\n")
    frame.to_json(folder / TABLE, orient="split", index=False)
