"""Checkpoints: ``<trial>/<life>/e<epoch>-b<batch>/``, sound as a whole or passed over.

    model.safetensors       weights as trained
    ema.safetensors         their moving average, where the recipe has one
    best.safetensors        weights of the best epoch, where that is not the one just finished
    optimizer.safetensors   optimizer and random generators
    state.json              ``Progress``, thread count, loss scale
    manifest.json           size and SHA-256 of each of these

``e3-b7`` means: three epochs finished, seven batches trained of the fourth. A folder is filled
aside and renamed, so what has its name was complete once; loading checks the hashes all the same,
since disks and people damage files. A life, ``a2`` or ``a2r1``, is the driver's attempt and the
retry within it: whoever runs a trial writes into its own life's folder only, so that a process that
everybody takes for dead changes nothing of its successor's. torch is imported only where tensors
are made, for the driver collects without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.trial import files

if TYPE_CHECKING:
    from torch import Tensor

    from raybench.trial.mirror import Mirror

FORMAT = 3
BEST_NAME = "best.safetensors"
MODEL_NAME, EMA_NAME = "model.safetensors", "ema.safetensors"
STATE_NAME, MANIFEST_NAME = "state.json", "manifest.json"
_PLACE = re.compile(r"^e(\d+)-b(\d+)$")
_LIFE = re.compile(r"^a(\d+)(?:r(\d+))?$")
_log = logging.getLogger(__name__)


Life = tuple[int, int]
"""The driver's attempt, and how often the trial has failed and been started again."""


class DamagedCheckpointError(Exception):
    """A checkpoint's files are not those its manifest lists."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A checkpoint's folder; the order is that of training, then of lives."""

    epoch: int
    batch: int
    life: Life
    path: Path


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint found sound: its state and the content of its tensor files."""

    place: Place
    state: Mapping[str, Any]
    contents: Mapping[str, bytes]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of ``<name>.safetensors``, on the CPU."""
        from safetensors.torch import load

        return load(self.contents[f"{name}.safetensors"])

    @property
    def evaluated_content(self) -> bytes:
        """The weights that were validated, as a file: the average where there is one."""
        return self.contents.get(EMA_NAME) or self.contents[MODEL_NAME]

    @property
    def best_content(self) -> bytes:
        """The best epoch's weights, as a file."""
        return self.contents.get(BEST_NAME) or self.evaluated_content

    def best_tensors(self) -> dict[str, Tensor]:
        from safetensors.torch import load

        return load(self.best_content)


class CheckpointFolder:
    """One life's checkpoints of one trial, and read access to those of earlier lives.

    ``identity``: of the configuration. A ledger that was put back from a copy may give a trial's
    number to another one. ``mirror``: the trial's folder on an object store, where there is one.
    """

    def __init__(
        self,
        trial_folder: Path,
        attempt: int,
        retry: int = 0,
        identity: str = "",
        mirror: Mirror | None = None,
    ) -> None:
        self.trial_folder, self.mirror = trial_folder, mirror
        self.life: Life = (attempt, retry)
        self.identity = identity
        self.own = trial_folder / life_name(self.life)

    def save(
        self,
        epoch: int,
        batch: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
    ) -> None:
        """Writes one checkpoint; one that is already there stays (same place, same content)."""
        target = self.own / f"e{epoch}-b{batch}"
        if target.exists():
            return
        aside = self.own / f"{files.ASIDE}{target.name}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            self._fill(aside, tensors, state)
            aside.rename(target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)  # on a full disk, the ledger needs its space
            raise
        files.sync_folder(self.own)
        if self.mirror is not None:
            self.mirror.send_place(target)

    @property
    def pause_s(self) -> float:
        """How long to train before the next checkpoint, so that sending them costs a part only."""
        return 0.0 if self.mirror is None else self.mirror.pause_s

    def _fill(
        self,
        aside: Path,
        tensors: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
    ) -> None:
        files.make_folder(self.own)
        aside.mkdir()
        manifest = {
            f"{name}.safetensors": files.write_synced(
                aside / f"{name}.safetensors", files.safetensors_chunks(group)
            )
            for name, group in tensors.items()
        }
        content = files.json_bytes({**state, "identity": self.identity})
        manifest[STATE_NAME] = files.write_synced(aside / STATE_NAME, [content])
        listing = files.json_bytes({"format": FORMAT, "files": manifest})
        files.write_synced(aside / MANIFEST_NAME, [listing])
        files.sync_folder(aside)

    def newest_sound(self) -> Checkpoint | None:
        """The furthest checkpoint of this and earlier lives that can be continued from.

        A damaged one is passed over with a warning.
        """
        for place in self._places():
            try:
                checkpoint = load(place)
                if checkpoint.state["identity"] == self.identity:
                    return checkpoint
                raise DamagedCheckpointError("it is that of another configuration")
            except DamagedCheckpointError as error:
                _log.warning("passing over checkpoint %s: %s", place.path, error)
                if place.life == self.life:
                    _remove(place.path)  # training will come by this place again
        return None

    def _places(self) -> Iterable[Place]:
        return _places(self.lives()) if self.mirror is None else self.mirror.places()

    def prune(self) -> None:
        """Keeps the last two of this life."""
        own = {life: path for life, path in self.lives().items() if life == self.life}
        places = _places(own)
        for place in places[2:]:
            _remove(place.path)
        if self.mirror is not None:
            self.mirror.prune(place.path.name for place in places[:2])

    def lives(self) -> dict[Life, Path]:
        """Folders of this and earlier lives, the latest first; those of later ones are not ours."""
        return _lives(self.trial_folder, self.life)


def load(place: Place) -> Checkpoint:
    """Reads one checkpoint into memory and verifies every file.

    Raises:
        DamagedCheckpointError: a file is missing, cut or changed; says which.
    """
    try:
        return _load(place)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedCheckpointError(f"{type(error).__name__}: {error}") from error


def _load(place: Place) -> Checkpoint:
    manifest = json.loads((place.path / MANIFEST_NAME).read_bytes())
    if manifest.get("format") != FORMAT:
        raise DamagedCheckpointError(f"written in format {manifest.get('format')}, not {FORMAT}")
    contents = {}
    for name, facts in manifest["files"].items():
        if Path(name).name != name:
            raise DamagedCheckpointError(f"its manifest names '{name}', which is not in its folder")
        contents[name] = (place.path / name).read_bytes()
        sha256 = hashlib.sha256(contents[name]).hexdigest()
        if {"size": len(contents[name]), "sha256": sha256} != facts:
            raise DamagedCheckpointError(f"{name} is not the file that was written")
    state = json.loads(contents.pop(STATE_NAME))
    if not {"identity", "progress"} <= state.keys():
        raise DamagedCheckpointError("its state lacks what every state has")
    return Checkpoint(place, state, contents)


def life_name(life: Life) -> str:
    attempt, retry = life
    return f"a{attempt}r{retry}" if retry else f"a{attempt}"


def life_of(name: str) -> Life | None:
    """None: ``name`` is no life's folder."""
    match = _LIFE.match(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def place_of(name: str) -> tuple[int, int] | None:
    """Epoch and batch; None: ``name`` is no checkpoint's folder."""
    match = _PLACE.match(name)
    return (int(match[1]), int(match[2])) if match else None


def collect(checkpoint_root: Path, checkpoint_dir: str, life: Life) -> tuple[str, str] | None:
    """The best weights so far, as a file: the trial's own, or one made in the folder of ``life``.

    Returns:
        Path of the weights relative to ``checkpoint_root`` and their SHA-256; None where no epoch
        was finished.
    """
    # Life by life: what stands further may be another configuration's, and has been passed over.
    for one, folder in _lives(checkpoint_root / checkpoint_dir, life).items():
        if (folder / BEST_NAME).exists():
            path = f"{checkpoint_dir}/{folder.name}/{BEST_NAME}"
            return path, files.sha256_of(folder / BEST_NAME)
        content = _best_content({one: folder})
        if content is not None:
            path = f"{checkpoint_dir}/{life_name(life)}/{BEST_NAME}"
            return path, files.replace_file(checkpoint_root / path, [content])
    return None


def _best_content(lives: Mapping[Life, Path]) -> bytes | None:
    """The best weights in the furthest sound checkpoint, as a file."""
    for place in _places(lives):
        try:
            checkpoint = load(place)
        except DamagedCheckpointError as error:
            _log.warning("passing over checkpoint %s: %s", place.path, error)
            continue
        if checkpoint.state["progress"]["best_epoch"] is not None:
            return checkpoint.best_content
    return None


def tidy(folder: Path, attempt: int, keep: Collection[Path] = ()) -> None:
    """Removes what a trial that is over no longer needs; safe to repeat after a kill.

    Args:
        folder: the trial's.
        attempt: the driver's; what a later one has written stays.
        keep: files that the trial's end names.
    """
    for life in _lives(folder, (attempt, sys.maxsize)).values():
        for path in life.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path not in keep:
                path.unlink()
        if not any(life.iterdir()):
            life.rmdir()


def _lives(folder: Path, up_to: Life) -> dict[Life, Path]:
    if not folder.is_dir():
        return {}
    found = ((life_of(path.name), path) for path in folder.iterdir())
    lives = {life: path for life, path in found if life is not None}
    return {life: lives[life] for life in sorted(lives, reverse=True) if life <= up_to}


def _places(lives: Mapping[Life, Path]) -> list[Place]:
    """All checkpoints in these folders, furthest first."""
    return sorted(
        (
            Place(*place, life, path)
            for life, folder in lives.items()
            for path in folder.iterdir()
            if (place := place_of(path.name)) is not None
        ),
        reverse=True,
    )


def _remove(path: Path) -> None:
    """Renamed first: what is half removed must not look like a checkpoint."""
    aside = path.with_name(f"{files.ASIDE}{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)
