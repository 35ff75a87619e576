"""Claim: a linear probe tuned over 16 values costs at most 1.3 times one pass over the data.

Sixteen trials of one pair, one after another as their slots would run them, share a new cache
folder: the first passes all images through the backbone, each fits and validates. Counted from the
first trial's start to the last one's end, all of it: opening the data, building the network,
writing and checking features, metrics, weights. Not counted: decoding the images (once per data
set, whatever is trained on it) and Ray's start. The baseline is the same network in eval mode
without gradients over pixels that lie ready in one tensor, in the same batches and threads,
normalisation included. Random weights cost the same time; ``--weights FILE`` takes real ones, with
``--images FOLDER`` of class folders.

    python benchmarks/probe_cost.py [--images FOLDER] [--weights FILE] [--rounds 3] [--cpu-time]

``--cpu-time`` counts processor time instead of wall time, for a machine that others use meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from obvious_sweep import make_images

from raybench.backbones.build import build_backbone
from raybench.datasets.cache.store import open_cache
from raybench.records import EndRecord
from raybench.spec import BackboneSpec, DatasetSpec
from raybench.trial.batches import make_loader
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial

BATCH_SIZE = 64
PENALTIES = tuple(10 ** (n / 3 - 5) for n in range(16))  # 1e-5 to 1


@dataclass(frozen=True)
class Pair:
    """What is probed on what."""

    backbone: BackboneSpec
    dataset: DatasetSpec
    image_size: int
    cache: Path
    threads: int


def one_pass(pair: Pair) -> float:
    """Seconds of the network alone over all images."""
    torch.set_num_threads(pair.threads)
    data = open_cache(pair.dataset, pair.image_size, pair.cache)
    backbone = build_backbone(pair.backbone, len(data.classes), pair.image_size)
    model = backbone.model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    cpu = torch.device("cpu")
    loader = make_loader(data.images, data.labels, cpu, backbone.mean, backbone.std)
    pixels, _ = loader.fetch(np.arange(len(data.images)))
    started = time.perf_counter()
    with torch.no_grad():
        for batch in torch.split(pixels, BATCH_SIZE):
            model(loader.normalise(batch))
    return time.perf_counter() - started


def tuned_probe(pair: Pair) -> tuple[float, list[EndRecord]]:
    """Seconds of all trials, and how they ended."""
    with tempfile.TemporaryDirectory(dir=pair.cache) as folder:
        features = pair.cache / "features"
        assert not features.exists(), "the features would be read, not computed"
        started = time.perf_counter()
        ends = [_probe(pair, Path(folder), number) for number in range(len(PENALTIES))]
        seconds = time.perf_counter() - started
    for file in features.iterdir():
        file.unlink()
    features.rmdir()
    return seconds, ends


def _probe(pair: Pair, folder: Path, number: int) -> EndRecord:
    recipe = {"method": "linear_probe", "image_size": pair.image_size, "batch_size": BATCH_SIZE}
    config = TrialConfig(
        key=f"benchmark/search/{number}",
        phase="search",
        attempt=1,
        backbone=pair.backbone.model_dump(mode="json"),
        dataset=pair.dataset.model_dump(mode="json"),
        subset="full",
        recipe=recipe | {"l2": PENALTIES[number]},
        metric="val/accuracy",
        training_seed=0,
        split_seed=0,
        cache_dir=str(pair.cache),
        checkpoint_root=str(folder),
        checkpoint_dir=f"search-{number}",
        threads=pair.threads,
    )
    end = list(run_trial(config))[-1]
    assert isinstance(end, EndRecord) and end.state == "complete", end
    return end


def compare(pair: Pair, rounds: int) -> None:
    """Prints the medians, their ratio, and how the fits ended."""
    found = []
    for number in range(rounds):
        sides: list[Any] = [one_pass, tuned_probe]
        answers = {
            side.__name__: side(pair)
            for side in sorted(sides, key=lambda side: side.__name__, reverse=bool(number % 2))
        }
        found.append((answers["one_pass"], *answers["tuned_probe"]))
    ratios = sorted(ours / bare for bare, ours, _ in found)
    ends: list[EndRecord] = found[0][2]
    iterations = [int(end.facts["iterations"]) for end in ends]
    accuracy = [end.best["val/accuracy"] for end in ends]
    sys.stdout.write(
        f"{pair.backbone.name} at {pair.image_size} px, {len(PENALTIES)} values of l2, "
        f"{pair.threads} thread(s): one pass {statistics.median(row[0] for row in found):.2f} s, "
        f"tuned probe {statistics.median(row[1] for row in found):.2f} s, median ratio "
        f"{statistics.median(ratios):.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"{min(iterations)} to {max(iterations)} iterations, all converged: "
        f"{all(end.facts['converged'] for end in ends)}, validation accuracy "
        f"{min(accuracy):.3f} to {max(accuracy):.3f}\n"
    )


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="timm:mobilenetv2_100")
    parser.add_argument("--weights", default="none", help="a file of weights")
    parser.add_argument("--images", type=Path, help="class folders of images; default: made here")
    parser.add_argument("--count", type=int, default=1000, help="how many are made")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="processor time, not wall time")
    options = parser.parse_args()
    if options.cpu_time:
        time.perf_counter = time.process_time
    with tempfile.TemporaryDirectory() as folder:
        images = options.images
        if images is None:
            parts = {"train": 0.6, "val": 0.2, "test": 0.2}
            counts = {part: int(options.count * share) for part, share in parts.items()}
            images = make_images(Path(folder) / "images", counts)
        pair = Pair(
            BackboneSpec(name=options.backbone, weights=options.weights),
            DatasetSpec(name="images", path=str(images)),
            options.image_size,
            Path(folder) / "cache",
            options.threads,
        )
        open_cache(pair.dataset, pair.image_size, pair.cache)
        compare(pair, options.rounds)


if __name__ == "__main__":
    main()
