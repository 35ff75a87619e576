"""The sweep's own run in MLflow: above those of its pairs, with its page, plots and leaderboard.

Made by whoever has a report to show (this layer knows none): once results are there, again when
they change. The runs of pairs and trials do without it; a rebuilt store gets it at the next report.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, RunTag, ViewType

from raybench.records import SweepSnapshot
from raybench.tracking.client import asked_once, connect, own_limits
from raybench.tracking.experiment import open_experiment

FOLDER = "report"
TABLE = "leaderboard.json"
"""MLflow shows it as a table, if it has the shape of ``DataFrame.to_json(orient="split")``."""
REPORT_TAG = "raybench.report"
_PARENT = "mlflow.parentRunId"
_PAGE = 1000


def send_report(
    tracking_uri: str,
    artifact_root: str | None,
    own_store: bool,
    header: SweepSnapshot,
    digest: str,
    make: Callable[[Path], None],
) -> bool:
    """Whether files were sent: not where those of ``digest`` are there already.

    Args:
        tracking_uri: SQLite file or server.
        artifact_root: as ``Projection`` takes it.
        own_store: nobody but this home writes to the store.
        header: of the sweep; its pairs are not looked at.
        digest: of the results that are shown.
        make: writes the files into a folder.

    Raises:
        mlflow.exceptions.MlflowException: the store cannot be reached or refuses.
    """
    with own_limits:
        client = connect(tracking_uri)
        experiment_id, _ = open_experiment(client, header, artifact_root, own_store)
        run = _sweep_run(client, experiment_id, header)
        _adopt_pairs(client, experiment_id, run.info.run_id)
        if run.data.tags.get(REPORT_TAG) == digest:
            return False
        with tempfile.TemporaryDirectory(prefix="raybench-report-") as folder:
            make(Path(folder))
            client.log_artifacts(run.info.run_id, folder, FOLDER)
        _close(client, run.info.run_id, digest)
        return True


def _sweep_run(client: MlflowClient, experiment_id: str, header: SweepSnapshot) -> Run:
    """The one begun first, should two writers have made one each; the others are deleted."""
    found = sorted(
        _runs(client, experiment_id, "sweep"),
        key=lambda run: (run.info.start_time, run.info.run_id),
    )
    for twin in found[1:]:
        client.delete_run(twin.info.run_id)
    if found:
        return found[0]
    tags = {
        "raybench.kind": "sweep",
        "raybench.sweep": header.sweep,
        "mlflow.source.name": "raybench",
        "mlflow.note.content": header.description,
    }
    with asked_once():
        now_ms = round(time.time() * 1000)
        return client.create_run(experiment_id, now_ms, tags, header.sweep)


def _adopt_pairs(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    for pair in _runs(client, experiment_id, "pair"):
        if pair.data.tags.get(_PARENT) != run_id:
            client.set_tag(pair.info.run_id, _PARENT, run_id)


def _runs(client: MlflowClient, experiment_id: str, kind: str) -> Iterator[Run]:
    wanted, token = f"tags.`raybench.kind` = '{kind}'", None
    while True:
        page = client.search_runs(
            [experiment_id], wanted, ViewType.ACTIVE_ONLY, _PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _close(client: MlflowClient, run_id: str, digest: str) -> None:
    """The tag last: whoever finds it knows that the files are there."""
    tables = json.dumps([{"path": f"{FOLDER}/{TABLE}", "type": "table"}])
    tags = {"mlflow.loggedArtifacts": tables, REPORT_TAG: digest}
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run_id, "FINISHED")
