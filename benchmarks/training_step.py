"""Claim: a trial trains at 0.9 or more of the images/s of a bare PyTorch loop.

The baseline holds the same pixels in memory as one tensor and does the same work on the same model,
batch size and threads: index, normalise, forward, loss, backward, AdamW. Both take turns in one
process, several rounds, and the medians are compared; validation and checkpoints are not counted on
either side. On a GPU both run under bf16 autocast.

    python benchmarks/training_step.py [--rounds 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from raybench.backbones.build import build_backbone
from raybench.datasets.task import Task
from raybench.records import EndRecord
from raybench.spec import BackboneSpec
from raybench.trial import session
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial

CLASSES = 10
CASES = {  # name: (backbone, constructor arguments, image size, batch size, images)
    "cnn": ("timm:resnet10t", {}, 64, 32, 640),
    "vit": ("timm:vit_tiny_patch16_224", {"depth": 6, "patch_size": 8}, 64, 32, 320),
}


def make_task(images: int, size: int) -> Task:
    """Random pixels on disk, memory-mapped as the cache maps them."""
    rng = np.random.default_rng(0)
    path = Path(tempfile.mkdtemp()) / "images.npy"
    np.save(path, rng.integers(0, 256, (images + CLASSES, size, size, 3), dtype=np.uint8))
    labels = rng.integers(0, CLASSES, images + CLASSES)
    held_out = np.arange(images, images + CLASSES)
    return Task(
        images=np.load(path, mmap_mode="r"),
        labels=labels,
        ids=tuple(str(index) for index in range(len(labels))),
        classes=tuple(str(index) for index in range(CLASSES)),
        train=np.arange(images),
        val=held_out,
        test=held_out,
        data_digest="",
        split_digest="",
    )


def bare_loop(spec: BackboneSpec, size: int, batch_size: int, task: Task, threads: int) -> float:
    """Images/s of the second of two epochs of the loop that one would write by hand."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = build_backbone(spec, CLASSES, size)
    model = backbone.model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    pixels = torch.from_numpy(np.array(task.images)).permute(0, 3, 1, 2).to(device)
    labels = torch.from_numpy(task.labels).to(device)
    mean = torch.tensor(backbone.mean, device=device).view(3, 1, 1)
    std = torch.tensor(backbone.std, device=device).view(3, 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    rate = 0.0
    for _ in range(2):
        order = torch.randperm(len(task.train), device=device)
        _wait(device)
        started = time.perf_counter()
        for indices in torch.split(order, batch_size):
            with _autocast(device):
                logits = model((pixels[indices].float() / 255 - mean) / std)
                loss = F.cross_entropy(logits, labels[indices])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        _wait(device)
        rate = len(order) / (time.perf_counter() - started)
    return rate


def trial_loop(spec: BackboneSpec, size: int, batch_size: int, task: Task, threads: int) -> float:
    """Images/s that ``run_trial`` reports for the second of two epochs."""
    recipe = {"image_size": size, "batch_size": batch_size, "epochs": 2, "augment": "none"}
    with tempfile.TemporaryDirectory() as folder:
        config = TrialConfig(
            key="benchmark/search/0",
            phase="search",
            attempt=1,
            backbone=spec.model_dump(),
            dataset={"name": "benchmark"},
            subset="full",
            recipe=recipe,
            metric="val/accuracy",
            training_seed=0,
            split_seed=0,
            cache_dir=folder,
            checkpoint_root=folder,
            checkpoint_dir="trial",
            threads=threads,
        )
        rate = 0.0
        for record in run_trial(config):
            if isinstance(record, EndRecord):
                assert record.state == "complete", record.reason
            else:
                rate = record.metrics["perf/images_per_s"]
    return rate


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _autocast(device: torch.device) -> Any:
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def main() -> None:
    """Prints one line per case: medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for name, (backbone, kwargs, size, batch_size, images) in CASES.items():
        spec = BackboneSpec(name=backbone, weights="none", kwargs=dict(kwargs))
        task = make_task(images, size)
        session.load_task = lambda *_, task=task: task  # type: ignore[attr-defined]
        arguments = (spec, size, batch_size, task, options.threads)
        rounds = [(bare_loop(*arguments), trial_loop(*arguments)) for _ in range(options.rounds)]
        bare, trial = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = sorted(ours / theirs for theirs, ours in rounds)
        sys.stdout.write(
            f"{name}: {backbone} at {size} px, batch {batch_size}, {options.threads} thread(s): "
            f"bare loop {bare:.0f} images/s, run_trial {trial:.0f}, ratio of medians "
            f"{trial / bare:.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})\n"
        )


if __name__ == "__main__":
    main()
