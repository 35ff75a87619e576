"""Claim: decoded once, images reach training faster than from JPEG files, and share their memory.

Against torchvision's ``ImageFolder`` with a ``DataLoader`` of two persistent workers, on one set of
JPEG files, both sides delivering normalised float32 batches of the same shape under the same
augmentation: images/s from the second epoch on, time of the first epoch (building the cache, or
starting the workers, included), and the memory of ten processes that read one cache. Rounds take
turns; medians of each round's ratio. Our side runs in one thread unless told otherwise.

    python benchmarks/data_loading.py [--images FOLDER | --count 1000] [--rounds 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import functools
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from raybench.backbones.backbone import DEFAULT_MEAN, DEFAULT_STD
from raybench.datasets.cache.files import CachedImages
from raybench.datasets.cache.frames import Frames
from raybench.datasets.cache.store import close_sets, open_cache
from raybench.spec import DatasetSpec
from raybench.trial.augment import augment
from raybench.trial.batches import epoch_batches, make_loader

IMAGE_SIZE, STORED, BATCH_SIZE, WORKERS, READERS = 112, 128, 64, 2, 10
CASES = {"crop, flip": "flip", "crop, TrivialAugmentWide": "trivial"}


def main() -> None:
    """Prints one line per claim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="class folders of JPEGs; default: made here")
    parser.add_argument("--count", type=int, default=1000, help="how many are made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.images or make_jpegs(Path(scratch) / "jpegs", options.count)
        count = len(ImageFolder(str(folder)))
        sys.stdout.write(
            f"{count} images of {folder.name}, stored at {STORED} px, cropped to {IMAGE_SIZE}, "
            f"batch {BATCH_SIZE}; {os.cpu_count()} cores, {processor()}, Python "
            f"{platform.python_version()}, torch {torch.__version__}, torchvision "
            f"{torchvision.__version__}, Pillow {PIL.__version__}; DataLoader: {WORKERS} workers, "
            f"raybench: {options.threads} thread(s)\n"
        )
        for words, kind in CASES.items():
            report_rates(words, kind, folder, Path(scratch) / "cache", options.rounds)
        report_first_epochs(folder, Path(scratch), options.rounds)
        report_memory(folder, Path(scratch) / "cache")


def processor() -> str:
    """Its name, where the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "CPU")


def make_jpegs(root: Path, count: int, classes: int = 4, side: int = 160) -> Path:
    """Noise at several scales, which JPEG compresses about as well as photographs."""
    rng = np.random.default_rng(0)
    for index in range(count):
        layers = [
            np.asarray(
                Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(
                    (side, side), Image.Resampling.BICUBIC
                ),
                dtype=np.float32,
            )
            for cells in (4, 16, 64)
        ]
        pixels = np.average(layers, axis=0, weights=(4, 2, 1)).astype(np.uint8)
        place = root / f"class{index % classes}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:04d}.jpg", quality=88)
    return root


def data_loader(folder: Path, kind: str) -> DataLoader[Any]:
    """The usual pipeline; augmentation on PIL images, its fastest form (as tensors: 3 times)."""
    chosen = {"flip": v2.RandomHorizontalFlip(), "trivial": v2.TrivialAugmentWide()}[kind]
    transform = v2.Compose(
        [
            v2.Resize(STORED),
            v2.RandomCrop(IMAGE_SIZE),
            chosen,
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(DEFAULT_MEAN, DEFAULT_STD),
        ]
    )
    images = ImageFolder(str(folder), transform)
    return DataLoader(
        images, BATCH_SIZE, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )


def our_epoch(data: CachedImages, kind: str, epoch: int) -> Iterator[Tensor]:
    """Batches as ``trial.loop`` makes them."""
    cpu = torch.device("cpu")
    loader = make_loader(data.images, data.labels, cpu, DEFAULT_MEAN, DEFAULT_STD)
    indices = np.arange(len(data.images))
    for number, batch in enumerate(epoch_batches(indices, BATCH_SIZE, 0, epoch)):
        pixels, _ = loader.fetch(batch, crop_seed=1000 * epoch + number)
        yield loader.normalise(augment(pixels, kind, 1000 * epoch + number))


def our_first_epoch(folder: Path, cache: Path) -> Iterator[Tensor]:
    yield from our_epoch(our_data(folder, cache), "flip", 0)


def seconds(epoch: Callable[[], Iterator[Any]]) -> float:
    """Of one epoch, every batch looked at and let go."""
    started = time.perf_counter()
    for batch in epoch():
        images = batch if isinstance(batch, Tensor) else batch[0]
        assert images.dtype == torch.float32 and images.shape[1:] == (3, IMAGE_SIZE, IMAGE_SIZE)
    return time.perf_counter() - started


def our_data(folder: Path, cache: Path) -> CachedImages:
    return open_cache(DatasetSpec(name="jpegs", path=str(folder)), IMAGE_SIZE, cache, "random")


def report_rates(words: str, kind: str, folder: Path, cache: Path, rounds: int) -> None:
    """Images/s from the second epoch on."""
    data, theirs = our_data(folder, cache), data_loader(folder, kind)
    count = len(data.images)
    seconds(lambda: iter(theirs)), seconds(lambda: our_epoch(data, kind, 0))
    pairs = []
    for number in range(1, rounds + 1):
        slow = seconds(lambda: iter(theirs))
        # Three epochs, so that both sides meet the machine's other work for about as long.
        fast = sum(
            seconds(functools.partial(our_epoch, data, kind, 3 * number + n)) for n in range(3)
        )
        pairs.append((count / slow, 3 * count / fast))
    say(f"{words}, images/s", pairs)


def report_first_epochs(folder: Path, scratch: Path, rounds: int) -> None:
    """1 / seconds until the last batch of the first epoch, from nothing."""
    pairs = []
    for number in range(rounds):
        slow = seconds(lambda: iter(data_loader(folder, "flip")))
        close_sets()
        cache = scratch / f"first{number}"
        fast = seconds(functools.partial(our_first_epoch, folder, cache))
        pairs.append((1 / slow, 1 / fast))
    say("first epoch with crop, flip, epochs/s", pairs)


def say(words: str, pairs: list[tuple[float, float]]) -> None:
    ratios = sorted(ours / theirs for theirs, ours in pairs)
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    sys.stdout.write(
        f"{words}: DataLoader {theirs:,.4g}, raybench {ours:,.4g}, median ratio "
        f"{statistics.median(ratios):.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})\n"
    )
    sys.stdout.flush()


def pss_bytes() -> int:
    """This process's proportional share of the memory it has mapped, freed blocks handed back."""
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss in /proc/self/smaps_rollup")


def blank_frames(count: int) -> Frames:
    """One black picture in memory, ``count`` times."""
    pixels = np.zeros(3 * STORED * STORED, dtype=np.uint8)
    shapes = np.full((count, 2), STORED, dtype=np.int32)
    return Frames(pixels, np.zeros(count, dtype=np.int64), shapes, IMAGE_SIZE)


def _reader(folder: Path, cache: Path, barrier: Any, results: Any) -> None:
    """Measures itself idle (all imported, batches made of blank pictures), then with all read."""
    torch.set_num_threads(1)
    data = our_data(folder, cache)
    blank = dataclasses.replace(data, images=blank_frames(len(data.images)))
    seconds(lambda: our_epoch(blank, "flip", 0))
    barrier.wait()
    idle = pss_bytes()
    barrier.wait()
    seconds(lambda: our_epoch(data, "flip", 0))
    barrier.wait()
    results.put((idle, pss_bytes()))
    barrier.wait()


def report_memory(folder: Path, cache: Path) -> None:
    """Ten processes read one cache at the same time."""
    size = our_data(folder, cache).images.nbytes
    close_sets()
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(READERS), context.Queue()
    arguments = (folder, cache, barrier, results)
    readers = [context.Process(target=_reader, args=arguments) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    idle, busy = (sum(column) for column in zip(*(results.get() for _ in readers), strict=True))
    for reader in readers:
        reader.join()
    sys.stdout.write(
        f"memory of {READERS} readers beyond the same processes idle: {(busy - idle) / 1e6:.1f} MB "
        f"for a cache of {size / 1e6:.1f} MB: {(busy - idle) / size:.2f} times\n"
    )


if __name__ == "__main__":
    main()
