"""Shapes as Ray sees them: measurements in workers, kinds of GPUs kept apart, memory bounded."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raybench.measurements import Footprint
from raybench.plan import make_plan
from raybench.records import EndRecord, EpochRecord
from raybench.spec import BackboneSpec, Recipe
from raybench.sweep.device import Kind
from raybench.sweep.lease import acquire
from raybench.sweep.ledger import Ledger
from raybench.sweep.measuring import Request
from raybench.sweep.packing import Fit, Packing, Shape
from raybench.sweep.reader import SweepReader
from raybench.sweep.searcher import SweepSearcher
from raybench.sweep.tables import open_engine
from raybench.sweep.trial_files import TrialFiles
from tests.specs import pairs_spec

pytestmark = pytest.mark.ray

CPU = Kind("cpu", 1, 8.0, 2.0)


@pytest.fixture
def private_ray() -> Iterator[None]:
    from raybench.sweep.ray_session import ray_session

    with ray_session(None, num_cpus=2):
        yield


def request_for(name: str) -> Request:
    recipe = Recipe(image_size=32, batch_size=16)
    return Request(name, CPU, BackboneSpec(name=name, weights="none"), 10, recipe, cpus=1)


@pytest.mark.usefixtures("private_ray")
def test_measured_in_a_worker_of_its_own() -> None:
    from raybench.sweep.ray_measure import measure_on_ray

    requests = [request_for("timm:test_resnet"), request_for("timm:no_such_model")]
    answers = measure_on_ray(requests, lambda: None, lambda text: None)
    found = {request.key: answer for request, answer in answers}
    good, bad = found["timm:test_resnet"], found["timm:no_such_model"]
    assert isinstance(good, Footprint)
    assert good.batch_size == 16
    assert good.train_s > good.evaluate_s > 0
    assert good.peak_memory_gb is not None
    assert 0.1 < good.peak_memory_gb < 4
    assert isinstance(bad, str)
    assert "no_such_model" in bad


@pytest.mark.usefixtures("private_ray")
def test_kinds_of_a_machine_without_gpus() -> None:
    from raybench.sweep.inventory import cluster_capacity, device_kinds

    (kind,) = device_kinds("auto")
    assert (kind.name, kind.is_gpu, kind.cores) == ("cpu", False, 2.0)
    assert 0.5 < kind.memory_gb < 10_000
    capacity = cluster_capacity(elastic=False, max_gpus=None)()
    assert (capacity.cpus, capacity.gpus) == (2.0, 0.0)
    assert capacity.memory_gb == pytest.approx(kind.memory_gb)


@pytest.mark.nightly
@pytest.mark.usefixtures("private_ray")
def test_trials_find_workers_that_have_imported_everything() -> None:
    """Also when the preflight takes longer than Ray keeps idle workers, beside the stop signal."""
    import ray

    from raybench.sweep.ray_runner import _ActorClasses
    from raybench.sweep.stop_signal import make_signal

    class Probe:
        def has_torch(self) -> bool:
            import sys

            return "torch" in sys.modules

    signal = make_signal()
    time.sleep(12)
    started = time.monotonic()
    actors = [_ActorClasses().get(Probe).options(num_cpus=1).remote() for _ in range(2)]
    assert ray.get([actor.has_torch.remote() for actor in actors]) == [True, True]
    assert time.monotonic() - started < 3, "nothing was started or imported for them"
    assert signal is not None


@contextlib.contextmanager
def two_kinds() -> Iterator[None]:
    """A node with a large GPU and one with a small one; the driver's has none."""
    from ray.cluster_utils import Cluster

    from raybench.sweep.ray_session import ray_session

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for name in ("L", "S"):
        cluster.add_node(num_cpus=4, num_gpus=1, resources={f"accelerator_type:{name}": 1})
    try:
        with ray_session(cluster.address):
            yield
    finally:
        cluster.shutdown()


@pytest.mark.nightly
@pytest.mark.cluster
def test_trials_run_on_the_kind_they_were_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pair takes a quarter of a large GPU or half of a small one: 4 and 2 at once."""
    import ray

    from raybench.sweep import ray_runner, trainable
    from raybench.sweep.inventory import cluster_capacity, device_kinds

    class QuickActor(trainable.TrialActor):  # type: ignore[misc]
        def _begin(self, config: dict[str, Any]) -> None:
            self._records = iter(_quick_records())

    spec = pairs_spec(2, 5, final={"seeds": [0]})
    plan = make_plan(spec)
    shapes = [Shape(0.25, 0.25, accelerator="L"), Shape(0.25, 0.5, accelerator="S")]
    fits = {pair.id: [Fit(f"{pair.id}{shape}", shape) for shape in shapes] for pair in plan.pairs}
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = open_engine(url, create=True)
    lease = acquire(engine, spec.name)
    ledger = Ledger(url, engine, spec, lease)
    ledger.register(plan)
    reader = SweepReader(engine, spec.name)
    monkeypatch.setattr(ray_runner, "TrialActor", QuickActor)
    ray.cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["x"]))
    started: list[Shape] = []
    with two_kinds():
        kinds = device_kinds("auto")
        assert {kind.accelerator for kind in kinds} == {"L", "S"}
        assert all(kind.is_gpu and kind.count == 1 for kind in kinds)
        searcher = SweepSearcher(
            plan, ledger, reader.snapshot(), Packing(fits), cluster_capacity(False, None),
            lambda: math.inf, TrialFiles(tmp_path, spec, lease.attempt),
        )  # fmt: skip

        def configure(assignment: Any) -> Any:
            started.append(assignment.shape)
            return _Config()

        def wait(thread: threading.Thread) -> None:
            thread.join(timeout=0.1)

        ray_runner.run_on_ray(searcher, configure, "kinds", wait)
    states = {t.state for pair in reader.snapshot().pairs for t in pair.trials}
    lease.release()
    engine.dispose()
    assert states == {"complete"}
    assert set(started) == set(shapes)


class _Config:
    def to_dict(self) -> dict[str, Any]:
        return {}


def _quick_records() -> Iterator[EpochRecord | EndRecord]:
    best = {"val/accuracy": 0.5, "val/nll": 0.5}
    for epoch in (1, 2):
        time.sleep(0.2)
        yield EpochRecord(epoch, 0, 0.1, time.time(), 0.2, 1.0, 1, best)
    yield EndRecord("complete", time.time(), best_epoch=2, best=best, test={"test/accuracy": 0.5})
