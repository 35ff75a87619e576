"""What a finished trial leaves behind: predictions on the test split, and its last word."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from raybench.datasets.task import Task
from raybench.records import EndRecord, EpochRecord, from_dict, to_dict
from raybench.trial import files
from raybench.trial.checkpoint import BEST_NAME
from raybench.trial.config import TrialConfig
from raybench.trial.progress import history_from

PREDICTIONS_NAME = "predictions.safetensors"
END_NAME = "end.json"
_log = logging.getLogger(__name__)


def write_predictions(
    folder: Path, logits: Tensor, labels: Tensor, ids: Sequence[str], facts: dict[str, str]
) -> str:
    """Writes ``predictions.safetensors``; returns its SHA-256.

    It holds ``probabilities`` (N, C) float32 and ``labels`` (N,) int64. The header's metadata holds
    ``ids``, a JSON list of N strings in the same order, beside ``facts``. Read by
    ``raybench.predictions``.
    """
    tensors = {"probabilities": logits.float().softmax(dim=1), "labels": labels}
    metadata = {"ids": json.dumps(list(ids)), **facts}
    return files.replace_file(
        folder / PREDICTIONS_NAME, files.safetensors_chunks(tensors, metadata)
    )


def write_test_predictions(
    folder: Path, key: str, task: Task, logits: Tensor, labels: Tensor
) -> str:
    """The predictions file of trial ``key`` on its task's test split; returns its SHA-256.

    It also names the C classes and, where the data set has any, the N images' groups.
    """
    ids = [task.ids[index] for index in task.test]
    facts = {"key": key, "data": task.data_digest, "split": task.split_digest}
    facts["classes"] = json.dumps(task.classes)
    groups = [task.groups[index] for index in task.test]
    if any(group is not None for group in groups):
        facts["groups"] = json.dumps(groups)
    return write_predictions(folder, logits, labels, ids, facts)


def write_end(config: TrialConfig, history: Sequence[EpochRecord], end: EndRecord) -> None:
    """Keeps a completed trial's records, for a driver that died before it wrote them down."""
    records = [to_dict(record) for record in history]
    content = {"identity": config.identity, "history": records, "end": to_dict(end)}
    files.replace_file(config.own_folder / END_NAME, [files.json_bytes(content)])


def read_end(
    config: TrialConfig, folders: Iterable[Path]
) -> tuple[list[EpochRecord], EndRecord] | None:
    """The records of this trial, if it completed in one of ``folders`` with files as they were."""
    ends = (_read_end(config, folder / END_NAME) for folder in folders)
    return next((end for end in ends if end is not None), None)


def _read_end(config: TrialConfig, path: Path) -> tuple[list[EpochRecord], EndRecord] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        identity = content["identity"]
        history, end = history_from(content["history"]), from_dict(content["end"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("%s is damaged (%s): the trial is run again", path, error)
        return None
    if identity != config.identity:
        _log.warning("%s is that of another configuration: the trial is run again", path)
        return None
    if not isinstance(end, EndRecord) or not _files_match(Path(config.checkpoint_root), end):
        _log.warning("%s names files that are gone or changed: the trial is run again", path)
        return None
    return history, end


def _files_match(root: Path, end: EndRecord) -> bool:
    named = (
        (end.weights_path, end.weights_sha256),
        (end.predictions_path, end.predictions_sha256),
    )
    return all(path is None or _is_sound(root, path, digest) for path, digest in named)


def _is_sound(root: Path, path: str, digest: str | None) -> bool:
    place = (root / path).resolve()
    inside = place.is_relative_to(root.resolve()) and place.is_file()
    return inside and files.sha256_of(place) == digest


def discard_results(folder: Path) -> None:
    """What an end that never came, or another configuration's, has left where this trial writes."""
    for name in (BEST_NAME, PREDICTIONS_NAME, END_NAME):
        (folder / name).unlink(missing_ok=True)
