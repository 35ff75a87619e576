"""Small specs for tests, built from plain data as a sweep file gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from raybench.spec import SweepSpec
from raybench.validate import check_spec

TINY_BACKBONE: dict[str, Any] = {"name": "timm:test_resnet", "weights": "none"}


def tiny_data(**changes: Any) -> dict[str, Any]:
    """A sweep on digits that costs a second or two per trial; ``changes`` replace whole keys."""
    data: dict[str, Any] = {
        "name": "tiny",
        "backbones": [TINY_BACKBONE],
        "datasets": ["digits"],
        "subsets": ["10%"],
        "recipe": {"image_size": 32, "batch_size": 64, "epochs": 2, "augment": "none"},
        "space": {"lr": {"default": 1e-3, "low": 1e-4, "high": 1e-1, "log": True}},
        "search": {"sampler": "random", "ladder": 1, "early_stop": "none"},
        "budget": {"trials": 2},
        "final": {"seeds": [0, 1]},
        "resources": {"cpus": 1, "gpus": 0},
        "device": "cpu",
    }
    return data | changes


def write_sweep(path: Path, data: dict[str, Any]) -> Path:
    """``data`` as a sweep file at ``path``."""
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def tiny_spec(**changes: Any) -> SweepSpec:
    return check_spec(tiny_data(**changes), {}, Path.cwd())


def pairs_spec(pairs: int, trials: int, **changes: Any) -> SweepSpec:
    """``pairs`` pairs that differ in a constructor argument; for tests that train nothing."""
    backbones = [{**TINY_BACKBONE, "kwargs": {"drop_rate": n / 100}} for n in range(pairs)]
    return tiny_spec(backbones=backbones, budget={"trials": trials}, **changes)
