"""Checkpoints: ``<trial>/a<attempt>/e<epoch>-b<batch>/``, sound as a whole or passed over.

    model.safetensors       weights as trained
    ema.safetensors         their moving average, where the recipe has one
    best.safetensors        weights of the best epoch, where that is not the one just finished
    optimizer.safetensors   optimizer and random generators
    state.json              ``Progress``, thread count, loss scale
    manifest.json           size and SHA-256 of each of these

``e3-b7`` means: three epochs finished, seven batches trained of the fourth. A folder is filled
aside and renamed, so what has its name was complete once; loading checks the hashes all the same,
since disks and people damage files. torch is imported only where tensors are made, for the driver
collects without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.trial import files

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2
BEST_NAME = "best.safetensors"
_PLACE = re.compile(r"^e(\d+)-b(\d+)$")
_ATTEMPT = re.compile(r"^a(\d+)$")
_log = logging.getLogger(__name__)


class DamagedCheckpointError(Exception):
    """A checkpoint's files are not those its manifest lists."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A checkpoint's folder; the order is that of training, then of attempts."""

    epoch: int
    batch: int
    attempt: int
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
        return self.contents.get("ema.safetensors") or self.contents["model.safetensors"]

    @property
    def best_content(self) -> bytes:
        """The best epoch's weights, as a file."""
        return self.contents.get(BEST_NAME) or self.evaluated_content

    def best_tensors(self) -> dict[str, Tensor]:
        from safetensors.torch import load

        return load(self.best_content)


class CheckpointFolder:
    """One attempt's checkpoints of one trial, and read access to those of earlier attempts."""

    def __init__(self, trial_folder: Path, attempt: int) -> None:
        self.trial_folder = trial_folder
        self.attempt = attempt
        self.own = trial_folder / f"a{attempt}"

    def save(
        self, epoch: int, batch: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Any
    ) -> None:
        """Writes one checkpoint; one that is already there stays (same place, same content)."""
        target = self.own / f"e{epoch}-b{batch}"
        if target.exists():
            return
        aside = self.own / f"{files.ASIDE}{target.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        manifest = {
            f"{name}.safetensors": files.write_synced(
                aside / f"{name}.safetensors", files.safetensors_chunks(group)
            )
            for name, group in tensors.items()
        }
        manifest["state.json"] = files.write_synced(aside / "state.json", [files.json_bytes(state)])
        listing = files.json_bytes({"format": FORMAT, "files": manifest})
        files.write_synced(aside / "manifest.json", [listing])
        files.sync_folder(aside)
        aside.rename(target)
        files.sync_folder(self.own)

    def newest_sound(self) -> Checkpoint | None:
        """The furthest checkpoint of this and earlier attempts that can be continued from.

        A damaged one is passed over with a warning.
        """
        for place in _places(self.trial_folder, self.attempt):
            try:
                return load(place)
            except DamagedCheckpointError as error:
                _log.warning("passing over checkpoint %s: %s", place.path, error)
                if place.attempt == self.attempt:
                    _remove(place.path)  # training will come by this place again
        return None

    def prune(self) -> None:
        """Keeps the last two of this attempt."""
        for place in _places(self.own.parent, self.attempt, only=self.attempt)[2:]:
            _remove(place.path)


def load(place: Place) -> Checkpoint:
    """Reads one checkpoint into memory and verifies every file.

    Raises:
        DamagedCheckpointError: a file is missing, cut or changed; says which.
    """
    try:
        manifest = json.loads((place.path / "manifest.json").read_bytes())
        listed = dict(manifest["files"])
        contents = {name: (place.path / name).read_bytes() for name in listed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpointError(f"{type(error).__name__}: {error}") from error
    if manifest.get("format") != FORMAT:
        raise DamagedCheckpointError(f"written in format {manifest.get('format')}, not {FORMAT}")
    for name, facts in listed.items():
        found = {
            "size": len(contents[name]),
            "sha256": hashlib.sha256(contents[name]).hexdigest(),
        }
        if found != facts:
            raise DamagedCheckpointError(f"{name} is not the file that was written")
    return Checkpoint(place, json.loads(contents.pop("state.json")), contents)


def collect(checkpoint_root: Path, checkpoint_dir: str) -> tuple[str, str] | None:
    """Keeps only the best weights of a trial that is over; safe to repeat after a kill.

    Returns:
        Path of the weights relative to ``checkpoint_root`` and their SHA-256; None where no epoch
        was finished.
    """
    folder = checkpoint_root / checkpoint_dir
    best = folder / BEST_NAME
    digest = files.sha256_of(best) if best.exists() else _extract_best(folder)
    remove_attempts(folder)
    return None if digest is None else (f"{checkpoint_dir}/{BEST_NAME}", digest)


def remove_attempts(folder: Path) -> None:
    """Removes all checkpoints of a trial, optimizer states with them."""
    for attempt in _attempt_folders(folder).values():
        shutil.rmtree(attempt)


def _extract_best(folder: Path) -> str | None:
    """Writes the best weights beside the attempts' folders; their digest, None without an epoch."""
    for place in _places(folder):
        try:
            checkpoint = load(place)
        except DamagedCheckpointError as error:
            _log.warning("passing over checkpoint %s: %s", place.path, error)
            continue
        if checkpoint.state["progress"]["best_epoch"] is not None:
            return files.replace_file(folder / BEST_NAME, [checkpoint.best_content])
    return None


def _attempt_folders(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    matches = ((_ATTEMPT.match(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match}


def _places(folder: Path, up_to: int | None = None, only: int | None = None) -> list[Place]:
    """All checkpoints of a trial, furthest first; of attempts up to ``up_to``, or of one only."""
    return sorted(
        (
            _place(path, attempt)
            for attempt, parent in _attempt_folders(folder).items()
            if (up_to is None or attempt <= up_to) and (only is None or attempt == only)
            for path in parent.iterdir()
            if _PLACE.match(path.name)
        ),
        reverse=True,
    )


def _place(path: Path, attempt: int) -> Place:
    match = _PLACE.match(path.name)
    assert match is not None
    return Place(int(match[1]), int(match[2]), attempt, path)


def _remove(path: Path) -> None:
    """Renamed first: what is half removed must not look like a checkpoint."""
    aside = path.with_name(f"{files.ASIDE}{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)
