"""What a finished pair leaves for others to use: its weights, checked, and its backbone's name.

Shared by MLflow's models and by ``raybench export``. Nothing heavy is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from raybench.backbones.index import is_url, is_weights_file
from raybench.records import TrialRow
from raybench.storage import Store


def intact_weights(trial: TrialRow, checkpoints: Path | str, scratch: Path) -> Path | None:
    """The trial's weights file; None where it is gone, or not the one that the ledger names.

    Args:
        trial: one that has kept its weights.
        checkpoints: folder or URL that the record's path is relative to.
        scratch: where a file from an object store is put.

    Raises:
        ResourceError: the store is out of reach.
    """
    assert trial.end is not None and trial.end.weights_path is not None
    if is_url(str(checkpoints)):
        path = scratch / Path(trial.end.weights_path).name
        with suppress(FileNotFoundError):
            Store(checkpoints).get_file(trial.end.weights_path, path)
    else:
        root = Path(checkpoints).resolve()
        path = (root / trial.end.weights_path).resolve()
        if not path.is_relative_to(root):
            return None
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return path if digest == trial.end.weights_sha256 else None


def portable_backbone(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's spec without this machine's paths and addresses, for building without weights.

    Of a weights file its name is left: that there is one decides how a model is built for a size.
    """
    weights = str(spec.get("weights", "pretrained"))
    if is_url(weights):
        weights = urlsplit(weights).path
    elif not is_weights_file(weights):
        return dict(spec)
    return {**spec, "weights": PurePosixPath(weights).name}
