"""Which MLflow experiment is this ledger's: the one of the sweep's name, unless it is another's.

On a shared server two people may run the same sweep file. Runs are found by tag, so their trials
would overwrite each other in one experiment; the second ledger gets one of its own.
"""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.storage import is_url
from raybench.tracking.problems import moved_store

_logger = logging.getLogger(__name__)

LEDGER_TAG = "raybench.ledger"


def open_experiment(
    client: MlflowClient, header: SweepSnapshot, artifact_root: str | None, own_store: bool
) -> tuple[str, bool]:
    """The id of the ledger's experiment and whether it was made now.

    One that was deleted by hand comes back. ``artifact_root`` is the folder or URL for a new one's
    artefacts; None: the server decides. ``own_store``: nobody but this home writes there.

    Raises:
        ResourceError: there is one of either name, and neither is ours; or ours keeps its artefacts
            outside of ``artifact_root``, at the place that the home had before.
    """
    own_name = f"{header.sweep}-{header.ledger_id[:8]}"
    for name in (header.sweep, own_name):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            experiment_id = _create(client, header, name, artifact_root)
            if experiment_id is not None:
                _tell(header, name)
                return experiment_id, True
            experiment = client.get_experiment_by_name(name)
        if _is_ours(experiment, header, in_own_store=own_store):
            if own_store and artifact_root is not None:
                _check_place(client, experiment, artifact_root)
            _claim(client, experiment, header)
            return str(experiment.experiment_id), False
    raise ResourceError(
        f"MLflow's experiments '{header.sweep}' and '{own_name}' are somebody else's; rename one"
    )


def _tell(header: SweepSnapshot, name: str) -> None:
    if name != header.sweep:
        _logger.warning(
            "MLflow's experiment '%s' is another home's; this one's runs go to '%s'",
            header.sweep,
            name,
        )


def _is_ours(experiment: Experiment, header: SweepSnapshot, *, in_own_store: bool) -> bool:
    """An untagged experiment is ours only where nobody else writes: in the home's own store."""
    tags = experiment.tags
    if tags.get("raybench.sweep") != header.sweep:
        return False
    if not header.ledger_id:
        return True
    return bool(tags[LEDGER_TAG] == header.ledger_id if LEDGER_TAG in tags else in_own_store)


def _check_place(client: MlflowClient, experiment: Experiment, root: str) -> None:
    """MLflow keeps whole paths: a copied home would write its models into the original."""
    location = str(experiment.artifact_location)
    place = _local(location)
    if is_url(root):
        inside = location.startswith(f"{root}/")
    else:
        root = str(Path(root).resolve())
        inside = place is not None and place.is_relative_to(root)
    if not inside:
        raise moved_store(
            client.tracking_uri, location if place is None else str(place.parent), root
        )


def _local(location: str) -> Path | None:
    """The folder, its links followed; None where the location is no local one."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else location).resolve()


def _claim(client: MlflowClient, experiment: Experiment, header: SweepSnapshot) -> None:
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if header.ledger_id and LEDGER_TAG not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, LEDGER_TAG, header.ledger_id)


def _create(
    client: MlflowClient, header: SweepSnapshot, name: str, artifact_root: str | None
) -> str | None:
    """None where another writer was faster: a name is taken once."""
    # The kind makes MLflow's pages open on training runs rather than on its GenAI side.
    tags = {
        "raybench.sweep": header.sweep,
        "mlflow.experimentKind": "custom_model_development",
    }
    if header.ledger_id:
        tags[LEDGER_TAG] = header.ledger_id
    if header.description:
        tags["mlflow.note.content"] = header.description
    location = None if artifact_root is None else _location(artifact_root, name)
    try:
        return str(client.create_experiment(name, location, tags))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return None


def _location(root: str, name: str) -> str:
    """MLflow takes an experiment called ``../x`` as it is."""
    folder = Path("/", name).resolve()
    if folder.parent != Path("/") or folder.name != name:
        raise ValueError(f"the sweep's name {name!r} is no folder's name")
    return f"{root}/{name}" if is_url(root) else (Path(root).resolve() / name).as_uri()
