"""A disk that is full at the n-th write, for every n: what was sound stays, and stands alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from raybench.trial import files
from raybench.trial.checkpoint import CheckpointFolder
from tests.trial.conftest import RICH, MakeConfig, run, timeless


class Disk:
    """Full from its n-th step on: a file's making, each write, each fsync, each rename."""

    def __init__(self, full_at: int) -> None:
        self.full_at, self.steps = full_at, 0

    def step(self) -> None:
        self.steps += 1
        if self.steps >= self.full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def was_full(self) -> bool:
        return self.steps >= self.full_at


class _File:
    """A file of that disk; what was written before it was full is there, as on a real one."""

    def __init__(self, disk: Disk, file: IO[bytes]) -> None:
        self._disk, self._file = disk, file

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes | memoryview) -> int:
        try:
            self._disk.step()
        except OSError:
            self._file.write(bytes(content)[: len(content) // 2])
            raise
        return self._file.write(content)


@pytest.fixture
def full_from(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """``with full_from(n) as disk``: everything that is written below checkpoints counts."""
    open_, rename, mkdir, fsync = Path.open, Path.rename, Path.mkdir, os.fsync

    @contextmanager
    def make(full_at: int) -> Iterator[Disk]:
        disk = Disk(full_at)

        def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            if "w" not in mode:
                return open_(path, mode, *args, **options)
            disk.step()
            return _File(disk, open_(path, mode, *args, **options))  # type: ignore[arg-type]

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*args: Any, **options: Any) -> Any:
                disk.step()
                return call(*args, **options)

            return counting

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", opened)
            patch.setattr(Path, "rename", counted(rename))
            patch.setattr(Path, "mkdir", counted(mkdir))
            patch.setattr(files.os, "fsync", counted(fsync))
            yield disk

    return make


def save(folder: CheckpointFolder, epoch: int) -> None:
    tensors = {"model": {"w": torch.full((300,), float(epoch))}, "optimizer": {}}
    folder.save(epoch, 0, tensors, {"progress": {"best_epoch": epoch}})


def test_a_checkpoint_that_finds_the_disk_full_leaves_the_last_one(
    tmp_path: Path, full_from: Callable[[int], Any]
) -> None:
    folder = CheckpointFolder(tmp_path / "trial", 1)
    save(folder, 1)
    for full_at in range(1, 100):
        with full_from(full_at) as disk:
            try:
                save(folder, 2)
            except OSError as error:
                assert error.errno == errno.ENOSPC
        if not disk.was_full:
            break
        newest = folder.newest_sound()
        renamed = (folder.own / "e2-b0").exists()  # the last step is the folder's own fsync
        assert newest is not None and newest.place.epoch == (2 if renamed else 1)
        if renamed:
            continue
        assert [path.name for path in folder.own.iterdir()] == ["e1-b0"], (
            "half a checkpoint is left"
        )
        save(CheckpointFolder(tmp_path / f"again{full_at}", 1), 2)
    assert full_at > 12 and folder.newest_sound().place.epoch == 2  # type: ignore[union-attr]


def test_a_file_is_replaced_as_a_whole_or_not_at_all(
    tmp_path: Path, full_from: Callable[[int], Any]
) -> None:
    path = tmp_path / "best.safetensors"
    files.replace_file(path, [b"old"])
    for full_at in range(1, 50):
        with full_from(full_at) as disk:
            try:
                files.replace_file(path, [b"new", b" and ", b"longer"])
            except OSError as error:
                assert error.errno == errno.ENOSPC
        assert path.read_bytes() in (b"old", b"new and longer")
        assert [found.name for found in tmp_path.iterdir()] == [path.name]
        if not disk.was_full:
            break
        files.replace_file(path, [b"old"])
    assert full_at > 6 and path.read_bytes() == b"new and longer"


@pytest.mark.parametrize("recipe", [{}, RICH], ids=["plain", "rich"])
def test_a_trial_on_a_full_disk_fails_as_such_and_goes_on_to_the_same_numbers(
    make_config: MakeConfig,
    full_from: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
    recipe: dict[str, Any],
) -> None:
    monkeypatch.setattr("raybench.trial.loop.CHECKPOINT_EVERY_S", 0.0)
    unbroken, unbroken_end = run(make_config(folder="unbroken", **recipe))
    full_at, ended = 1, False
    while not ended:
        folder = f"full-{full_at}"
        with full_from(full_at) as disk:
            told, end = run(make_config(folder=folder, **recipe))
        ended = not disk.was_full
        if not ended:
            assert (end.state, end.failure) == ("failed", "disk"), end
            assert "No space left on device" in end.reason
            _assert_nothing_half(make_config(folder=folder).own_folder)
        again = make_config(
            folder=folder, config={"attempt": 2, "known_epochs": len(told)}, **recipe
        )
        rest, end = run(again)
        records = told + rest if not ended else told
        assert timeless(records) == timeless(unbroken)
        assert end.weights_sha256 == unbroken_end.weights_sha256
        full_at += 17  # each write of each checkpoint would take a minute
    assert full_at > 30


def _assert_nothing_half(folder: Path) -> None:
    if not folder.exists():
        return
    assert not [path for path in folder.rglob(f"{files.ASIDE}*")], "half a file is left"
    for place in folder.glob("e*-b*"):
        assert (place / "manifest.json").exists()
