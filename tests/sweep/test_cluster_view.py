"""Why nothing runs, in words: what is asked for, what is there, what is on its way, what to do."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.sweep import inventory
from raybench.sweep.cluster_view import Autoscaler, ClusterView, _autoscaler_of, what_waits
from raybench.sweep.packing import Shape
from raybench.sweep.stall import StallWatch

QUARTER = {"CPU": 1.0, "GPU": 0.25}
HEAD = ("10.0.0.4", {"CPU": 0.0})
WORKER = ("10.0.0.5", {"CPU": 8.0, "GPU": 1.0})


def words(view: ClusterView) -> str:
    return "; ".join(what_waits("3 trials wait, each", QUARTER, view))


def test_names_what_is_asked_for_and_every_node() -> None:
    said = words(ClusterView([HEAD, WORKER], {"CPU": 2.0}))
    assert "3 trials wait, each for 1 CPU and 0.25 GPU" in said
    assert "10.0.0.4 (0 CPU, 0 GPU), 10.0.0.5 (8 CPU, 1 GPU)" in said


def test_a_node_that_others_hold() -> None:
    said = words(ClusterView([HEAD, WORKER], {"CPU": 2.0}))
    assert "large enough, but held by others; free: 2 CPU" in said
    assert "no node is large enough" not in said


def test_without_an_autoscaler_the_user_adds_a_node() -> None:
    said = words(ClusterView([HEAD]))
    assert "no autoscaler" in said
    assert "ray start --address" in said


def test_nodes_on_their_way_need_nothing_done() -> None:
    said = words(ClusterView([HEAD], {}, Autoscaler(starting=("2 x gpu_spot (g5.2xlarge)",))))
    assert "being started: 2 x gpu_spot (g5.2xlarge)" in said
    assert "add" not in said


def test_the_clouds_reason_is_told() -> None:
    failed = Autoscaler(failed=("gpu_spot (g5.2xlarge): InsufficientInstanceCapacity",))
    assert "could not be started: gpu_spot (g5.2xlarge): Insufficient" in words(
        ClusterView([HEAD], {}, failed)
    )


def test_what_no_node_type_can_hold() -> None:
    said = words(ClusterView([HEAD], {}, Autoscaler(infeasible=({"CPU": 1.0, "GPU": 0.25},))))
    assert "no node type of the cluster file is large enough" in said


def test_a_placement_groups_own_names_do_not_count() -> None:
    scaler = Autoscaler(infeasible=({**QUARTER, "bundle_group_0_1f": 0.001},))
    assert scaler.cannot_hold(QUARTER)
    assert not scaler.cannot_hold({"CPU": 1.0, "GPU": 1.0})


def test_many_nodes_are_counted_not_listed() -> None:
    view = ClusterView([(f"10.0.0.{i}", {"CPU": 8.0}) for i in range(40)])
    assert "and 34 more" in words(view)
    assert "10.0.0.39" not in words(view)


def test_reads_rays_own_message() -> None:
    """Real protobuf messages, so that a renamed field shows."""
    from ray.core.generated.autoscaler_pb2 import AutoscalingState

    state = AutoscalingState(autoscaler_state_version=7)
    assert _autoscaler_of(AutoscalingState()) is None
    state.pending_instances.add(ray_node_type_name="gpu_spot", instance_type_name="g5.2xlarge")
    state.pending_instance_requests.add(ray_node_type_name="cpu", count=3)
    state.failed_instance_requests.add(ray_node_type_name="big", reason="no quota")
    state.infeasible_resource_requests.add(resources_bundle={"GPU": 8.0})
    state.infeasible_gang_resource_requests.add().requests.add(resources_bundle={"CPU": 512.0})
    scaler = _autoscaler_of(state)
    assert scaler == Autoscaler(
        starting=("1 x gpu_spot (g5.2xlarge)", "3 x cpu"),
        failed=("big: no quota",),
        infeasible=({"GPU": 8.0}, {"CPU": 512.0}),
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("raybench.sweep.stall.time", made)
    monkeypatch.setattr("raybench.sweep.inventory.time", made)
    return made


def watch(said: list[str]) -> StallWatch:
    view = ClusterView([HEAD])
    return StallWatch(
        lambda: view, lambda shape: {"CPU": shape.cpus, "GPU": shape.gpus}, said.append
    )


def test_a_stall_is_told_after_five_minutes_then_ever_more_seldom(clock: Clock) -> None:
    said: list[str] = []
    stall = watch(said)
    for minute in range(36):
        clock.now = 1000.0 + 60 * minute
        stall.look([Shape(1.0, 0.25), Shape(1.0, 0.25), Shape(1.0, 1.0)], running=0)
    assert [text.split(":")[0] for text in said] == [
        "no trial has started for 5 min",
        "no trial has started for 15 min",
        "no trial has started for 35 min",
    ]
    assert "2 trials wait, each for 1 CPU and 0.25 GPU" in said[0], "the shape that most wait for"


def test_as_long_as_one_runs_or_none_waits_there_is_nothing_to_tell(clock: Clock) -> None:
    said: list[str] = []
    stall = watch(said)
    for minute in range(60):
        clock.now = 1000.0 + 60 * minute
        stall.look([Shape(1.0, 0.25)], running=1 if minute % 4 else 0)
        stall.look([], running=0)
    assert not said


def node(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": resources}


def test_room_for_one_node_more_also_when_all_are_gone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nothing would be pending, and the autoscaler would start nothing."""
    nodes = [node(CPU=2.0), node(CPU=8.0, GPU=1.0, memory=16e9), node(CPU=8.0, GPU=1.0)]
    monkeypatch.setattr(inventory, "alive_nodes", lambda: nodes)
    capacity = inventory.cluster_capacity(elastic=True, max_gpus=None)
    assert (capacity().cpus, capacity().gpus) == (1.5 * 18 + 8, 1.5 * 2 + 1)
    nodes.clear()
    clock.now += inventory.CAPACITY_AGE_S + 1
    assert (capacity().cpus, capacity().gpus, capacity().memory_gb) == (8.0, 1.0, 16.0)


def test_a_fixed_cluster_offers_what_it_has(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        node(CPU=8.0, GPU=2.0, **{"accelerator_type:L4": 1.0}),
        node(CPU=8.0, GPU=4.0, **{"accelerator_type:T4": 1.0}),
    ]
    monkeypatch.setattr(inventory, "alive_nodes", lambda: nodes)
    capacity = inventory.cluster_capacity(elastic=False, max_gpus=3.0)()
    assert (capacity.cpus, capacity.gpus) == (16.0, 3.0)
    assert capacity.by_accelerator == {"L4": 2.0, "T4": 4.0}
