"""Claim: a training epoch of a trial takes at most 1 / 0.95 of a bare PyTorch loop's time.

The baseline holds all pixels in memory as one tensor, crops and augments each batch by the same
functions, and does what one would write by hand: normalise, forward, loss, backward, fused AdamW,
count what is right. Ours is the whole training part of an epoch as the trial records it: fetching
from the memory map, schedule, meter and all. Both take turns in one process, several rounds; the
first of the epochs is left out. Validation and checkpoints are counted on neither side. On a GPU
both run under bf16 autocast.

    python benchmarks/training_step.py [--rounds 5] [--threads 1] [--cases cnn vit] [--cpu-time]

``--cpu-time`` counts processor time instead of wall time, for a machine that others use meanwhile;
it says the same where all runs in one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raybench.backbones.build import build_backbone
from raybench.datasets.cache.frames import Images, make_frames
from raybench.datasets.task import Task
from raybench.records import EndRecord
from raybench.spec import BackboneSpec
from raybench.trial import session
from raybench.trial.augment import augment
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial

CLASSES, EPOCHS = 10, 3
AUGMENTS = {
    "none": ("none", "none"),
    "flip, crop": ("flip", "random"),
    "trivial": ("trivial", "none"),
}


@dataclass(frozen=True)
class Case:
    """A network, and what it is trained on."""

    backbone: BackboneSpec
    image_size: int
    batch_size: int
    images: int

    def stored(self, crop: str) -> int:
        """Side of the pictures that crops are cut from."""
        return self.image_size if crop == "none" else self.image_size * 8 // 7


def _case(name: str, kwargs: dict[str, Any], size: int, batch_size: int, images: int) -> Case:
    return Case(BackboneSpec(name=name, weights="none", kwargs=kwargs), size, batch_size, images)


CASES = {
    "cnn": _case("timm:resnet10t", {}, 64, 32, 320),
    "vit": _case("timm:vit_tiny_patch16_224", {"depth": 6, "patch_size": 8}, 64, 32, 160),
    "tiny": _case("timm:test_resnet", {}, 16, 8, 32),
}


def make_task(folder: Path, count: int, size: int, crop: int | None) -> Task:
    """Random pixels on disk, memory-mapped as the cache maps them."""
    rng = np.random.default_rng(0)
    path = folder / f"{size}-{crop}.npy"
    shape = (count + CLASSES, size, size, 3)
    np.save(path, rng.integers(0, 256, shape, dtype=np.uint8))
    mapped = np.load(path, mmap_mode="r")
    images: Images = mapped
    if crop is not None:
        shapes = np.full((len(mapped), 2), size, dtype=np.int32)
        images = make_frames(mapped.reshape(-1), shapes, crop)
    labels = rng.integers(0, CLASSES, count + CLASSES)
    held_out = np.arange(count, count + CLASSES)
    return Task(
        images=images,
        labels=labels,
        ids=tuple(str(index) for index in range(len(labels))),
        groups=(None,) * len(labels),
        classes=tuple(str(index) for index in range(CLASSES)),
        train=np.arange(count),
        val=held_out,
        test=held_out,
        data_digest="",
        split_digest="",
    )


def bare_epochs(case: Case, task: Task, kind: str, crop: str, threads: int) -> Iterator[float]:
    """Seconds of each epoch of the loop that one would write by hand."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = build_backbone(case.backbone, CLASSES, case.image_size)
    model = backbone.model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    whole = np.stack([task.images[index] for index in range(len(task.images))])
    pixels = torch.from_numpy(whole).permute(0, 3, 1, 2).to(device)
    labels = torch.from_numpy(task.labels).to(device)
    mean = torch.tensor(backbone.mean, device=device).view(3, 1, 1)
    std = torch.tensor(backbone.std, device=device).view(3, 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    for _ in range(EPOCHS):
        wait(device)
        started, correct = time.perf_counter(), torch.zeros((), dtype=torch.int64, device=device)
        order = torch.randperm(len(task.train), device=device)
        for number, indices in enumerate(torch.split(order, case.batch_size)):
            batch = pixels[indices] if crop == "none" else cropped(pixels, indices, case.image_size)
            batch = augment(batch, kind, number)
            with autocast(device):
                logits = model((batch.float() / 255 - mean) / std)
                loss = F.cross_entropy(logits, labels[indices])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            correct += (logits.argmax(1) == labels[indices]).sum()
        int(correct)
        yield time.perf_counter() - started


def cropped(pixels: Tensor, indices: Tensor, side: int) -> Tensor:
    """A random square out of each picture."""
    room = pixels.shape[-1] - side + 1
    places = torch.randint(room, (len(indices), 2)).tolist()
    rows = zip(indices.tolist(), places, strict=True)
    squares = [pixels[i, :, top : top + side, left : left + side] for i, (top, left) in rows]
    return torch.stack(squares).contiguous(memory_format=torch.channels_last)


def trial_epochs(case: Case, task: Task, kind: str, crop: str, threads: int) -> Iterator[float]:
    """Seconds of each epoch's training as ``run_trial`` records them."""
    recipe = {"image_size": case.image_size, "batch_size": case.batch_size, "epochs": EPOCHS}
    with tempfile.TemporaryDirectory() as folder:
        config = TrialConfig(
            key="benchmark/search/0",
            phase="search",
            attempt=1,
            backbone=case.backbone.model_dump(),
            dataset={"name": "benchmark"},
            subset="full",
            recipe=recipe | {"augment": kind, "crop": crop},
            metric="val/accuracy",
            training_seed=0,
            split_seed=0,
            cache_dir=folder,
            checkpoint_root=folder,
            checkpoint_dir="trial",
            threads=threads,
        )
        for record in run_trial(config):
            if isinstance(record, EndRecord):
                assert record.state == "complete", record.reason
            else:
                yield record.metrics["perf/train_s"]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def autocast(device: torch.device) -> Any:
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def compare(name: str, words: str, rounds: int, threads: int) -> float:
    """Prints one line; the median of the rounds' ratios of images/s."""
    case, (kind, crop) = CASES[name], AUGMENTS[words]
    with tempfile.TemporaryDirectory() as folder:
        size = case.image_size if crop == "random" else None
        task = make_task(Path(folder), case.images, case.stored(crop), size)
        session.load_task = lambda *_, **__: task  # type: ignore[attr-defined]
        pairs = []
        for number in range(rounds):
            sides = [bare_epochs, trial_epochs]
            found = {
                side: statistics.fmean(list(side(case, task, kind, crop, threads))[1:])
                for side in sorted(sides, key=lambda side: side.__name__, reverse=bool(number % 2))
            }
            pairs.append(tuple(case.images / found[side] for side in sides))
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(ours / bare for bare, ours in pairs)
    sys.stdout.write(
        f"{name}, augment {words}: {case.backbone.name} at {case.image_size} px, batch "
        f"{case.batch_size}, {threads} thread(s): bare loop {bare:.0f} images/s, trial {ours:.0f}, "
        f"median ratio {statistics.median(ratios):.2f} "
        f"(rounds {ratios[0]:.2f} to {ratios[-1]:.2f})\n"
    )
    sys.stdout.flush()
    return statistics.median(ratios)


def main() -> None:
    """Prints one line per case and augmentation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["cnn", "vit"])
    parser.add_argument("--cpu-time", action="store_true", help="processor time, not wall time")
    options = parser.parse_args()
    if options.cpu_time:
        time.perf_counter = time.process_time
    for name in options.cases:
        for words in AUGMENTS:
            compare(name, words, options.rounds, options.threads)


if __name__ == "__main__":
    main()
