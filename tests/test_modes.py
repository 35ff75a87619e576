"""Risk "multi-user host": what holds state is its owner's, or that of the group of its home."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest

import raybench
from raybench.auditing import check_data
from raybench.report.files import write_text
from raybench.settings import (
    create_home,
    current_umask,
    private_files,
    private_umask,
    resolve_settings,
)
from tests.specs import tiny_data, write_sweep


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    assert os.umask(before) == 0o022  # what was changed was put back


@pytest.mark.parametrize(
    ("home", "umask"),
    [
        (0o700, 0o077),
        (0o755, 0o077),  # a plain mkdir: nobody has thought of the group
        (0o775, 0o077),
        (0o777, 0o077),
        (0o750, 0o027),
        (0o770, 0o007),
        (0o2770, 0o007),
        (0o2750, 0o027),
        (0o2775, 0o007),  # others never get anything
    ],
)
def test_files_are_as_private_as_their_home(tmp_path, home, umask):
    tmp_path.chmod(home)
    assert private_umask(tmp_path) == umask
    with private_files(tmp_path):
        (tmp_path / "x").touch()
        (tmp_path / "d").mkdir()
    assert mode(tmp_path / "x") == 0o666 & ~umask
    assert mode(tmp_path / "d") & 0o777 == 0o777 & ~umask


def test_the_umask_comes_back_after_an_error(tmp_path):
    with pytest.raises(KeyError), private_files(tmp_path):
        raise KeyError


@pytest.fixture
def homes(tmp_path) -> tuple[Path, Path]:
    """A private one, and one that a group shares."""
    own, shared = tmp_path / "own", tmp_path / "shared"
    for home, bits in ((own, 0o700), (shared, 0o2770)):
        home.mkdir()
        home.chmod(bits)
    return own, shared


def test_inside_one_thread_the_innermost_use_counts(homes):
    own, shared = homes
    with private_files(own):
        with private_files(shared), private_files(own):
            assert current_umask() == 0o077
        assert current_umask() == 0o077
        with private_files(shared):
            assert current_umask() == 0o007
        assert current_umask() == 0o077
    assert current_umask() == 0o022


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_uses_that_overlap_in_threads(homes, first_ends_first):
    """Neither end opens the other's files, and the last one puts back what was before the first."""
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        uses = [(one, private_files(homes[0])), (other, private_files(homes[1]))]
        for thread, use in uses:
            thread.submit(use.__enter__).result()
            assert current_umask() == 0o077
        ends = uses if first_ends_first else uses[::-1]
        ends[0][0].submit(ends[0][1].__exit__, None, None, None).result()
        assert current_umask() == (0o007 if first_ends_first else 0o077)
        ends[1][0].submit(ends[1][1].__exit__, None, None, None).result()
    assert current_umask() == 0o022


def test_many_threads_at_once(homes, tmp_path):
    tmp_path.chmod(0o755)
    start = Barrier(8)

    def write(number: int) -> set[int]:
        start.wait()
        modes = set()
        for turn in range(50):
            with private_files(homes[0]):
                file = homes[0] / f"{number}-{turn}"
                write_text(file.with_suffix(".txt"), "x")
                file.touch()
                modes |= {mode(file), mode(file.with_suffix(".txt"))}
        return modes

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(write, range(8))) == {0o600}
    assert current_umask() == 0o022


def test_a_home_that_is_not_there_is_private():
    assert private_umask(Path("/nowhere/at/all")) == 0o077


def test_a_new_home_and_its_folders_are_private_and_a_labs_cache_is_not(tmp_path):
    settings = resolve_settings(tmp_path / "home", {"RAYBENCH_CACHE": str(tmp_path / "lab")})
    create_home(settings)
    assert mode(settings.home) == mode(settings.checkpoint_root) == 0o700
    assert mode(settings.cache_dir) == 0o755
    inside = resolve_settings(tmp_path / "other", {})
    create_home(inside)
    assert mode(inside.cache_dir) == 0o700


def test_a_check_makes_a_private_home_too(tmp_path, image_folder):
    settings = resolve_settings(tmp_path / "home", {})
    check_data([str(image_folder())], settings, lambda line: None)
    assert mode(settings.home) == 0o700


def open_to_others(root: Path) -> list[str]:
    """Files and folders below ``root`` that anybody but their owner may touch."""
    return [str(p.relative_to(root)) for p in sorted(root.rglob("*")) if mode(p) & 0o077]


def run(folder: Path, home: Path) -> None:
    write_sweep(folder / "tiny.yaml", tiny_data())
    raybench.run(folder / "tiny.yaml", home=home, inline=True, tracking=False)


@pytest.fixture(scope="module")
def used_home(tmp_path_factory) -> Path:
    """A home where a sweep has run twice, so that there is a copy of its ledger."""
    folder = tmp_path_factory.mktemp("used")
    before = os.umask(0o022)
    for _ in range(2):
        run(folder, folder / "home")
    os.umask(before)
    return folder / "home"


@pytest.mark.slow
def test_two_runs_in_threads(tmp_path, used_home):
    for name in "ab":
        shutil.copytree(used_home / "cache", tmp_path / name / "home" / "cache")
        (tmp_path / name / "home").chmod(0o700)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: run(tmp_path / name, tmp_path / name / "home"), "ab"))
    assert current_umask() == 0o022
    for name in "ab":
        left = open_to_others(tmp_path / name / "home")
        assert [path for path in left if not path.startswith("cache")] == []


def test_ledger_copies_checkpoints_and_predictions_are_their_owners(used_home):
    names = {path.name for path in used_home.rglob("*")}
    assert {"ledger.db", "best.safetensors", "predictions.safetensors", "backups"} <= names
    assert any(name.startswith("ledger-") for name in names)
    state = [name for name in open_to_others(used_home) if not name.startswith("cache/")]
    assert state == [] and mode(used_home) == 0o700


def test_a_home_that_a_group_shares_stays_shared(tmp_path, used_home):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o2770)
    shutil.copytree(used_home / "cache", home / "cache")
    for _ in range(2):
        run(tmp_path, home)
    files = [p for p in home.rglob("*") if "cache" not in p.relative_to(home).parts]
    assert {mode(p) for p in files if p.is_file()} == {0o660}
    assert {mode(p) & 0o777 for p in files if p.is_dir()} == {0o770}


def test_a_trial_on_somebody_elses_ray_writes_private_files_all_the_same(tmp_path, monkeypatch):
    """Its process has that Ray's umask."""
    from raybench.sweep import trainable

    config = SimpleNamespace(from_dict=lambda values: SimpleNamespace(**values))
    monkeypatch.setattr(trainable, "TrialConfig", config)
    monkeypatch.setattr(trainable, "run_trial", lambda config, should_stop: iter(()))
    actor = trainable.TrialActor.__new__(trainable.TrialActor)
    actor._should_stop, actor._supplies = lambda: False, None
    tmp_path.chmod(0o700)
    os.umask(0)
    actor._begin({"trial": {"checkpoint_root": str(tmp_path)}})
    assert os.umask(0o022) == 0o077
