"""What the driver tells of the GPUs: all of them, some of them, none, or nothing at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from raybench.gpus import (
    Gpu,
    energy_j,
    local_gpus,
    other_processes,
    own_memory_gb,
    used_memory_gb,
)
from tests.nvml import FakeNvml, NVMLError, gpu

Install = Callable[..., FakeNvml]

A, B, C = "GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Install:
    """``driver(gpu(...), visible="0")`` in place of NVML; every session must have been closed."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    made: list[FakeNvml] = []

    def install(
        *gpus: dict[str, Any], visible: str | None = None, present: bool = True
    ) -> FakeNvml:
        made.append(FakeNvml(gpus, present))
        monkeypatch.setitem(sys.modules, "pynvml", made[-1])
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return made[-1]

    yield install
    assert all(fake.open == 0 for fake in made)


def uuids() -> list[str]:
    return [found.uuid for found in local_gpus()]


def asked(found: Gpu) -> list[float | int | None]:
    return [question(found) for question in (energy_j, used_memory_gb, own_memory_gb)] + [
        other_processes(found)
    ]


def test_without_a_driver_there_is_nothing_and_no_exception(driver, monkeypatch):
    driver(gpu(A), present=False)
    assert local_gpus() == () and asked(Gpu(0, A, "NVIDIA Test", 80)) == [None] * 4
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what an import of it then raises
    assert local_gpus() == () and asked(Gpu(0, A, "NVIDIA Test", 80)) == [None] * 4


def test_a_gpu_says_what_it_is(driver):
    driver(gpu(A), gpu(B, mode=3), gpu(C, mode=1))
    first, *others = local_gpus()
    assert first == Gpu(0, A, "NVIDIA Test", 80.0, exclusive=False, mig=False)
    assert [found.exclusive for found in others] == [True, True]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0", [A]),
        ("2,0", [C, A]),
        (f"{B}", [B]),
        ("GPU-cc", [C]),
        ("GPU-aa", []),  # two begin so: CUDA takes none
        ("", []),
        ("-1", []),
        ("1,-1,0", [B]),
        ("1, 9, 0", [B]),
        ("nonsense", []),
        ("none", []),
    ],
)
def test_what_the_variable_leaves(driver, visible, expected):
    driver(gpu(A), gpu(B), gpu(C), visible=visible)
    assert uuids() == expected


CUT = gpu(
    A,
    mig=1,
    slices={
        0: gpu("MIG-11", name="NVIDIA Test MIG 1g.10gb", total=10_000_000_000),
        3: gpu("MIG-22", mode=NVMLError("Not Supported")),
    },
)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["MIG-11", "MIG-22", B]),
        ("0", ["MIG-11", "MIG-22"]),
        (A, ["MIG-11", "MIG-22"]),
        ("MIG-22", ["MIG-22"]),
        ("MIG-22,1", ["MIG-22", B]),
        ("MIG-33", []),
    ],
)
def test_slices_of_a_gpu_that_is_cut_up(driver, visible, expected):
    driver(CUT, gpu(B, mig=0), visible=visible)
    assert uuids() == expected


def test_a_slice_knows_its_gpu_and_its_own_memory(driver):
    driver(gpu(B), CUT, visible="MIG-11")
    assert local_gpus() == (Gpu(1, "MIG-11", "NVIDIA Test MIG 1g.10gb", 10.0, mig=True),)
    assert energy_j(local_gpus()[0]) is None  # the counter is the whole GPU's


def test_energy_and_memory_in_our_units(driver):
    driver(gpu(A, energy=2_500, used=1_500_000_000))
    (found,) = local_gpus()
    assert energy_j(found) == 2.5 and used_memory_gb(found) == 1.5


def test_a_gpu_without_a_counter_has_no_energy_rather_than_none_used(driver):
    driver(gpu(A, energy=NVMLError("Not Supported")))
    (found,) = local_gpus()
    assert energy_j(found) is None and used_memory_gb(found) == 3.0


def test_processes_other_than_ours(driver):
    mine = {"pid": os.getpid(), "usedGpuMemory": 700_000_000}
    fake = driver(gpu(A, processes=[mine, {"pid": 1}, {"pid": 2}]))
    (found,) = local_gpus()
    assert other_processes(found) == 2 and own_memory_gb(found) == 0.7
    fake.gpus[0]["processes"] = [mine]
    assert other_processes(found) == 0
    # In a container ours stands there under another number.
    fake.gpus[0]["processes"] = [{"pid": 1}, {"pid": 2}]
    assert other_processes(found) == 2 and other_processes(found, computing=True) == 1
    assert own_memory_gb(found) is None
    fake.gpus[0]["processes"] = []
    assert other_processes(found, computing=True) == 0


def test_what_breaks_in_the_middle_is_left_out(driver):
    driver(
        gpu(A, lost=True),
        gpu(B, total=NVMLError("GPU is lost")),
        gpu(C, processes=NVMLError("Unknown Error")),
        visible="0,1,2",
    )
    assert uuids() == []  # CUDA, too, stops at the first that it cannot use
    driver(gpu(A, lost=True), gpu(B, total=NVMLError("GPU is lost")), gpu(C))
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    assert uuids() == [C]


def test_a_gpu_that_falls_off_the_bus_answers_nothing(driver):
    fake = driver(gpu(A))
    (found,) = local_gpus()
    fake.gpus.clear()
    assert asked(found) == [None] * 4


def test_the_real_module_has_everything_that_is_asked_of_it():
    import pynvml

    ours = {name for name in dir(FakeNvml) if name.startswith(("nvml", "NVML"))}
    assert ours >= {"nvmlInit", "nvmlDeviceGetTotalEnergyConsumption"}
    assert all(hasattr(pynvml, name) for name in ours)
    for name in ("NVML_COMPUTEMODE_EXCLUSIVE_PROCESS", "NVML_COMPUTEMODE_EXCLUSIVE_THREAD"):
        assert getattr(pynvml, name) == getattr(FakeNvml, name)
