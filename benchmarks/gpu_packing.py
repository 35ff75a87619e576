"""Claim: small networks on small images give twice the pairs per hour with ``gpus: auto``.

The baseline is one trial per GPU (``gpus: 1``); the same trials, in turns, several rounds.

With Ray: the whole command ``raybench run FILE`` in a new home, once with ``gpus: auto`` and once
with ``gpus: 1``. Counted are the seconds from the first trial's first epoch to the last trial's
end; the whole command's, with its start and its measurements, stand beside them.

With ``--no-ray``: processes at the measured share stand for the packed sweep. Each network's
footprint is measured in a fresh process, gives the share as in a sweep, and 1/share processes train
at once, each with its share's cap on memory; against them one process, one trial after another.
Processes are started and have CUDA ready before the clock runs.

A trial that ran out of memory counts as lost, and the ratio over such a run is refused.

    python benchmarks/gpu_packing.py [--no-ray] [--rounds 3] [--trials 16]
    python benchmarks/gpu_packing.py --device cpu --no-ray --image-size 16 --batch-size 64 \
        --backbones timm:test_resnet --trials 4 --epochs 1 --rounds 1     # shares are cores then
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import gpu_common as common
import torch

from raybench.measurements import Footprint
from raybench.spec import BackboneSpec, Recipe
from raybench.sweep.packing import Fit, Shape, fitting_share
from raybench.trial.config import TrialConfig
from raybench.trial.footprint import measure_footprint

SMALL = (  # under 30 million parameters each
    "torchvision:mobilenet_v3_large",
    "torchvision:shufflenet_v2_x2_0",
    "torchvision:resnet50",
    "torchvision:convnext_tiny",
    "timm:vit_tiny_patch16_224",
)
DIGITS = 10
PACKED, ALONE = "packed", "alone"


@dataclass(frozen=True)
class Work:
    """The trials of one run of the program, per network."""

    device: torch.device
    recipe: dict[str, Any]
    backbones: tuple[BackboneSpec, ...]
    trials: int
    cores: int


# -- processes at the measured share ---------------------------------------------------------------


@contextmanager
def processes(count: int, device: str) -> Iterator[ProcessPoolExecutor]:
    """``count`` fresh ones, started and ready."""
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(count)
    with ProcessPoolExecutor(count, context, _get_ready, (started, device)) as pool:
        list(pool.map(abs, range(count)))  # the barrier lets none of them answer before the last
        yield pool


def _get_ready(started: Any, device: str) -> None:
    warnings.simplefilter("ignore")
    torch.zeros(1, device=device)
    started.wait()


def measured_fit(backbone: BackboneSpec, work: Work) -> Fit:
    """The share of a GPU as in a sweep; on a CPU a core each."""
    if work.device.type == "cpu":
        return Fit(backbone.name, Shape(1.0, 1 / work.cores))
    with processes(1, work.device.type) as pool:
        recipe = Recipe.model_validate_json(json.dumps(work.recipe))
        found: Footprint = pool.submit(
            measure_footprint, backbone, DIGITS, recipe, work.device.type
        ).result()
    assert found.total_memory_gb is not None
    overhead = found.overhead_gb / found.total_memory_gb
    shape = Shape(1.0, fitting_share(found))
    common.say(
        f"{backbone.name}: {found.peak_memory_gb:.2f} GB and {found.overhead_gb:.2f} GB beside "
        f"torch's of {found.total_memory_gb:.1f} GB, share {shape.gpus:g}"
    )
    return Fit(backbone.name, shape, found.accumulation, overhead)


def processes_s(fit: Fit, configs: list[TrialConfig]) -> tuple[float, list[common.Trained]]:
    """Seconds of all trials at 1 / share at once, and how they ended."""
    with processes(round(1 / fit.shape.gpus), configs[0].device) as pool:
        started = time.perf_counter()
        trials = list(pool.map(common.train, configs))
        return time.perf_counter() - started, trials


def compare_processes(work: Work, rounds: int) -> list[float]:
    """Prints each network's line; returns the ratios over all networks, round by round."""
    names = [spec.name for spec in work.backbones]
    seconds: dict[str, dict[str, list[float]]] = {name: {PACKED: [], ALONE: []} for name in names}
    for spec in work.backbones:
        packed = measured_fit(spec, work)
        fits = {PACKED: packed, ALONE: Fit(spec.name, Shape(1.0, 1.0), packed.accumulation)}
        trials = []
        for number, side in enumerate(common.in_turns(tuple(fits), rounds)):
            with tempfile.TemporaryDirectory() as folder:
                configs = configs_of(work, spec, fits[side], Path(folder))
                _fill_cache(configs[0])
                took, ended = processes_s(fits[side], configs)
            common.say(f"  {spec.name}, run {number + 1}, {side}: {took:.1f} s")
            seconds[spec.name][side].append(took)
            trials += ended
        report_lost(trials)
        common.say(f"{spec.name}: {line(seconds[spec.name], packed.shape.gpus, work.trials)}")
    totals = {
        side: [sum(seconds[name][side][number] for name in names) for number in range(rounds)]
        for side in (PACKED, ALONE)
    }
    return [alone / packed for packed, alone in zip(totals[PACKED], totals[ALONE], strict=True)]


def configs_of(work: Work, spec: BackboneSpec, fit: Fit, folder: Path) -> list[TrialConfig]:
    """Trials that differ in their seed only."""
    cap = fit.memory_fraction if work.device.type == "cuda" else None
    return [
        common.make_config(
            spec, work.recipe, folder, f"trial-{number}",
            device=work.device.type, memory_fraction=cap, accumulation=fit.accumulation,
            training_seed=number,
        )
        for number in range(work.trials)
    ]  # fmt: skip


def _fill_cache(config: TrialConfig) -> None:
    """Decoding is no part of a trial."""
    from raybench.datasets.task import load_task
    from raybench.spec import DatasetSpec

    size = int(config.recipe["image_size"])
    load_task(DatasetSpec(name="digits"), size, "full", 0, Path(config.cache_dir))


def report_lost(trials: list[common.Trained]) -> None:
    """Says how many trials completed and how many ran out of memory."""
    lost = sum(trial.failure == "oom" for trial in trials)
    done = sum(trial.completed for trial in trials)
    common.say(f"  {done} of {len(trials)} trials completed, {lost} lost by lack of memory")
    common.require_completed(trials)


def line(seconds: Mapping[str, list[float]], share: float, trials: int) -> str:
    """Trials per hour on both sides, and their ratio."""
    per_hour = {side: trials * 3600 / median(found) for side, found in seconds.items()}
    ratios = [a / p for p, a in zip(seconds[PACKED], seconds[ALONE], strict=True)]
    return (
        f"{1 / share:g} at once {per_hour[PACKED]:.0f} trials an hour, one {per_hour[ALONE]:.0f}, "
        f"ratio {common.spread(ratios)}"
    )


# -- whole sweeps ----------------------------------------------------------------------------------


def sweep_data(work: Work, side: str) -> dict[str, Any]:
    """The sweep file; ``gpus`` is all that differs (CPU: how many cores Ray is given)."""
    on_gpu = work.device.type == "cuda"
    gpus: Any = ("auto" if side == PACKED else 1) if on_gpu else 0
    return {
        "name": "packing",
        "backbones": [spec.model_dump(mode="json") for spec in work.backbones],
        "datasets": [{"name": "digits"}],
        "recipe": work.recipe,
        "space": {"lr": {"default": 1e-3, "low": 1e-4, "high": 1e-2, "log": True}},
        "search": {"sampler": "random", "early_stop": "none"},
        "budget": {"trials": work.trials},
        "final": {"seeds": [0]},
        "resources": {"cpus": 1, "gpus": gpus},
        "device": work.device.type,
    }


@dataclass(frozen=True)
class Sweep:
    """One command: seconds of its trials, of all of it, and what became of the trials."""

    trials_s: float
    whole_s: float
    trials: int
    lost: int
    repeated: int
    shares: tuple[float, ...]


def run_sweep(work: Work, side: str) -> Sweep:
    """``raybench run`` in a new home."""
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder) / "home", Path(folder) / "sweep.yaml"
        file.write_text(json.dumps(sweep_data(work, side)))
        command = [sys.executable, "-m", "raybench.cli", "run", str(file), "--home", str(home)]
        command += ["--quiet", "--no-tracking"]
        if work.device.type == "cpu":
            command += ["--num-cpus", str(work.cores if side == PACKED else 1)]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return read_sweep(home, time.perf_counter() - started)


def read_sweep(home: Path, whole_s: float) -> Sweep:
    """From the ledger."""
    import raybench

    rows = [row for pair in raybench.open(home=home).snapshot().pairs for row in pair.trials]
    ends = [row.end for row in rows if row.end is not None]
    lost = sum(end.failure == "oom" for end in ends)
    if len(ends) < len(rows) or any(end.state != "complete" for end in ends):
        raise SystemExit(f"{len(rows)} trials, not all of them completed; {lost} out of memory")
    first = min(row.epochs[0].finished_at - row.epochs[0].duration_s for row in rows)
    return Sweep(
        max(end.finished_at for end in ends) - first,
        whole_s,
        len(rows),
        lost,
        sum(len(row.failures) for row in rows),
        tuple(sorted({row.epochs[0].device_share for row in rows})),
    )


def compare_sweeps(work: Work, rounds: int) -> list[float]:
    """Prints each sweep; returns the ratios of the trials' seconds, round by round."""
    found: dict[str, list[Sweep]] = {PACKED: [], ALONE: []}
    for side in common.in_turns(tuple(found), rounds):
        sweep = run_sweep(work, side)
        found[side].append(sweep)
        pairs = len(work.backbones) * 3600 / sweep.trials_s
        common.say(
            f"  {side}: {sweep.trials} trials in {sweep.trials_s:.1f} s ({pairs:.1f} pairs an "
            f"hour), whole command {sweep.whole_s:.1f} s, shares {sweep.shares}, "
            f"{sweep.repeated} attempts repeated, {sweep.lost} trials lost by lack of memory"
        )
    pairs_of = zip(found[PACKED], found[ALONE], strict=True)
    return [alone.trials_s / packed.trials_s for packed, alone in pairs_of]


# -- options ---------------------------------------------------------------------------------------


def work_of(options: argparse.Namespace) -> Work:
    """What the options ask for."""
    recipe = {"image_size": options.image_size, "batch_size": options.batch_size}
    recipe |= {"epochs": options.epochs, "lr": 1e-3}
    backbones = []
    for name in options.backbones:
        kwargs = {"img_size": options.image_size} if "patch16_224" in name else {}
        backbones.append(BackboneSpec(name=name, weights="none", kwargs=kwargs))
    cores = os.cpu_count() or 1
    return Work(common.device_of(options), recipe, tuple(backbones), options.trials, cores)


def main() -> None:
    """Reads the options, compares, prints the line for docs/performance.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    common.add_options(parser, 64, SMALL)
    parser.add_argument("--trials", type=int, default=16, metavar="N", help="of each network")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="of each trial")
    parser.add_argument("--no-ray", action="store_true", help="processes at the measured share")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    work = work_of(options)
    common.say(f"{common.describe(work.device)}, recipe {json.dumps(work.recipe)}")
    compare = compare_processes if options.no_ray else compare_sweeps
    how = "processes, no Ray" if options.no_ray else "raybench run"
    ratios = compare(work, options.rounds)
    common.say(
        f"all of {len(work.backbones)} networks x {work.trials} trials, {how}: packed against one "
        f"at a time, ratio {common.spread(ratios)} (claim: 2 or more on a GPU)"
    )


if __name__ == "__main__":
    main()
