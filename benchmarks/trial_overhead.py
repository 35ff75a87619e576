"""Claim: a trial costs at least 8 times less wall time beyond its training than the obvious way.

The obvious way is what Ray's and MLflow's own pages show: a function trainable that reports each
epoch with a checkpoint, a fresh process per trial, Ray's ``OptunaSearch`` and its stock
``MLflowLoggerCallback`` on a SQLite store. Both sides train the same network on the same images for
the same epochs, in a fresh driver each, one after the other, several rounds.

A trial's cost is the mean time between two successive ends of trials, minus the seconds that it
trained and validated. Starting Ray, the MLflow store and the first process is the same for any
number of trials and stands in the whole time, which is printed too.

    python benchmarks/trial_overhead.py [--trials 8] [--rounds 3] [--slots 1]

Whether that cost stays the same over thousands of trials is ``driver.py``'s question.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPOCHS, BATCH_SIZE, IMAGE_SIZE, SUBSET = 2, 64, 32, "10%"
BACKBONE, CLASSES = "test_resnet", 10
LOW, HIGH = 1e-4, 1e-1


def sweep_data(pairs: int, trials: int) -> dict[str, Any]:
    """The sweep on raybench's side; pairs differ in a constructor argument."""
    return {
        "name": "overhead",
        "backbones": [
            {"name": f"timm:{BACKBONE}", "weights": "none", "kwargs": {"drop_rate": n / 1000}}
            for n in range(pairs)
        ],
        "datasets": ["digits"],
        "subsets": [SUBSET],
        "recipe": {
            "image_size": IMAGE_SIZE,
            "batch_size": BATCH_SIZE,
            "epochs": EPOCHS,
            "augment": "none",
        },
        "space": {"lr": {"default": 1e-3, "low": LOW, "high": HIGH, "log": True}},
        "search": {"sampler": "tpe", "ladder": 1, "early_stop": "none"},
        "budget": {"trials": trials},
        "final": {"seeds": [0]},
        "resources": {"cpus": 1, "gpus": 0},
        "device": "cpu",
    }


# -- the obvious way -----------------------------------------------------------------------------


def train_obviously(config: dict[str, Any]) -> None:
    """What a user writes: build, train, report each epoch with a checkpoint."""
    import numpy as np
    import timm
    import torch
    import torch.nn.functional as F
    from ray import tune
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    data = np.load(config["data"])
    pixels = torch.from_numpy(data["pixels"]).permute(0, 3, 1, 2).float().div(255)
    labels = torch.from_numpy(data["labels"])
    model = timm.create_model(BACKBONE, num_classes=CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    for _ in range(EPOCHS):
        started = time.perf_counter()
        model.train()
        order = torch.from_numpy(data["train"])[torch.randperm(len(data["train"]))]
        for indices in order.split(BATCH_SIZE):
            optimizer.zero_grad()
            F.cross_entropy(model(pixels[indices]), labels[indices]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            found = [model(pixels[i]).argmax(1) for i in torch.from_numpy(data["val"]).split(64)]
        accuracy = (torch.cat(found) == labels[data["val"]]).float().mean().item()
        trained_s = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as folder:
            save_file(model.state_dict(), Path(folder) / "model.safetensors")
            tune.report(
                {"accuracy": accuracy, "trained_s": trained_s, "finished_at": time.time()},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


def run_obviously(folder: Path, trials: int, slots: int) -> dict[str, Any]:
    """One Tuner as the documentation shows it."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    data = export_data(folder)
    ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False)
    callback = MLflowLoggerCallback(f"sqlite:///{folder / 'mlflow.db'}", experiment_name="obvious")
    results = tune.Tuner(
        tune.with_resources(train_obviously, {"cpu": 1}),
        param_space={"lr": tune.loguniform(LOW, HIGH), "data": str(data)},
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(), metric="accuracy", mode="max", num_samples=trials
        ),
        run_config=tune.RunConfig(storage_path=str(folder), callbacks=[callback], verbose=0),
    ).fit()
    ray.shutdown()
    frames = [result.metrics_dataframe for result in results]
    return {
        "finished_at": [float(frame["finished_at"].iloc[-1]) for frame in frames],
        "trained_s": [float(frame["trained_s"].sum()) for frame in frames],
    }


def export_data(folder: Path) -> Path:
    """The very images and split that raybench's trials see, as one file."""
    import numpy as np

    from raybench.datasets.task import load_task
    from raybench.seeding import derive_seed
    from raybench.spec import DatasetSpec

    split_seed = derive_seed(0, "split")
    task = load_task(DatasetSpec(name="digits"), IMAGE_SIZE, SUBSET, split_seed, folder / "cache")
    path = folder / "digits.npz"
    np.savez(path, pixels=task.images, labels=task.labels, train=task.train, val=task.val)
    return path


# -- raybench ------------------------------------------------------------------------------------


def run_raybench(folder: Path, trials: int, slots: int) -> dict[str, Any]:
    """The same trials as one pair of a sweep, by the function behind ``raybench run``."""
    from raybench.library import run_sweep_file

    path = folder / "overhead.yaml"
    path.write_text(json.dumps(sweep_data(1, trials)))
    result = run_sweep_file(path, home=folder, num_cpus=slots)
    if result.exit_code or result.tracking_problem:
        raise SystemExit(f"the sweep failed: {result}")
    rows = result.snapshot.pairs[0].search_trials()
    return {
        "finished_at": [row.end.finished_at for row in rows if row.end is not None],
        "trained_s": [sum(record.duration_s for record in row.epochs) for row in rows],
    }


# -- comparison ----------------------------------------------------------------------------------

SIDES = {"obvious": run_obviously, "raybench": run_raybench}


def measure(side: str, trials: int, slots: int) -> dict[str, float]:
    """Runs one side in a driver of its own; seconds per trial and of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, __file__, "--side", side, "--folder", folder]
        started = time.perf_counter()
        subprocess.run(
            [*command, "--trials", str(trials), "--slots", str(slots)],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        whole_s = time.perf_counter() - started
        found = json.loads(answer.read_text())
    return {**cost_per_trial(found["finished_at"], found["trained_s"], slots), "whole_s": whole_s}


def cost_per_trial(
    finished_at: Sequence[float], trained_s: Sequence[float], slots: int
) -> dict[str, float]:
    """Seconds beyond training, and of training, that a trial holds its slot."""
    between_s = (max(finished_at) - min(finished_at)) / (len(finished_at) - 1)
    training_s = statistics.fmean(trained_s)
    return {"beyond_s": between_s * slots - training_s, "training_s": training_s}


def compare(trials: int, rounds: int, slots: int) -> None:
    """Prints both sides' medians and their ratio."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in sorted(SIDES, reverse=bool(number % 2)):
            found[side].append(measure(side, trials, slots))
            say(f"round {number + 1}, {side}: {_line(found[side][-1])}")
    medians = {
        side: {key: statistics.median(r[key] for r in measured) for key in measured[0]}
        for side, measured in found.items()
    }
    obvious, ours = medians["obvious"], medians["raybench"]
    say(f"{trials} trials, {slots} at once, {rounds} rounds, {versions()}")
    for side, median in medians.items():
        say(f"{side:9}{_line(median)}")
    say(
        f"ratio of the cost beyond training: {obvious['beyond_s'] / ours['beyond_s']:.1f} "
        f"(claim: at least 8); of the whole command: {obvious['whole_s'] / ours['whole_s']:.1f}"
    )


def _line(cost: dict[str, float]) -> str:
    return (
        f"{cost['beyond_s']:.3f} s a trial beyond {cost['training_s']:.3f} s of training; "
        f"whole command {cost['whole_s']:.1f} s"
    )


def versions() -> str:
    """What the figures depend on."""
    from importlib.metadata import version

    names = ("torch", "timm", "ray", "optuna", "mlflow")
    listed = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {listed}"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Compares, or runs one side for the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=1, help="trials at once, a core each")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if options.side:
        found = SIDES[options.side](options.folder, options.trials, options.slots)
        (options.folder / "answer.json").write_text(json.dumps(found))
    else:
        compare(options.trials, options.rounds, options.slots)


if __name__ == "__main__":
    main()
