"""A real autoscaler, from no node to two and back over a lost one; its nodes are processes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts import Host, cluster, why_not
from tests.hosts.elastic import start_elastic_ray

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(why_not() is not None, reason=why_not() or "hosts can be made"),
]
ENVIRON = {"RAY_AUTH_MODE": "disabled", "RAYBENCH_CACHE": "/root/cache"}
SWEEP = textwrap.dedent(
    """
    name: elastic
    backbones:
      - {name: 'timm:test_resnet', weights: none}
      - {name: 'timm:test_vit', weights: none}
    datasets: [digits]
    recipe: {image_size: 32, batch_size: 64, epochs: 2}
    space: {lr: {default: 1.0e-3, low: 1.0e-4, high: 1.0e-2, log: true}}
    search: {sampler: random, early_stop: none}
    budget: {trials: 2}
    final: {seeds: [0]}
    resources: {cpus: 1, gpus: 1}
    """
)


@pytest.fixture(scope="module")
def ray_from_nothing() -> Iterator[tuple[Host, str]]:
    with cluster(["head"]) as hosts:
        head = hosts["head"]
        head.path("/root/elastic.yaml").write_text(SWEEP)
        yield head, start_elastic_ray(head, {"CPU": 1, "GPU": 1}, most=2, environ=ENVIRON)


def raybench(head: Host, *words: str, code: int = 0) -> tuple[str, str]:
    done = head.run("raybench", *words, environ=ENVIRON, timeout_s=150, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def run(head: Host, address: str, *words: str, code: int = 0) -> str:
    """What it says on stderr."""
    common = ("--home", "/root/home", "--no-tracking", "--address", address)
    return raybench(head, "run", "/root/elastic.yaml", *common, *words, code=code)[1]


def status(head: Host) -> Any:
    return json.loads(raybench(head, "status", "--home", "/root/home", "--json")[0])


def test_the_sweep_makes_nodes_come_and_fills_them(ray_from_nothing: tuple[Host, str]) -> None:
    head, address = ray_from_nothing
    assert len(head.processes("raylet/raylet")) == 1
    said = run(head, address)
    assert "no node with 1 CPU and 1 GPU yet: waiting for its autoscaler" in said
    assert len(head.processes("raylet/raylet")) == 3, "one trial runs on each of two nodes"
    pairs = status(head)["pairs"]
    assert [pair["state"] for pair in pairs] == ["done", "done"]
    assert all(pair["trials"]["complete"] == 2 for pair in pairs)


def test_more_than_any_node_type_has_is_refused_in_words(
    ray_from_nothing: tuple[Host, str],
) -> None:
    head, address = ray_from_nothing
    said = run(head, address, "--set", "resources.cpus=4", "--set", "name=large", code=3)
    assert "no node type of this cluster has 4 CPU and 1 GPU" in said
    assert "--set resources.gpus=0" in said
