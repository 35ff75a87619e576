"""What the three GPU benchmarks share: trials of digits or random pixels, and how to name a device.

The data sets are made here or come with scikit-learn, so nothing is downloaded; networks start from
random weights.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
import torchvision

from raybench.records import EndRecord, EpochRecord
from raybench.spec import BackboneSpec
from raybench.trial.config import TrialConfig
from raybench.trial.device import device_name, pick_device
from raybench.trial.loop import run_trial


@dataclass(frozen=True)
class Trained:
    """How one trial ended, as plain values that any process can send."""

    state: str
    failure: str | None
    reason: str
    losses: tuple[float, ...]
    images_per_s: float
    precision: str

    @property
    def completed(self) -> bool:
        return self.state == "complete"


def make_config(
    backbone: BackboneSpec, recipe: Mapping[str, Any], folder: Path, name: str, **more: Any
) -> TrialConfig:
    """A trial on scikit-learn's 1,797 digits; ``name`` is its folder below ``folder``."""
    values: dict[str, Any] = {
        "key": f"{name}/search/0",
        "phase": "search",
        "attempt": 1,
        "backbone": backbone.model_dump(mode="json"),
        "dataset": {"name": "digits"},
        "subset": "full",
        "recipe": dict(recipe),
        "metric": "val/accuracy",
        "training_seed": 0,
        "split_seed": 0,
        "cache_dir": str(folder / "cache"),
        "checkpoint_root": str(folder / "checkpoints"),
        "checkpoint_dir": name,
    }
    return TrialConfig(**values | more)


def train(config: TrialConfig) -> Trained:
    """Runs the trial in this process; ``images_per_s`` is the last epoch's."""
    records = list(run_trial(config))
    epochs = [record for record in records if isinstance(record, EpochRecord)]
    end = records[-1]
    assert isinstance(end, EndRecord)
    return Trained(
        end.state,
        end.failure,
        end.reason,
        tuple(epoch.metrics["train/loss"] for epoch in epochs),
        epochs[-1].metrics["perf/images_per_s"] if epochs else 0.0,
        str(end.facts.get("precision", "")),
    )


def require_completed(trials: Sequence[Trained]) -> None:
    """A ratio over trials that failed would mean nothing."""
    for trial in trials:
        if not trial.completed:
            raise SystemExit(f"a trial ended as {trial.state}: {trial.reason}")


def in_turns(sides: Sequence[str], rounds: int) -> Iterator[str]:
    """Every side once per round, each round beginning with another one."""
    for number in range(rounds):
        start = number % len(sides)
        yield from [*sides[start:], *sides[:start]]


def spread(ratios: Sequence[float]) -> str:
    """Median and range."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def describe(device: torch.device) -> str:
    """The device and what else the figures depend on."""
    parts = [device_name(device) if device.type == "cuda" else "CPU form, no GPU figure"]
    parts += [f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]
    parts += [f"torch {torch.__version__}", f"torchvision {torchvision.__version__}"]
    parts.append(f"timm {timm.__version__}")
    if device.type == "cuda":
        parts += [f"CUDA {torch.version.cuda}", f"cuDNN {torch.backends.cudnn.version()}"]
    return ", ".join(parts)


def add_options(
    parser: argparse.ArgumentParser, image_size: int, backbones: Sequence[str], rounds: int = 3
) -> None:
    """Those that all three have; the small values that fit a CPU are for trying a program out."""
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--image-size", type=int, default=image_size, metavar="N")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N")
    parser.add_argument("--backbones", nargs="+", default=list(backbones), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N")


def device_of(options: argparse.Namespace) -> torch.device:
    """The device asked for; in words where it is not here."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA GPU here; --device cpu tries the program out, small")
    return pick_device(options.device)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
