"""What is asked of a node, and what it answers; several hosts: ``tests/test_cluster_hosts.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from raybench.errors import ResourceError
from raybench.sweep import nodes
from raybench.sweep.nodes import NodeAnswer, Nodes, NodeWork, _why_silent, look, node_work
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


class FakeRay:
    """Nodes that answer what they are told to, when they are told to, and may go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: list[str] = ["driver"]
        self.answers: dict[str, list[NodeAnswer | Exception]] = {}
        self.asked: list[str] = []
        self.now = 0.0
        monkeypatch.setattr(nodes, "alive_nodes", self._nodes)
        monkeypatch.setattr(nodes, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
        monkeypatch.setattr(nodes, "time", self)
        for name in ("put", "remote", "wait", "get", "get_runtime_context"):
            monkeypatch.setattr(nodes.ray, name, getattr(self, f"_{name}"))

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def _nodes(self) -> list[dict[str, str]]:
        return [{"NodeID": name, "NodeManagerAddress": f"ip-{name}"} for name in self.alive]

    def _put(self, value: object) -> object:
        return value

    def _get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(get_node_id=lambda: "driver")

    def _remote(self, **options: object) -> object:
        def ask(scheduling_strategy: str) -> SimpleNamespace:
            self.asked.append(scheduling_strategy)
            return SimpleNamespace(remote=lambda work: f"{scheduling_strategy}-{len(self.asked)}")

        return lambda function: SimpleNamespace(options=ask)

    def _wait(self, asked: list[str], **options: object) -> tuple[list[str], list[str]]:
        return asked, []

    def _get(self, answer: str) -> NodeAnswer:
        found = self.answers[answer.partition("-")[0]].pop(0)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    return FakeRay(monkeypatch)


@pytest.fixture
def watched_nodes(fake_ray: FakeRay) -> Nodes:
    work = NodeWork("/storage", "marker", b"secret", {}, NOTHING)
    return Nodes(work, lambda text: None)


BUSY = NodeAnswer(("cannot read s3://b/p: busy",), may_pass=True)


def test_every_node_but_the_drivers_is_asked_once(fake_ray: FakeRay, watched_nodes: Nodes) -> None:
    fake_ray.alive += ["a", "b"]
    fake_ray.answers = {"a": [NodeAnswer()], "b": [NodeAnswer()]}
    watched_nodes.check_all(lambda: None)
    assert sorted(fake_ray.asked) == ["a", "b"]


def test_a_local_folder_is_refused_at_once(fake_ray: FakeRay, watched_nodes: Nodes) -> None:
    fake_ray.alive += ["a"]
    fake_ray.answers = {"a": [NodeAnswer(("does not see the driver's /storage",))]}
    with pytest.raises(ResourceError, match="node ip-a does not see"):
        watched_nodes.check_all(lambda: None)
    assert fake_ray.asked == ["a"]


def test_what_passes_is_looked_at_again_and_forgotten(
    fake_ray: FakeRay, watched_nodes: Nodes
) -> None:
    fake_ray.alive += ["a"]
    fake_ray.answers = {"a": [BUSY, NodeAnswer()]}
    watched_nodes.check_all(lambda: None)
    assert fake_ray.asked == ["a", "a"]
    assert fake_ray.now > nodes.AGAIN_S, "not at once"
    assert not watched_nodes.problems


def test_what_stays_ends_the_sweep_after_the_second_look(
    fake_ray: FakeRay, watched_nodes: Nodes
) -> None:
    fake_ray.alive += ["a"]
    fake_ray.answers = {"a": [BUSY, nodes.ray.exceptions.WorkerCrashedError()]}
    with pytest.raises(ResourceError, match="node ip-a does not run tasks"):
        watched_nodes.check_all(lambda: None)
    assert fake_ray.asked == ["a", "a"]


def test_a_node_that_dies_while_it_is_looked_at_is_nobodys_problem(
    fake_ray: FakeRay, watched_nodes: Nodes
) -> None:
    """Its worker is gone before the cluster has noticed that the node is."""
    fake_ray.alive += ["a"]
    fake_ray.answers = {"a": [nodes.ray.exceptions.WorkerCrashedError()]}

    def check() -> None:
        if fake_ray.now > 5:
            fake_ray.alive = ["driver"]

    watched_nodes.check_all(check)
    assert fake_ray.asked == ["a"]
    assert not watched_nodes.problems
