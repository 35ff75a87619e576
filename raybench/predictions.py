"""What a final predicted on its test split, read back: one image per row, checked by its digest.

Analysis takes a ``PredictionSource`` and never a place, so that a folder, an object store, a bundle
and nothing at all are read alike. Only numpy is needed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raybench.errors import ResourceError
from raybench.records import TrialRow

_HEADER_BYTES = 8  # little-endian length of the JSON header: the safetensors format
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One final trial on the N images of its test split, with C classes.

    Attributes:
        key: ``TrialRow.key`` of the trial that wrote it.
        ids: one per image, unique.
        labels: (N,) int64.
        probabilities: (N, C) float32.
        classes: their names; ``("0", "1", ...)`` in files of before they were kept.
        groups: one per image (None: stands alone); None where the data set has no groups.
        split: digest of the split.
    """

    key: str
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    groups: tuple[str | None, ...] | None
    split: str


class PredictionSource(Protocol):
    def read(self, trial: TrialRow) -> Predictions | None:
        """The trial's predictions; None where there are none, or not those that it wrote."""
        ...


class NoPredictions:
    """Where only the ledger is at hand."""

    def read(self, trial: TrialRow) -> Predictions | None:
        return None


NO_PREDICTIONS = NoPredictions()


class Files(Protocol):
    """``raybench.storage.Store``, or what a bundle holds."""

    def get(self, name: str) -> bytes:
        """Raises FileNotFoundError where there is no such file."""
        ...


class StoredPredictions:
    """Predictions below a checkpoints root: a folder, an object store, a bundle."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def read(self, trial: TrialRow) -> Predictions | None:
        """One file at a time, never kept; what is gone or damaged is logged and left out."""
        content = self.content(trial)
        if content is None:
            return None
        try:
            return parse(content)
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("the predictions of %s cannot be read: %s", trial.key, error)
            return None

    def content(self, trial: TrialRow) -> bytes | None:
        """The file's bytes, if they are those that the ledger names; for copies (bundles) too."""
        end = trial.end
        if end is None or end.predictions_path is None:
            return None
        place = PurePosixPath(end.predictions_path)
        if place.is_absolute() or ".." in place.parts:
            _log.warning("the predictions of %s lie outside the home: not read", trial.key)
            return None
        try:
            content = self.files.get(str(place))
        except (OSError, ResourceError) as error:
            _log.warning("the predictions of %s cannot be read: %s", trial.key, error)
            return None
        if hashlib.sha256(content).hexdigest() != end.predictions_sha256:
            _log.warning("the predictions of %s are not those it wrote: left out", trial.key)
            return None
        return content


def parse(content: bytes) -> Predictions:
    """``predictions.safetensors`` as ``raybench.trial.predict`` writes it.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    length = int.from_bytes(content[:_HEADER_BYTES], "little")
    start = _HEADER_BYTES + length
    header = json.loads(content[_HEADER_BYTES:start])
    facts = header["__metadata__"]
    labels = _tensor(content, start, header["labels"], "I64", np.int64)
    probabilities = _tensor(content, start, header["probabilities"], "F32", np.float32)
    ids = tuple(json.loads(facts["ids"]))
    groups = tuple(json.loads(facts["groups"])) if "groups" in facts else None
    classes = tuple(
        json.loads(facts["classes"])
        if "classes" in facts
        else (str(c) for c in range(probabilities.shape[1]))
    )
    lengths = {len(ids), len(labels), len(probabilities), len(ids if groups is None else groups)}
    if len(lengths) != 1 or probabilities.shape[1] != len(classes):
        raise ValueError(f"ids, labels, groups and probabilities differ in length: {lengths}")
    return Predictions(
        facts["key"], ids, labels, probabilities, classes, groups, facts.get("split", "")
    )


def _tensor(
    content: bytes, start: int, entry: Mapping[str, Any], kind: str, dtype: type[Any]
) -> NDArray[Any]:
    if entry["dtype"] != kind:
        raise ValueError(f"{entry['dtype']} where {kind} was expected")
    first, last = entry["data_offsets"]
    return np.frombuffer(content[start + first : start + last], dtype).reshape(entry["shape"])
