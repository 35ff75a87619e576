"""Footprints and profiles as they would be measured, for tests that measure nothing."""

from __future__ import annotations

from typing import Any

from raybench.measurements import Footprint, Profile, Timing

VERSIONS = {"raybench": "0.1.0", "python": "3.11.7", "torch": "2.11.0", "timm": "1.0.31"}


def make_footprint(**changes: Any) -> Footprint:
    values: dict[str, Any] = {
        "backbone": "timm:resnet18",
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 32,
        "image_size": 96,
        "threads": 1,
        "accumulation": 1,
        "train_s": 0.02,
        "evaluate_s": 0.005,
        "peak_memory_gb": 0.8,
        "overhead_gb": 0.0,
        "total_memory_gb": 25.0,
        "at": 1_770_000_000.0,
        "versions": VERSIONS,
    }
    return Footprint(**(values | changes))


def make_timing(**changes: Any) -> Timing:
    values: dict[str, Any] = {
        "batch_size": 1,
        "median_ms": 5.0,
        "p95_ms": 6.0,
        "count": 100,
        "images_per_s": 190.0,
        "peak_memory_gb": 0.5,
        "energy_j": None,
    }
    return Timing(**(values | changes))


def make_profile(**changes: Any) -> Profile:
    values: dict[str, Any] = {
        "backbone": "timm:resnet18",
        "kwargs": {},
        "image_size": 96,
        "classes": 1000,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "parameters": 11_689_512,
        "macs": 334_000_000,
        "activations": 456_000,
        "single": make_timing(),
        "batched": make_timing(batch_size=32, median_ms=120.0, p95_ms=130.0, images_per_s=266.0),
        "training": make_timing(batch_size=32, median_ms=400.0, p95_ms=420.0, images_per_s=80.0),
        "shared": False,
        "seen": "other processes took 1 % of the machine's processor time",
        "at": 1_770_000_000.0,
        "versions": VERSIONS,
    }
    return Profile(**(values | changes))
