"""The sweeps that chaos falls upon: small, on images, long enough to be killed many times."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal

from raybench.records import SweepSnapshot
from tests.specs import TINY_BACKBONE, tiny_data

_BACKBONES = [TINY_BACKBONE, {**TINY_BACKBONE, "kwargs": {"drop_rate": 0.1}}]


def fixed_sweep(epochs: int = 10, seeds: int = 3, subset: str = "40%") -> dict[str, Any]:
    """Nothing is tuned: the table must be the unbroken run's, bit for bit, on any runner.

    Device hours that are never spent make search trials write a checkpoint at each epoch.
    """
    return tiny_data(
        name="fixed",
        backbones=_BACKBONES,
        subsets=[subset],
        recipe={"image_size": 32, "batch_size": 16, "epochs": epochs, "augment": "flip"},
        space={},
        search={"sampler": "none", "ladder": 1, "early_stop": "none"},
        budget={"trials": 1, "device_hours": 100},
        final={"seeds": list(range(seeds))},
    )


def tuned_sweep(trials: int = 6) -> dict[str, Any]:
    """TPE and early stopping: what is asked depends on all that was told before."""
    return tiny_data(
        name="tuned",
        backbones=_BACKBONES,
        subsets=["20%"],
        recipe={"image_size": 32, "batch_size": 16, "epochs": 4, "augment": "flip"},
        search={"sampler": "tpe", "ladder": 2, "early_stop": "asha"},
        budget={"trials": trials},
        final={"seeds": [0]},
    )


def short_sweep() -> dict[str, Any]:
    """``fixed_sweep`` for tests: some seconds of training."""
    return fixed_sweep(epochs=6, seeds=2, subset="20%")


def short_tuned_sweep() -> dict[str, Any]:
    """``tuned_sweep`` for tests."""
    return tuned_sweep(trials=5) | {"backbones": [TINY_BACKBONE]}


@cache
def unbroken(name: Literal["short", "tuned"]) -> SweepSnapshot:
    """A test's sweep as it ends when nobody disturbs it; run once per process."""
    from tests.chaos.program import run_unbroken

    spec = short_sweep() if name == "short" else short_tuned_sweep()
    with tempfile.TemporaryDirectory(prefix="raybench-unbroken-") as folder:
        return run_unbroken(Path(folder) / "unbroken", spec)
