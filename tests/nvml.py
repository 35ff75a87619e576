"""A stand-in for ``pynvml``: one machine's GPUs as a table, with what may be missing or broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """What the driver raises."""


def gpu(uuid: str, **facts: Any) -> dict[str, Any]:
    """A GPU; a value that is an exception is raised when asked for."""
    return {
        "uuid": uuid,
        "name": "NVIDIA Test",
        "mode": 0,
        "total": 80_000_000_000,
        "used": 3_000_000_000,
        "energy": 5_000_000,
        "processes": [],
        "mig": NVMLError("Not Supported"),
        "slices": {},
    } | facts


class FakeNvml:
    """``sys.modules["pynvml"]``; counts how often it was opened and closed."""

    NVMLError = NVMLError
    NVML_COMPUTEMODE_EXCLUSIVE_THREAD = 1
    NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, gpus: Sequence[Mapping[str, Any]], driver: bool = True) -> None:
        self.gpus, self.driver, self.open = list(gpus), driver, 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Mapping[str, Any]:
        if "lost" in self.gpus[index]:
            raise NVMLError("GPU is lost")
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Mapping[str, Any]:
        slices = [part for found in self.gpus for part in found["slices"].values()]
        for handle in (*self.gpus, *slices):
            if handle["uuid"] == uuid:
                return handle
        raise NVMLError("Not Found")

    def nvmlDeviceGetMigMode(self, handle: Mapping[str, Any]) -> list[int]:
        return [_answer(handle, "mig"), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Mapping[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Mapping[str, Any], index: int) -> Any:
        if index not in handle["slices"]:
            raise NVMLError("Not Found")
        return handle["slices"][index]

    def nvmlDeviceGetMemoryInfo(self, handle: Mapping[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(total=_answer(handle, "total"), used=_answer(handle, "used"))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Mapping[str, Any]) -> list[Any]:
        return [SimpleNamespace(**process) for process in _answer(handle, "processes")]


def _answer(handle: Mapping[str, Any], key: str) -> Any:
    if isinstance(handle[key], Exception):
        raise handle[key]
    return handle[key]


def _getter(key: str) -> Callable[[FakeNvml, Mapping[str, Any]], Any]:
    return lambda self, handle: _answer(handle, key)


for _name, _key in {
    "UUID": "uuid",
    "Name": "name",
    "ComputeMode": "mode",
    "TotalEnergyConsumption": "energy",
}.items():
    setattr(FakeNvml, f"nvmlDeviceGet{_name}", _getter(_key))
