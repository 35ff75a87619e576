"""Checkpoints survive damage, and a finished trial leaves only its best weights."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from raybench.trial import checkpoint, files
from raybench.trial.checkpoint import CheckpointFolder, collect
from tests.trial.conftest import MakeConfig, run, stop_at, timeless

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def save(folder: CheckpointFolder, epoch: int, best_epoch: int | None, batch: int = 0) -> None:
    tensors = {"model": {"w": torch.full((3,), float(epoch))}, "optimizer": {}}
    if best_epoch is not None and (best_epoch, 0) != (epoch, batch):
        tensors["best"] = {"w": torch.full((3,), float(best_epoch))}
    folder.save(epoch, batch, tensors, {"progress": {"best_epoch": best_epoch}})


def places(folder: CheckpointFolder) -> set[str]:
    return {path.name for path in folder.own.iterdir()}


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut_in_half, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: object
) -> None:
    folder = CheckpointFolder(tmp_path, 1)
    save(folder, 1, best_epoch=1)
    save(folder, 2, best_epoch=1)
    assert callable(damage)
    damage(folder.own / "e2-b0" / name)
    with caplog.at_level(logging.WARNING):
        found = folder.newest_sound()
    assert found is not None and found.place.epoch == 1
    assert "passing over" in caplog.text
    assert places(folder) == {"e1-b0"}  # training comes by epoch 2 again and must write it


def test_a_checkpoint_without_its_best_weights_is_passed_over(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, 1)
    for epoch in (1, 2, 3):
        save(folder, epoch, best_epoch=min(epoch, 2))
    flip_a_bit(folder.own / "e3-b0" / "best.safetensors")
    found = folder.newest_sound()
    assert found is not None and found.place.epoch == 2
    assert found.best_tensors()["w"].tolist() == [2.0] * 3


def test_nothing_sound_is_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path, 1).newest_sound() is None
    (tmp_path / "a1" / ".tmp-e1-b0").mkdir(parents=True)
    assert CheckpointFolder(tmp_path, 1).newest_sound() is None


def test_prune_keeps_the_last_two(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, 1)
    for epoch in range(1, 12):
        save(folder, epoch, best_epoch=min(epoch, 2))
        folder.prune()
    assert places(folder) == {"e10-b0", "e11-b0"}


def test_a_new_attempt_has_the_best_weights(tmp_path: Path) -> None:
    first = CheckpointFolder(tmp_path, 1)
    for epoch in (1, 2, 3):
        save(first, epoch, best_epoch=1)
    found = CheckpointFolder(tmp_path, 2).newest_sound()
    assert found is not None and (found.place.epoch, found.place.life) == (3, (1, 0))
    assert found.best_tensors()["w"].tolist() == [1.0] * 3


def test_an_older_attempt_does_not_see_a_newer_one(tmp_path: Path) -> None:
    save(CheckpointFolder(tmp_path, 2), 1, best_epoch=1)
    assert CheckpointFolder(tmp_path, 1).newest_sound() is None


def test_an_older_life_touches_nothing_of_a_newer_one(tmp_path: Path) -> None:
    """Of the same attempt too: a worker that everybody took for dead may still write."""
    old, new = CheckpointFolder(tmp_path, 2), CheckpointFolder(tmp_path, 2, retry=1)
    save(new, 1, best_epoch=1)
    before = {path: path.stat().st_mtime_ns for path in new.own.rglob("*")}
    for epoch in (1, 2, 3):
        save(old, epoch, best_epoch=epoch)
        old.prune()
    assert old.newest_sound() is not None
    checkpoint.collect(tmp_path.parent, tmp_path.name, (2, 0))
    checkpoint.tidy(tmp_path, attempt=1)
    assert {path: path.stat().st_mtime_ns for path in new.own.rglob("*")} == before
    found = CheckpointFolder(tmp_path, 3).newest_sound()
    assert found is not None and found.place.life == (2, 0)


def test_another_configurations_checkpoint_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A ledger put back from a copy may give a trial's number to another one."""
    save(CheckpointFolder(tmp_path, 1, identity="lr 0.1"), 2, best_epoch=1)
    save(CheckpointFolder(tmp_path, 2, identity="lr 0.2"), 1, best_epoch=1)
    own = CheckpointFolder(tmp_path, 2, identity="lr 0.3")
    assert own.newest_sound() is None
    assert caplog.text.count("of another configuration") == 2
    assert places(own) == set()
    found = CheckpointFolder(tmp_path, 3, identity="lr 0.1").newest_sound()
    assert found is not None and found.place.epoch == 2


@pytest.mark.parametrize("killed", [False, True])
def test_only_what_the_end_names_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    for attempt, epochs in ((1, (1, 2)), (2, (3,))):
        folder = CheckpointFolder(tmp_path / "trial", attempt)
        for epoch in epochs:
            save(folder, epoch, best_epoch=min(epoch, 2))
    save(CheckpointFolder(tmp_path / "trial", 3), 9, best_epoch=9)
    kept = collect(tmp_path, "trial", (2, 0))
    assert kept == (
        "trial/a2/best.safetensors",
        files.sha256_of(tmp_path / "trial/a2/best.safetensors"),
    )
    named = [tmp_path / kept[0]]
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.shutil, "rmtree", _die)
            with pytest.raises(KeyboardInterrupt):
                checkpoint.tidy(tmp_path / "trial", 2, named)
    checkpoint.tidy(tmp_path / "trial", 2, named)
    assert load_file(named[0])["w"].tolist() == [2.0] * 3
    left = {str(path.relative_to(tmp_path)) for path in (tmp_path / "trial").glob("*/*")}
    assert left == {"trial/a2/best.safetensors", "trial/a3/e9-b0"}
    assert not (tmp_path / "trial/a1").exists()


def _die(path: Path) -> None:
    raise KeyboardInterrupt


def test_collect_before_the_first_epoch_is_none(tmp_path: Path) -> None:
    save(CheckpointFolder(tmp_path / "trial", 1), 0, best_epoch=None, batch=3)
    assert collect(tmp_path, "trial", (1, 0)) is None
    assert collect(tmp_path, "never-started", (1, 0)) is None
    checkpoint.tidy(tmp_path / "never-started", 1)


def test_the_driver_collects_without_torch() -> None:
    code = "import sys, raybench.trial.checkpoint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_safetensors_files_are_the_librarys(tmp_path: Path) -> None:
    shared = torch.arange(6, dtype=torch.float32)
    images = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    tensors = {
        "tied": shared,
        "tied_too": shared,
        "images": images,
        "scalar": torch.tensor(3, dtype=torch.int64),
        "empty": torch.empty(0, 4),
        "half": torch.rand(3).bfloat16(),
        "flags": torch.tensor([True, False]),
    }
    path = tmp_path / "x.safetensors"
    files.replace_file(path, files.safetensors_chunks(tensors, {"a": "b"}))
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


@pytest.mark.parametrize("name", FILES)
def test_a_trial_with_a_damaged_newest_checkpoint_still_ends_the_same(
    make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    whole, whole_end = run(make_config(folder="whole"))
    config = make_config(folder="damaged")
    before, _ = run(config, stop_at(18))  # two epochs and two batches
    assert len(before) == 2
    cut_in_half(tmp_path / "checkpoints" / "damaged" / "a1" / "e2-b2" / name)
    after, end = run(dataclasses.replace(config, attempt=1, known_epochs=2))
    assert timeless(before + after) == timeless(whole)
    assert end.weights_sha256 == whole_end.weights_sha256


def test_epochs_trained_again_are_not_told_again(make_config: MakeConfig, tmp_path: Path) -> None:
    whole, _ = run(make_config(folder="whole"))
    config = make_config(folder="lost")
    before, _ = run(config, stop_at(18))
    for path in (tmp_path / "checkpoints" / "lost" / "a1").iterdir():
        (path / "manifest.json").unlink()
    after, end = run(dataclasses.replace(config, attempt=2, known_epochs=2))
    assert end.state == "complete"
    assert timeless(before + after) == timeless(whole)
