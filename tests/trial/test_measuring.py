"""Timing, memory and neighbours: what every measurement stands on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from raybench.gpus import Gpu
from raybench.trial import memory, neighbours
from raybench.trial.memory import gpu_of, overhead_gb, peak_memory_gb, start_peak, total_memory_gb
from raybench.trial.neighbours import Watch
from raybench.trial.timing import Effort, quantile_ms, time_each, time_together, warm_up

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
H100 = Gpu(0, "GPU-1", "NVIDIA H100", 80.0)


def test_enough_is_often_and_long_or_as_long_as_it_may_take() -> None:
    effort = Effort(warm_up_calls=3, calls=30, seconds=2.0, longest_s=10.0, least_calls=5)
    assert not effort.done(30, 1.9) and not effort.done(29, 2.1) and effort.done(30, 2.0)
    assert not effort.done(4, 11.0) and effort.done(5, 10.0) and not effort.done(5, 9.9)


def test_each_call_is_timed_by_itself() -> None:
    naps = iter([0.001, 0.02, 0.001, 0.001])
    seconds = time_each(lambda: time.sleep(next(naps)), CPU, Effort(0, 4, 0.0, 0.0, 4))
    assert len(seconds) == 4 and max(seconds) == seconds[1] >= 0.02
    assert quantile_ms(seconds, 0.5) < 15 < quantile_ms(seconds, 1.0)


def test_calls_back_to_back_and_warm_up_are_counted() -> None:
    calls: list[int] = []
    assert time_together(lambda: calls.append(1), CPU, 7) > 0 and len(calls) == 7
    warm_up(lambda: calls.append(2), CPU, Effort(3, 1, 0.0, 0.0, 1))
    assert calls.count(2) == 3


def test_a_slow_call_warms_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr("raybench.trial.timing.time.perf_counter", lambda: next(clock))
    calls: list[int] = []
    warm_up(lambda: calls.append(1), CPU, Effort(3, 1, 0.0, 0.0, 1))
    assert len(calls) == 1


def test_peak_memory_is_of_pages_that_are_not_files() -> None:
    start_peak(CPU)
    before = peak_memory_gb(CPU)
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    del block
    after = peak_memory_gb(CPU)
    assert before is not None and after is not None and 0.15 < after - before < 0.4
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not let a process reset its peak")
    start_peak(CPU)
    again = peak_memory_gb(CPU)
    assert again is not None and again < after - 0.15


def test_where_the_system_tells_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    monkeypatch.setattr(memory, "_STATUS", status)
    assert 0 < (peak_memory_gb(CPU) or 0) < 100  # getrusage
    status.write_text("Name:\tpython\nVmHWM:\t  3000000 kB\nRssFile:\t 1000000 kB\n")
    assert peak_memory_gb(CPU) == pytest.approx(2.048)
    status.write_text("Name:\tpython\n")
    assert peak_memory_gb(CPU) is None
    assert peak_memory_gb(MPS) is None and total_memory_gb(MPS) is None


def test_the_machines_memory() -> None:
    kilobytes = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    assert total_memory_gb(CPU) == pytest.approx(kilobytes * 1024 / 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("own", "used", "others", "expected"),
    [
        (2.5, None, None, 0.5),  # the driver knows what is ours
        (None, 9.0, 0, 7.0),  # nobody else is there
        (None, 9.0, 3, 4.0),  # others are: no more than a twentieth of the GPU
        (None, None, None, 4.0),  # no driver to ask: what CUDA says is taken, as bounded
    ],
)
def test_what_a_process_takes_beside_the_allocator(
    monkeypatch: pytest.MonkeyPatch,
    own: float | None,
    used: float | None,
    others: int | None,
    expected: float,
) -> None:
    monkeypatch.setattr(memory, "gpu_of", lambda device: None if used is own is None else H100)
    monkeypatch.setattr(memory, "own_memory_gb", lambda gpu: own)
    monkeypatch.setattr(memory, "used_memory_gb", lambda gpu: used)
    monkeypatch.setattr(memory, "other_processes", lambda gpu, computing: others)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2_000_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda d: (70_000_000_000, 80_000_000_000))
    assert overhead_gb(CUDA) == pytest.approx(expected)
    assert overhead_gb(CPU) == 0


def test_torchs_gpu_is_found_by_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        uuid = "bbb"

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    first, second = Gpu(0, "GPU-aaa", "slow", 8.0), Gpu(1, "GPU-bbb", "fast", 80.0)
    monkeypatch.setattr(memory, "local_gpus", lambda: (first, second))
    assert gpu_of(CUDA) == second and gpu_of(CPU) is None
    monkeypatch.setattr(memory, "local_gpus", lambda: (first,))
    assert gpu_of(CUDA) == first  # the only one there is
    monkeypatch.setattr(memory, "local_gpus", lambda: ())
    assert gpu_of(CUDA) is None


def test_our_own_work_is_no_neighbour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(neighbours, "_STAT", stat)
    stat.write_text("cpu  1000 0 500 90000 10 0 0 0 0 0\n")
    watch = Watch(CPU)
    started, own = time.monotonic(), time.process_time()
    while time.process_time() - own < 0.3:
        sum(range(1000))
    ticks = round(100 * (time.process_time() - own))
    stat.write_text(f"cpu  {1000 + ticks} 0 500 90000 999 0 0 0 0 0\n")  # waiting is no work
    assert time.monotonic() > started and not watch.verdict().shared


def test_others_at_work_are_seen() -> None:
    count = max(2, (os.cpu_count() or 1) // 4)
    watch = Watch(CPU)
    busy = "import time; end = time.time() + 1.5\nwhile time.time() < end: pass"
    workers = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(count)]
    time.sleep(1.2)
    verdict = watch.verdict()
    for worker in workers:
        worker.wait()
    assert verdict.shared and "other processes took" in verdict.seen


def test_a_system_that_tells_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(neighbours, "_STAT", tmp_path / "none")
    assert "cannot be seen" in Watch(CPU).verdict().seen
    monkeypatch.setattr(neighbours, "gpu_of", lambda device: None)
    verdict = Watch(CUDA).verdict()
    assert not verdict.shared and "cannot be seen" in verdict.seen


@pytest.mark.parametrize(
    ("counts", "shared", "words"),
    [
        ([0, 0], False, "no other process on the GPU"),
        ([1, 0], True, "1 other process on the GPU"),
        ([0, 2], True, "2 other processes on the GPU"),
        ([None, 1], True, "1 other process on the GPU"),
    ],
)
def test_neighbours_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, counts: list[int | None], shared: bool, words: str
) -> None:
    left = iter(counts)
    monkeypatch.setattr(neighbours, "gpu_of", lambda device: H100)
    monkeypatch.setattr(neighbours, "other_processes", lambda gpu, computing: next(left))
    verdict = Watch(CUDA).verdict()
    assert (verdict.shared, verdict.seen) == (shared, words)
