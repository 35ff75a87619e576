"""What trials ask for: from measurements, from failures, from what kind of device is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.errors import ResourceError, TooLargeError
from raybench.gpus import Gpu, why_alone
from raybench.measurements import Footprint
from raybench.plan import make_plan
from raybench.space import Range
from raybench.spec import SweepSpec
from raybench.sweep.assignment import Capacity
from raybench.sweep.device import Kind
from raybench.sweep.footprints import Footprints
from raybench.sweep.lease import acquire
from raybench.sweep.measuring import Answer, Request, pack
from raybench.sweep.packing import HEADROOM, SHARES, Fit, Packing, Shape, fitting_share
from raybench.sweep.tables import open_engine
from tests.specs import pairs_spec

SMALL = Kind("NVIDIA Small", 2, 8.0, 16.0, accelerator="S")
LARGE = Kind("NVIDIA Large", 4, 80.0, 16.0, accelerator="L")


def footprint(peak_gb: float | None, total_gb: float = 80.0, **changes: Any) -> Footprint:
    made = Footprint(
        backbone="timm:x", device="NVIDIA Large", precision="bf16", batch_size=64, image_size=224,
        threads=1, accumulation=1, train_s=1e-3, evaluate_s=3e-4, peak_memory_gb=peak_gb,
        overhead_gb=0.5, total_memory_gb=total_gb, at=1.7e9,
    )  # fmt: skip
    return replace(made, **changes)


def spec_with(pairs: int = 2, **resources: Any) -> SweepSpec:
    spec = pairs_spec(pairs, 2)
    wanted = spec.resources.model_copy(update={"gpus": "auto"} | resources)
    return spec.model_copy(update={"resources": wanted})


class Bench:
    """Pretends to measure: ``peaks`` in GB by the kind's name."""

    def __init__(self, **peaks: float) -> None:
        self.peaks, self.requests = peaks, list[Request]()

    def __call__(self, requests: Sequence[Request]) -> Iterable[tuple[Request, Answer]]:
        for request in requests:
            self.requests.append(request)
            peak = self.peaks.get(request.kind.name.split()[-1])
            total = request.kind.memory_gb
            yield request, "no such thing" if peak is None else footprint(peak, total)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., tuple[Packing, list[str]]]]:
    """``make(spec, kinds, bench)`` packs in one home, attempt after attempt."""
    with contextlib.ExitStack() as stack:
        engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
        stack.callback(engine.dispose)

        def run(
            spec: SweepSpec, kinds: Sequence[Kind], bench: Bench, max_gpus: float | None = None
        ) -> tuple[Packing, list[str]]:
            lease = acquire(engine, spec.name)
            stack.callback(lease.release)
            plan, told = make_plan(spec), list[str]()
            classes = {pair.id: 10 for pair in plan.pairs}
            store = Footprints(engine, lease)
            packing = pack(plan, kinds, classes, store, bench, max_gpus, told.append)
            lease.release()
            return packing, told

        yield run


@given(st.floats(0.01, 200), st.floats(4, 200), st.floats(0, 3), st.floats(4, 200))
def test_share_holds_what_was_measured(
    peak: float, total: float, overhead: float, least: float
) -> None:
    """On the smallest GPU of the kind as well as on the one that was measured."""
    found = footprint(peak, total, overhead_gb=overhead)
    share = fitting_share(found, least)
    assert share in SHARES
    needed, total = HEADROOM * peak + overhead, min(total, least)
    if share < 1:
        assert needed <= share * total
    smaller = [s for s in SHARES if s < share]
    assert all(needed > s * total for s in smaller), "the smallest that holds it"


@given(st.sampled_from(SHARES), st.floats(0, 0.4))
def test_cap_leaves_room_for_what_torch_does_not_count(share: float, overhead: float) -> None:
    cap = Fit("k", Shape(1, share), overhead=overhead).memory_fraction
    if share == 1:
        assert cap is None
    else:
        assert cap is not None
        assert cap > 0
        assert cap + overhead <= share + 1e-9 or cap == 0.01


def test_measured_once_and_kept(make: Callable[..., Any]) -> None:
    bench = Bench(Large=7.0)
    spec = spec_with()
    packing, told = make(spec, [replace(LARGE, accelerator="")], bench)
    pairs = make_plan(spec).pairs
    assert [packing.fits(pair)[0].shape for pair in pairs] == [Shape(1, 0.125)] * 2
    assert len(bench.requests) == 2
    assert len(told) == 1
    again, told = make(spec, [replace(LARGE, accelerator="")], bench)
    assert again.fits(pairs[0]) == packing.fits(pairs[0])
    assert len(bench.requests) == 2
    assert told == []


def test_measured_as_it_will_run(make: Callable[..., Any]) -> None:
    """The largest batch that may be tried; not the weights, which cost a download."""
    spec = spec_with(1)
    tuned = spec.model_copy(
        update={"space": spec.space | {"batch_size": Range(default=4, low=2, high=16)}}
    )
    bench = Bench(Large=7.0)
    make(tuned, [LARGE], bench)
    (request,) = bench.requests
    assert request.recipe.batch_size == 16
    assert request.backbone.weights == "none"
    assert request.classes >= 10


def test_kinds_are_keyed_apart(make: Callable[..., Any]) -> None:
    bench = Bench(Large=7.0, Small=3.0)
    packing, _ = make(spec_with(1), [LARGE, SMALL], bench)
    (pair,) = make_plan(spec_with(1)).pairs
    assert [fit.shape for fit in packing.fits(pair)] == [
        Shape(1, 0.125, accelerator="L"),
        Shape(1, 0.5, accelerator="S"),
    ]


def test_room_is_counted_by_kind() -> None:
    capacity = Capacity(16, 6, by_accelerator={"L": 4, "S": 2})
    small = Shape(1, 1, accelerator="S")
    assert capacity.holds([small] * 2)
    assert not capacity.holds([small] * 3)
    assert capacity.holds([*[small] * 2, Shape(1, 1, accelerator="L")])
    assert not Capacity(16, 0, memory_gb=10).holds([Shape(1, 0, 6.0)] * 2)


@pytest.mark.parametrize("why", ["in exclusive-process mode", "a MIG slice"])
def test_one_trial_each_where_sharing_is_not_allowed(make: Callable[..., Any], why: str) -> None:
    alone = replace(LARGE, shareable=False, why=why)
    for gpus in ("auto", 0.25):
        bench, spec = Bench(), spec_with(gpus=gpus)
        packing, told = make(spec, [alone], bench)
        assert {packing.fits(p)[0].shape.gpus for p in make_plan(spec).pairs} == {1.0}
        assert [why in line for line in told] == [True], "said once"
        assert bench.requests == []


def test_what_cannot_be_measured_takes_a_whole_gpu(make: Callable[..., Any]) -> None:
    packing, told = make(spec_with(1), [LARGE], Bench())
    (pair,) = make_plan(spec_with(1)).pairs
    assert packing.fits(pair)[0].shape.gpus == 1
    assert "no such thing" in told[-1]


def test_a_kind_with_too_few_cores_is_left_alone(make: Callable[..., Any]) -> None:
    """A trial would wait there for ever."""
    spec = spec_with(1, cpus=8)
    packing, told = make(spec, [LARGE, replace(SMALL, cores=4.0)], Bench(Large=7.0, Small=3.0))
    (pair,) = make_plan(spec).pairs
    assert [fit.shape.accelerator for fit in packing.fits(pair)] == ["L"]
    assert any("NVIDIA Small" in line and "4 cores" in line for line in told)


def test_what_does_not_fit_the_small_kind_goes_to_the_large_one(
    make: Callable[..., Any],
) -> None:
    class Half(Bench):
        def __call__(self, requests: Sequence[Request]) -> Iterable[tuple[Request, Answer]]:
            for request, answer in super().__call__(requests):
                small = request.kind.name == SMALL.name
                yield request, TooLargeError("not even in 8 parts") if small else answer

    spec, bench = spec_with(1), Half(Large=7.0, Small=7.0)
    (pair,) = make_plan(spec).pairs
    for _ in range(2):
        packing, _ = make(spec, [SMALL, LARGE], bench)
        assert [fit.shape.accelerator for fit in packing.fits(pair)] == ["L"]
        assert len(bench.requests) == 2, "asked once, also what does not fit"
    alone, _ = make(spec, [SMALL], bench)
    (fit,) = alone.fits(pair)
    assert (fit.shape.gpus, fit.accumulation) == (1.0, 8), "the trial says so itself"
    assert not alone.grow(fit)


def test_out_of_memory_on_one_kind_moves_to_the_other() -> None:
    pair = make_plan(spec_with(1)).pairs[0]
    small, large = (Fit("k", Shape(1, 1, accelerator=name)) for name in "SL")
    packing = Packing({pair.id: [small, large]})
    tries = 0
    while (fit := packing.fits(pair)[0]).shape.accelerator == "S":
        assert packing.grow(fit)
        tries += 1
    assert tries == 4
    while packing.grow(fit):
        fit = packing.fits(pair)[0]
    assert fit.accumulation == 8, "and ends there"


def test_pairs_that_are_done_are_not_measured(tmp_path: Path) -> None:
    spec, bench = spec_with(2), Bench(Large=7.0)
    plan = make_plan(spec)
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    lease = acquire(engine, spec.name)
    classes = {pair.id: 10 for pair in plan.pairs}
    done = {plan.pairs[0].id}
    pack(plan, [LARGE], classes, Footprints(engine, lease), bench, None, lambda text: None, done)
    lease.release()
    engine.dispose()
    assert [request.backbone for request in bench.requests] == [plan.pairs[1].backbone]


def test_logical_gpus_are_not_measured(make: Callable[..., Any]) -> None:
    bench = Bench()
    packing, _ = make(spec_with(1), [Kind("GPU", 4, 0.0, 8.0)], bench)
    assert packing.fits(make_plan(spec_with(1)).pairs[0])[0].shape.gpus == 1
    assert bench.requests == []


def test_failures_are_shared_and_remembered(make: Callable[..., Any]) -> None:
    """Two subsets of one data set train the same network: what one learns the other knows."""
    spec = spec_with(1)
    both = spec.model_copy(update={"subsets": ("full", "50%")})
    bench = Bench(Large=7.0)
    packing, _ = make(both, [LARGE], bench)
    assert len(bench.requests) == 1
    first, second = make_plan(both).pairs
    used = packing.fits(first)[0]
    assert packing.grow(used)
    assert packing.fits(second)[0].shape.gpus == 0.25
    assert packing.grow(used), "a sibling that failed with less is tried with what is known now"
    assert packing.fits(second)[0].shape.gpus == 0.25
    again, _ = make(both, [LARGE], bench)
    assert again.fits(second)[0] == packing.fits(second)[0]


def test_grows_until_nothing_is_left(make: Callable[..., Any]) -> None:
    fit, seen = Fit("k", Shape(1, 0.5)), []
    packing = Packing({"p": [fit]}, seen.append)
    while packing.grow(fit):
        fit = seen[-1]
    assert [(f.shape.gpus, f.accumulation) for f in seen] == [(1, 1), (1, 2), (1, 4), (1, 8)]


def test_cpu_grows_memory_then_micro_batches() -> None:
    fit: Fit | None = Fit("k", Shape(1, 0), most_memory_gb=16)
    steps = []
    while fit is not None and (fit := fit.larger()) is not None:
        steps.append((fit.shape.memory_gb, fit.accumulation))
    assert steps == [(8, 1), (16, 1), (16, 2), (16, 4), (16, 8)]


def test_cpu_memory_is_measured_only_where_it_could_bind(make: Callable[..., Any]) -> None:
    bench = Bench(cpu=3.0)
    spec = spec_with(1)
    (pair,) = make_plan(spec).pairs
    packing, _ = make(spec, [Kind("cpu", 1, 200.0, 4.0)], bench)
    assert packing.fits(pair)[0].shape == Shape(1, 0)
    assert bench.requests == []
    packing, _ = make(spec, [Kind("cpu", 1, 8.0, 64.0)], bench)
    assert packing.fits(pair)[0].shape == Shape(1, 0, pytest.approx(3.3))
    assert len(bench.requests) == 1


def test_max_gpus_bounds_the_share(make: Callable[..., Any]) -> None:
    spec = spec_with(1)
    packing, _ = make(spec, [LARGE], Bench(Large=60.0), max_gpus=0.5)
    fit = packing.fits(make_plan(spec).pairs[0])[0]
    assert fit.shape.gpus == 0.5
    more = fit.larger()
    assert more is not None
    assert (more.shape.gpus, more.accumulation) == (0.5, 2)


@pytest.mark.parametrize(
    ("resources", "kind", "max_gpus", "words"),
    [
        ({"gpus": 0.5}, Kind("cpu", 1, 8.0, 4.0), None, "resources.gpus=0"),
        ({"cpus": 8}, Kind("cpu", 1, 8.0, 4.0), None, "resources.cpus=4"),
        ({}, LARGE, 0.0, "resources.gpus=0"),
        ({"gpus": 1.0}, LARGE, 0.5, "--max-gpus 0.5"),
    ],
)
def test_more_than_there_is(
    make: Callable[..., Any],
    resources: dict[str, Any],
    kind: Kind,
    max_gpus: float | None,
    words: str,
) -> None:
    with pytest.raises(ResourceError, match=words.replace("=", ".")):
        make(spec_with(**resources), [kind], Bench(), max_gpus)


def test_why_alone() -> None:
    plain = Gpu(0, "GPU-1", "NVIDIA Large", 80.0, exclusive=False, mig=False)
    assert why_alone([plain]) == ""
    assert "exclusive" in why_alone([plain, replace(plain, exclusive=True)])
    assert "MIG" in why_alone([replace(plain, mig=True)])
