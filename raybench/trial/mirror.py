"""A trial's folder on an object store, which is the truth; a node's own folder is scratch.

A trial that begins, anywhere, begins with an empty scratch folder and fetches what it needs to go
on: the results of an earlier life that completed, else the furthest sound checkpoint. What it
writes is sent before anybody hears of it. A store has no rename, so order commits: a checkpoint
without ``manifest.json`` is none, results without ``end.json`` are none, and what they name is
checked against their hashes wherever it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from raybench.storage import Store
from raybench.trial.checkpoint import (
    BEST_NAME,
    MANIFEST_NAME,
    Life,
    Place,
    life_name,
    life_of,
    place_of,
)
from raybench.trial.config import TrialConfig
from raybench.trial.predict import END_NAME, PREDICTIONS_NAME

RESULTS = (BEST_NAME, PREDICTIONS_NAME, END_NAME)
"""In the order in which they are sent."""
SENDING_PART = 0.1
"""Of a trial's time at most, where nothing asks for a checkpoint at every epoch."""


class Mirror:
    """One trial's folder on the store, as one life of it sees and fills it.

    Args:
        store: of all checkpoints. root: this process's folder for them.
        folder: the trial's, relative to both.
        life: the one that writes; later ones are not looked at.
    """

    def __init__(self, store: Store, root: Path, folder: str, life: Life) -> None:
        self._store, self._root, self._folder, self._life = store, root, folder, life
        self.pause_s = 0.0

    @property
    def _own(self) -> str:
        return f"{self._folder}/{life_name(self._life)}"

    def fetch_results(self) -> None:
        """What completed lives have left, for ``read_end`` to judge."""
        there = self._store.sizes(self._folder)
        for life in stored_lives(there, self._folder, self._life):
            own = f"{self._folder}/{life_name(life)}"
            if f"{own}/{END_NAME}" in there:
                self._fetch(f"{own}/{name}" for name in RESULTS if f"{own}/{name}" in there)

    def discard_results(self) -> None:
        """On the store: what ``predict.discard_results`` removes here. The end's word first."""
        there = self._store.sizes(self._own)
        self._store.delete(n for name in reversed(RESULTS) if (n := f"{self._own}/{name}") in there)

    def send_results(self) -> None:
        own = self._root / self._own
        for name in RESULTS:
            if (own / name).exists():
                self._store.put(f"{self._own}/{name}", own / name)

    def places(self) -> Iterator[Place]:
        """Whole checkpoints of this and earlier lives, furthest first, each fetched as it comes."""
        there = self._store.sizes(self._folder)
        for place in stored_places(there, self._folder, self._life):
            name = f"{self._folder}/{life_name(place.life)}/{place.path.name}"
            self._fetch(n for n in there if str(PurePosixPath(n).parent) == name)
            yield replace(place, path=self._root / name)

    def send_place(self, path: Path) -> None:
        """One checkpoint of this life; its manifest, which makes it one, at the end."""
        started = time.monotonic()
        files = sorted(path.iterdir(), key=lambda file: (file.name == MANIFEST_NAME, file.name))
        for file in files:
            self._store.put(f"{self._own}/{path.name}/{file.name}", file)
        self.pause_s = (time.monotonic() - started) / SENDING_PART

    def prune(self, kept: Iterable[str]) -> None:
        """Removes this life's checkpoints that are not ``kept``, also what is half of one."""
        there = self._store.sizes(self._own)
        places = {PurePosixPath(name).parent.name for name in there}
        for name in sorted(places - set(kept)):
            if place_of(name) is not None:
                self._store.delete([f"{self._own}/{name}/{MANIFEST_NAME}"])
                self._store.delete_tree(f"{self._own}/{name}")

    def _fetch(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # removed just now: found to be missing
                self._store.get_file(name, self._root / name)


def mirror_of(config: TrialConfig) -> Mirror | None:
    """None where checkpoints lie in a folder that every node has."""
    if not config.checkpoint_url:
        return None
    life = config.attempt, config.retry
    root = Path(config.checkpoint_root)
    return Mirror(Store(config.checkpoint_url), root, config.checkpoint_dir, life)


def stored_places(there: Mapping[str, int], folder: str, up_to: Life) -> list[Place]:
    """Checkpoints among the store's files that have their manifest, furthest first."""
    found = []
    for name in there:
        path = PurePosixPath(name)
        if path.name != MANIFEST_NAME or str(path.parents[2]) != folder:
            continue
        life, place = life_of(path.parents[1].name), place_of(path.parent.name)
        if life is not None and place is not None and life <= up_to:
            found.append(Place(*place, life, Path(path.parent)))
    return sorted(found, reverse=True)


def stored_lives(there: Iterable[str], folder: str, up_to: Life) -> list[Life]:
    """Lives of the trial in ``folder`` that have left something on the store, the latest first."""
    below = len(PurePosixPath(folder).parts)
    names = {PurePosixPath(name).parts[below] for name in there if name.startswith(f"{folder}/")}
    lives = (life_of(name) for name in names)
    return sorted((life for life in lives if life is not None and life <= up_to), reverse=True)


@contextlib.contextmanager
def own_scratch(config: TrialConfig) -> Iterator[TrialConfig]:
    """``config`` with a root of this process's own, empty and removed again, where a store is."""
    if not config.checkpoint_url:
        yield config
        return
    root = Path(config.checkpoint_root)
    root.mkdir(parents=True, exist_ok=True)
    _remove_left_overs(root)
    own = root / uuid.uuid4().hex
    lock = own.with_suffix(".lock")
    with lock.open("a") as file:
        with contextlib.suppress(OSError):  # without locks, what a kill leaves here stays
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            own.mkdir()
            yield replace(config, checkpoint_root=str(own))
        finally:
            shutil.rmtree(own, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _remove_left_overs(root: Path) -> None:
    """Of processes that were killed: their locks are free. A node's disk must not fill."""
    for lock in root.glob("*.lock"):
        with contextlib.suppress(OSError), lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
