"""Two homes, one folder for checkpoints: neither takes the other's, or removes them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from raybench.errors import HomeError
from raybench.settings import Settings, resolve_settings
from raybench.sweep.options import RunOptions, SilentObserver
from raybench.sweep.owner import NAME
from raybench.sweep.run import run_sweep
from tests.specs import tiny_spec

INLINE = RunOptions(inline=True)


class Told(SilentObserver):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def _settings(home: Path, storage: Path) -> Settings:
    return resolve_settings(home, {"RAYBENCH_STORAGE": str(storage)})


def _files(storage: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in storage.rglob("*.safetensors")}


@pytest.mark.slow
def test_another_homes_checkpoints_are_left_alone(tmp_path: Path) -> None:
    spec, storage = tiny_spec(final={"seeds": [0]}), tmp_path / "storage"
    run_sweep(spec, _settings(tmp_path / "one", storage), INLINE)
    before = _files(storage)
    assert before
    with pytest.raises(HomeError, match=rf"those of the home {tmp_path / 'one'}; set RAYBENCH_ST"):
        run_sweep(spec, _settings(tmp_path / "two", storage), INLINE)
    assert _files(storage) == before
    other = spec.model_copy(update={"name": "another"})
    assert run_sweep(other, _settings(tmp_path / "two", storage), INLINE).exit_code == 0
    assert _files(storage).items() > before.items()


def test_a_copy_of_a_home_is_another_home_and_a_moved_one_is_not(tmp_path: Path) -> None:
    spec, storage = tiny_spec(final={"seeds": [0]}), tmp_path / "storage"
    run_sweep(spec, _settings(tmp_path / "one", storage), INLINE)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(HomeError, match="those of the home"):
        run_sweep(spec, _settings(tmp_path / "two", storage), INLINE)
    shutil.move(tmp_path / "one", tmp_path / "moved")
    assert run_sweep(spec, _settings(tmp_path / "moved", storage), INLINE).exit_code == 0


def test_a_damaged_mark_is_refused(tmp_path: Path) -> None:
    spec, storage = tiny_spec(final={"seeds": [0]}), tmp_path / "storage"
    run_sweep(spec, _settings(tmp_path / "one", storage), INLINE)
    (storage / "checkpoints" / spec.name / NAME).write_text("{")
    with pytest.raises(HomeError, match="is damaged; remove it if"):
        run_sweep(spec, _settings(tmp_path / "one", storage), INLINE)


def test_checkpoints_that_are_elsewhere_now_are_said(tmp_path: Path) -> None:
    spec, settings = tiny_spec(final={"seeds": [0]}), resolve_settings(tmp_path / "home", {})
    run_sweep(spec, settings, INLINE)
    told = Told()
    run_sweep(spec, settings, INLINE, told)
    assert "weights of earlier" not in "".join(told.said)
    moved = dataclasses.replace(settings, checkpoint_root=tmp_path / "elsewhere")
    run_sweep(spec, moved, INLINE, told)
    assert "the weights of earlier trials are not at" in "".join(told.said)
