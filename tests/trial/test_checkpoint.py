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
    assert found is not None and (found.place.epoch, found.place.attempt) == (3, 1)
    assert found.best_tensors()["w"].tolist() == [1.0] * 3


def test_an_older_attempt_does_not_see_a_newer_one(tmp_path: Path) -> None:
    save(CheckpointFolder(tmp_path, 2), 1, best_epoch=1)
    assert CheckpointFolder(tmp_path, 1).newest_sound() is None


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_collect_keeps_the_best_weights_only_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    folder = CheckpointFolder(tmp_path / "trial", 1)
    for epoch in (1, 2, 3):
        save(folder, epoch, best_epoch=min(epoch, 2))
    calls: list[Path] = []

    def dying_rmtree(path: Path) -> None:
        # the newest checkpoints go first, which leaves older ones with another best epoch
        for place in sorted(path.iterdir(), reverse=True)[:killed_after]:
            checkpoint._remove(place)
        calls.append(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove_attempts", lambda path: dying_rmtree(path / "a1"))
        with pytest.raises(KeyboardInterrupt):
            collect(tmp_path, "trial")
    assert calls
    kept = collect(tmp_path, "trial")
    assert kept == ("trial/best.safetensors", files.sha256_of(tmp_path / "trial/best.safetensors"))
    assert collect(tmp_path, "trial") == kept
    assert load_file(tmp_path / "trial/best.safetensors")["w"].tolist() == [2.0] * 3
    assert [path.name for path in (tmp_path / "trial").iterdir()] == ["best.safetensors"]


def test_collect_before_the_first_epoch_is_none(tmp_path: Path) -> None:
    save(CheckpointFolder(tmp_path / "trial", 1), 0, best_epoch=None, batch=3)
    assert collect(tmp_path, "trial") is None
    assert collect(tmp_path, "never-started") is None


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
