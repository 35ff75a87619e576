"""What is asked of a node, and what it answers; several hosts: ``tests/test_cluster_hosts.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from raybench.errors import ResourceError
from raybench.sweep.nodes import NodeAnswer, NodeWork, _why_silent, look, node_work
from raybench.sweep.supplies import Supplies

NOTHING = Supplies("", "", "", cache_is_shared=True, data=(), weights=())


def ask(tmp_path: Path, **changes: object) -> NodeAnswer:
    with node_work(str(tmp_path), "sweep", NOTHING) as work:
        return look(replace(work, **changes))  # type: ignore[arg-type]


def test_a_node_like_the_drivers_is_good(tmp_path: Path) -> None:
    assert ask(tmp_path) == NodeAnswer()
    assert not list(tmp_path.iterdir()), "the file to look for is gone again"


def test_a_folder_of_that_path_on_another_disk(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (problem,) = ask(tmp_path, storage=str(tmp_path / "theirs")).problems
    assert "does not see the driver's" in problem
    assert "RAYBENCH_STORAGE" in problem


def test_the_file_of_another_run_is_not_ours(tmp_path: Path) -> None:
    assert "does not see" in ask(tmp_path, secret=b"another").problems[0]


def test_a_storage_that_the_node_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: object, name: str) -> bytes:
        raise ResourceError("the storage s3://b/p cannot be read: no credentials")

    with node_work(str(tmp_path), "sweep", NOTHING) as work:
        monkeypatch.setattr("raybench.sweep.nodes.Store.get", away)
        assert look(work).problems == ("the storage s3://b/p cannot be read: no credentials",)


def versions(work: NodeWork, **other: str) -> NodeWork:
    return replace(work, versions={**work.versions, **other})


def test_other_results_are_refused_other_libraries_told(tmp_path: Path) -> None:
    with node_work(str(tmp_path), "sweep", NOTHING) as work:
        refused = look(versions(work, results="2", raybench="0.0.9"))
        told = look(versions(work, torch="1.0"))
    assert "has raybench" in refused.problems[0]
    assert "the driver 0.0.9" in refused.problems[0]
    assert not told.problems
    assert "the driver 1.0: its numbers may differ" in told.remarks[0]


def test_what_the_node_cannot_fetch_ends_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(supplies: Supplies, tell: object) -> None:
        raise ResourceError("weights resnet.safetensors cannot be had here")

    monkeypatch.setattr("raybench.sweep.nodes.fetch_supplies", fetch)
    answer = ask(tmp_path)
    assert answer.problems == ("weights resnet.safetensors cannot be had here",)


def test_a_node_without_raybench_is_named_as_such() -> None:
    error = RuntimeError("ray::look()\nModuleNotFoundError: No module named 'raybench'\n")
    assert "has no raybench" in _why_silent(error).problems[0]
    assert "no space left" in _why_silent(RuntimeError("a\nno space left\n")).problems[0]
