"""The cache stays within its bound, and nobody loses what he reads."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from raybench.cli import main
from raybench.datasets.cache import files as cache_files
from raybench.datasets.cache import prune
from raybench.datasets.cache.prune import GIGABYTE, LIMIT_VARIABLE, list_sets
from raybench.datasets.cache.store import close_sets, open_cache
from raybench.errors import ResourceError
from raybench.spec import DatasetSpec


@pytest.fixture(autouse=True)
def _nothing_kept_open():
    close_sets()
    yield
    close_sets()


@pytest.fixture
def spec(image_folder) -> DatasetSpec:
    return DatasetSpec(name="mine", path=str(image_folder(per_class=4)))


@pytest.fixture
def cache_dir(spec, tmp_path) -> Path:
    """Three sets that nobody uses, of 8, 16 and 32 px; the one of 16 px was used last."""
    for age, size in ((300, 8), (100, 16), (200, 32)):
        open_cache(spec, size, tmp_path / "c")
        close_sets()
        (folder,) = (tmp_path / "c").glob(f"mine-{size}-*")
        os.utime(folder / "in_use", (1e9 - age, 1e9 - age))
    return tmp_path / "c"


def sizes(cache_dir: Path) -> list[int]:
    return [s.image_size for s in list_sets(cache_dir)]


def test_sets_are_listed_by_their_last_use(cache_dir):
    listed = list_sets(cache_dir)
    assert [(s.name, s.image_size, s.images, s.in_use) for s in listed] == [
        ("mine", 8, 8, False),
        ("mine", 32, 8, False),
        ("mine", 16, 8, False),
    ]
    assert listed[0].last_use == 1e9 - 300
    assert listed[1].bytes == prune.folder_bytes(listed[1].folder) > 8 * 32 * 32 * 3


def test_the_least_recently_used_go_first_and_no_more_than_needed(cache_dir):
    total = sum(s.bytes for s in list_sets(cache_dir))
    assert [s.image_size for s in prune.prune(cache_dir, total)] == []
    assert [s.image_size for s in prune.prune(cache_dir, total - 1)] == [8]
    assert sizes(cache_dir) == [32, 16]
    assert [s.image_size for s in prune.prune(cache_dir, 0)] == [32, 16]
    assert sizes(cache_dir) == [] and not list(cache_dir.glob(".pruned-*"))


def test_opening_counts_as_use(cache_dir, spec):
    open_cache(spec, 8, cache_dir)
    assert sizes(cache_dir) == [32, 16, 8]


def test_a_set_that_this_process_holds_stays(cache_dir, spec):
    data = open_cache(spec, 8, cache_dir)
    close_sets()
    assert [s.in_use for s in list_sets(cache_dir)] == [False, False, True]
    prune.prune(cache_dir, 0)
    assert sizes(cache_dir) == [8]
    del data
    prune.prune(cache_dir, 0)
    assert sizes(cache_dir) == []


def _hold(arguments: tuple[DatasetSpec, Path], opened, done) -> None:
    data = open_cache(arguments[0], 32, arguments[1])
    opened.set()
    done.wait(60)
    assert data.images.sum() > 0


@pytest.mark.parametrize("killed", [False, True])
def test_a_set_that_another_process_holds_stays_until_it_ends(cache_dir, spec, killed):
    context = multiprocessing.get_context("fork")
    opened, done = context.Event(), context.Event()
    child = context.Process(target=_hold, args=((spec, cache_dir), opened, done))
    child.start()
    assert opened.wait(60)
    prune.prune(cache_dir, 0)
    assert sizes(cache_dir) == [32]
    child.kill() if killed else done.set()
    child.join()
    assert child.exitcode == (-9 if killed else 0)
    prune.prune(cache_dir, 0)
    assert sizes(cache_dir) == []


def test_without_locks_nothing_is_pruned(cache_dir, monkeypatch):
    def no_locks(file: object, mode: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(prune.fcntl, "flock", no_locks)
    assert prune.prune(cache_dir, 0) == [] and len(sizes(cache_dir)) == 3


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_set_pruned_while_it_is_being_opened(cache_dir, spec, monkeypatch, rebuilt):
    real = cache_files.fcntl.flock

    def pruned_first(descriptor: int, mode: int) -> None:
        monkeypatch.setattr(cache_files.fcntl, "flock", real)
        prune.prune(cache_dir, 0)
        if rebuilt:
            open_cache(spec, 8, cache_dir)
            close_sets()
        real(descriptor, mode)

    expected = np.array(open_cache(spec, 8, cache_dir).images)
    close_sets()
    monkeypatch.setattr(cache_files.fcntl, "flock", pruned_first)
    data = open_cache(spec, 8, cache_dir, tell=pytest.fail)
    assert np.array_equal(data.images, expected)
    prune.prune(cache_dir, 0)
    assert sizes(cache_dir) == [8]


def test_building_makes_room(cache_dir, spec, monkeypatch):
    said: list[str] = []
    room = sum(s.bytes for s in list_sets(cache_dir)) + 8 * 9 * 9 * 3
    monkeypatch.setenv(LIMIT_VARIABLE, str((room - 1) / GIGABYTE))
    open_cache(spec, 9, cache_dir, tell=said.append)
    assert sizes(cache_dir) == [32, 16, 9]
    assert len(said) == 1 and "removed mine-8-" in said[0]


def test_without_a_limit_the_disk_is_the_limit(cache_dir, spec, monkeypatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    full = SimpleNamespace(total=1000, used=990, free=10)
    monkeypatch.setattr(prune.shutil, "disk_usage", lambda path: full)
    with pytest.raises(ResourceError, match="needs about 0.0 GB more, and 0.0 GB are free; set"):
        open_cache(spec, 9, cache_dir)
    assert sizes(cache_dir) == [32, 16]


@pytest.mark.parametrize("text", ["much", "-1", "inf", "nan"])
def test_a_limit_that_is_no_amount_is_refused(cache_dir, spec, monkeypatch, text):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(ResourceError, match=f"RAYBENCH_CACHE_GB is '{text}'; give an amount"):
        open_cache(spec, 9, cache_dir)


def test_the_command_lists_and_prunes(cache_dir, monkeypatch, capsys):
    monkeypatch.setenv("RAYBENCH_CACHE", str(cache_dir))
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert out.count("mine") == 3 and "2001-09-09" in out
    assert main(["cache", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [s["image_size"] for s in listed["sets"]] == [8, 32, 16]
    assert listed["sets"][0]["last_use"] == "2001-09-09T01:41:40+00:00"
    assert main(["cache", "--prune", "5"]) == 0
    assert len(sizes(cache_dir)) == 3 and "at most" not in capsys.readouterr().out
    assert main(["cache", "--prune", "--json"]) == 0
    left = json.loads(capsys.readouterr().out)
    assert [s["image_size"] for s in left["pruned"]] == [8, 32, 16] and left["sets"] == []
    assert main(["cache"]) == 0


def test_pruning_without_a_number_goes_down_to_the_limit(cache_dir, monkeypatch):
    monkeypatch.setenv("RAYBENCH_CACHE", str(cache_dir))
    total = sum(s.bytes for s in list_sets(cache_dir))
    monkeypatch.setenv(LIMIT_VARIABLE, str((total - 1) / GIGABYTE))
    assert main(["cache", "--prune"]) == 0
    assert sizes(cache_dir) == [32, 16]
