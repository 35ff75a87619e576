"""Trials' folders on an object store, as the driver deals with them: nothing passes its machine.

The twin of ``trial.checkpoint``'s ``collect`` and ``tidy``, which do the same in a folder. Best
weights are copied within the store, under the hash that their checkpoint's manifest states;
whoever reads them checks it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from raybench.storage import Store
from raybench.trial.checkpoint import (
    BEST_NAME,
    EMA_NAME,
    FORMAT,
    MANIFEST_NAME,
    MODEL_NAME,
    STATE_NAME,
    DamagedCheckpointError,
    Life,
    life_name,
    life_of,
)
from raybench.trial.mirror import stored_lives, stored_places
from raybench.trial.predict import END_NAME

logger = logging.getLogger(__name__)


def collect_stored(store: Store, folder: str, life: Life) -> tuple[str, str] | None:
    """The best weights so far: the trial's own, or those of a checkpoint, copied for ``life``.

    Returns:
        Name of the weights on the store and their SHA-256; None where no epoch was finished.

    Raises:
        ResourceError: the store is out of reach.
    """
    there = store.sizes(folder)
    for one in stored_lives(there, folder, life):  # as ``checkpoint.collect``: life by life
        own = f"{folder}/{life_name(one)}"
        if f"{own}/{END_NAME}" in there and (ended := _ended(store, own, there)) is not None:
            return ended
        for place in stored_places(there, folder, one):
            if place.life == one and (best := _best_of(store, str(place.path), there)) is not None:
                target = f"{folder}/{life_name(life)}/{BEST_NAME}"
                store.copy(best[0], target)
                return target, best[1]
    return None


def _ended(store: Store, own: str, there: Collection[str]) -> tuple[str, str] | None:
    """What a trial that has completed says of its weights."""
    try:
        end = json.loads(store.get(f"{own}/{END_NAME}"))["end"]
        path, sha256 = str(end["weights_path"]), str(end["weights_sha256"])
    except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
        logger.warning("passing over %s/%s: %s", own, END_NAME, error)
        return None
    return (path, sha256) if path in there else None


def _best_of(store: Store, place: str, there: Mapping[str, int]) -> tuple[str, str] | None:
    """Name and SHA-256 of the best weights of a checkpoint that is whole."""
    try:
        files, state = _read(store, place, there)
        if state["progress"]["best_epoch"] is None:
            return None
        name = [name for name in (BEST_NAME, EMA_NAME, MODEL_NAME) if name in files][0]
        return f"{place}/{name}", str(files[name]["sha256"])
    except (DamagedCheckpointError, FileNotFoundError, ValueError, LookupError, TypeError) as error:
        logger.warning("passing over checkpoint %s: %s", place, error)
        return None


def _read(
    store: Store, place: str, there: Mapping[str, int]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the manifest lists, and the state.

    Raises:
        DamagedCheckpointError: a file has not the size that was written, or the state changed.
    """
    manifest = json.loads(store.get(f"{place}/{MANIFEST_NAME}"))
    if manifest["format"] != FORMAT:
        raise DamagedCheckpointError(f"written in format {manifest['format']}, not {FORMAT}")
    files = manifest["files"]
    for name, facts in files.items():
        if there.get(f"{place}/{name}") != facts["size"]:
            raise DamagedCheckpointError(f"{name} is not the file that was written")
    content = store.get(f"{place}/{STATE_NAME}")
    if hashlib.sha256(content).hexdigest() != files[STATE_NAME]["sha256"]:
        raise DamagedCheckpointError(f"{STATE_NAME} is not the file that was written")
    return files, json.loads(content)


def tidy_stored(
    store: Store, folder: str, attempt: int, keep: Collection[str], there: Collection[str]
) -> None:
    """Removes what a trial that is over no longer needs; safe to repeat after a kill.

    Args:
        store: of all checkpoints.
        folder: the trial's.
        attempt: the driver's; what a later one has written stays.
        keep: files that the trial's end names.
        there: what stands in the folder, and perhaps in others.
    """
    for life in stored_lives(there, folder, (attempt, sys.maxsize)):
        own = f"{folder}/{life_name(life)}"
        names = [name for name in there if name.startswith(f"{own}/")]
        if not set(names) & set(keep):
            store.delete_tree(own)
            continue
        for place in sorted({str(PurePosixPath(name).parent) for name in names} - {own}):
            store.delete_tree(place)
        gone = (n for n in names if n not in keep and str(PurePosixPath(n).parent) == own)
        store.delete(gone)


def by_trial(there: Collection[str]) -> dict[str, list[str]]:
    """Names on the store by the trial's folder, of one sweep's listing."""
    found: dict[str, list[str]] = {}
    for name in there:
        parts = PurePosixPath(name).parts
        if len(parts) > 4 and life_of(parts[3]) is not None:
            found.setdefault("/".join(parts[:3]), []).append(name)
    return found
