"""Claim: 24 trainings on image files end 6 times sooner than by the obvious script (at about 1 s
of computing a trial; 2.5 times at about 5 s), with the same accuracy.

The obvious way is a loop over ``obvious_trial.py``: one training after another, a fresh Python
each, torchvision's ``ImageFolder`` behind a ``DataLoader`` of two workers. Both sides do the same
24 trainings: two networks, each with eleven learning rates and then the best one again under
another seed with a look at the test images. Same files, transforms, batch size, epochs, optimizer;
validation after every epoch. Ours is the whole command ``raybench run FILE`` in a new home, with
MLflow tracking, from process start to exit. Networks start from random weights, so that nothing is
downloaded. The images are made here unless ``--images`` names class folders: 960 JPEGs of 400 x 300
pixels and 31 kB, as a photograph on a web page. The script runs with torch's own number of threads,
as scripts do; ``--threads 1`` is kinder to it on a busy machine, where OpenMP's threads wait for
each other actively.

    python benchmarks/obvious_sweep.py [--epochs 3 15] [--rounds 3] [--images FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BACKBONES = ("shufflenet_v2_x0_5", "squeezenet1_1")
RATES = tuple(round(1e-4 * 10 ** (n / 5), 7) for n in range(11))  # 0.0001 to 0.01
DEFAULT_RATE = 1e-3
IMAGE_SIZE, BATCH_SIZE = 32, 32
FILE_SIZE, QUALITY = (400, 300), 92
CLASSES = 4
COUNTS = {"train": 480, "val": 240, "test": 240}
LAYERS = {4: 2.0, 16: 1.0, 64: 1.0, 200: 1.0}
"""Noise over a class's pattern, which has weight 6: cells across, and weight."""
SCRIPT_ENVIRONMENT: dict[str, str] = {}
NAMES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow")


@dataclass(frozen=True)
class Found:
    """One side's sweep: wall seconds, and accuracies in [0, 1] by network.

    ``val`` of each training, the final one last; ``test`` of the final one.
    """

    seconds: float
    val: Mapping[str, Sequence[float]]
    test: Mapping[str, float]


# -- images --------------------------------------------------------------------------------------


def make_images(root: Path, counts: dict[str, int]) -> Path:
    """JPEGs of noise at several scales; a class has its own pattern of colours under it."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (CLASSES, 4, 4, 3), dtype=np.uint8)
    for part, count in counts.items():
        for index in range(count):
            name = index % CLASSES
            layers = [_enlarged(patterns[name])]
            for cells in LAYERS:
                layers.append(_enlarged(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)))
            weights = (6.0, *LAYERS.values())
            pixels = np.average(layers, axis=0, weights=weights).astype(np.uint8)
            place = root / part / f"class{name}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{index:04d}.jpg", quality=QUALITY)
    return root


def _enlarged(cells: Any) -> Any:
    image = Image.fromarray(cells).resize(FILE_SIZE, Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def split_images(source: Path, root: Path, counts: dict[str, int]) -> Path:
    """Copies of files of class folders, drawn at random, as train, val and test."""
    rng = random.Random(0)
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        rng.shuffle(files)
        for part, count in counts.items():
            place = root / part / folder.name
            place.mkdir(parents=True)
            for _ in range(count // len(folders)):
                file = files.pop()
                shutil.copy(file, place / file.name)
    return root


# -- the obvious way -----------------------------------------------------------------------------


def run_obviously(images: Path, scratch: Path, epochs: int) -> Found:
    """The shell loop, in Python."""
    started = time.perf_counter()
    val: dict[str, list[float]] = {}
    test: dict[str, float] = {}
    for backbone in BACKBONES:
        found = [train_obviously(images, backbone, rate, epochs)["val"] for rate in RATES]
        best = RATES[found.index(max(found))]
        final = train_obviously(images, backbone, best, epochs, "--seed", "1", "--test")
        val[backbone], test[backbone] = [*found, final["val"]], final["test"]
    return Found(time.perf_counter() - started, val, test)


def train_obviously(
    images: Path, backbone: str, rate: float, epochs: int, *more: str
) -> dict[str, float]:
    """One training in a fresh process; the JSON of its last line."""
    script = Path(__file__).with_name("obvious_trial.py")
    command = [sys.executable, str(script), str(images), "--backbone", backbone]
    command += ["--lr", str(rate), "--epochs", str(epochs), *more]
    command += ["--image-size", str(IMAGE_SIZE), "--batch-size", str(BATCH_SIZE)]
    environment = os.environ | SCRIPT_ENVIRONMENT
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


# -- raybench ------------------------------------------------------------------------------------


def sweep_data(images: Path, epochs: int) -> dict[str, Any]:
    """The same trainings as a sweep file: eleven rungs of a ladder, and one final seed."""
    return {
        "name": "obvious",
        "backbones": [{"name": f"torchvision:{name}", "weights": "none"} for name in BACKBONES],
        "datasets": [{"name": "images", "path": str(images)}],
        "recipe": {
            "image_size": IMAGE_SIZE,
            "batch_size": BATCH_SIZE,
            "epochs": epochs,
            "stages": [{"schedule": "constant"}],
            "augment": "flip",
        },
        "space": {"lr": {"default": DEFAULT_RATE, "low": 1e-5, "high": 1e-1, "log": True}},
        "search": {"sampler": "grid", "ladder": {"lr": list(RATES)}, "early_stop": "none"},
        "budget": {"trials": len(RATES)},
        "final": {"seeds": [1]},
        "resources": {"cpus": 1, "gpus": 0},
        "device": "cpu",
    }


def run_raybench(images: Path, scratch: Path, epochs: int) -> Found:
    """The whole command in a new home."""
    home = Path(tempfile.mkdtemp(dir=scratch)) / "home"
    file = home.with_name("sweep.yaml")
    file.write_text(json.dumps(sweep_data(images, epochs)))
    command = [sys.executable, "-m", "raybench.cli", "run", str(file), "--home", str(home)]
    started = time.perf_counter()
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return Found(seconds, *accuracies(home))


def accuracies(home: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    """By network: validation accuracy of all trainings, test accuracy of the final one."""
    import raybench

    val: dict[str, list[float]] = {}
    test: dict[str, float] = {}
    for pair in raybench.open(home=home).snapshot().pairs:
        name = pair.backbone.removeprefix("torchvision:")
        ends = [row.end for row in pair.trials if row.end and row.end.state == "complete"]
        assert len(ends) == len(RATES) + 1, "a training is missing"
        val[name] = [end.best["val/accuracy"] for end in ends]
        (test[name],) = (end.test["test/accuracy"] for end in ends if end.test)
    return val, test


# -- comparison ----------------------------------------------------------------------------------

SIDES = {"obvious": run_obviously, "raybench": run_raybench}


def computing_s(images: Path, epochs: int) -> float:
    """Mean seconds of a trial's arithmetic alone, on one core: ready tensors, bare loop."""
    import torch
    import torch.nn.functional as F
    import torchvision

    torch.set_num_threads(1)
    train, val = (len(list((images / part).glob("*/*"))) for part in ("train", "val"))
    pixels = torch.randn(max(train, val), 3, IMAGE_SIZE, IMAGE_SIZE)
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    total = 0.0
    for name in BACKBONES:
        model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
        optimizer = torch.optim.AdamW(model.parameters())
        started = time.perf_counter()
        for _ in range(epochs):
            model.train()
            for batch in torch.split(torch.arange(train), BATCH_SIZE):
                optimizer.zero_grad()
                F.cross_entropy(model(pixels[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for batch in torch.split(torch.arange(val), BATCH_SIZE):
                    model(pixels[batch])
        total += time.perf_counter() - started
    return total / len(BACKBONES)


def compare(images: Path, epochs: int, rounds: int, scratch: Path) -> None:
    """Prints each side's median and the ratio."""
    computing = computing_s(images, epochs)
    found: dict[str, list[Found]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in sorted(SIDES, reverse=bool(number % 2)):
            found[side].append(SIDES[side](images, scratch, epochs))
            say(f"  round {number + 1}, {side}: {found[side][-1].seconds:.1f} s")
    obvious, ours = found["obvious"], found["raybench"]
    ratios = sorted(a.seconds / b.seconds for a, b in zip(obvious, ours, strict=True))
    say(
        f"{epochs} epochs, {computing:.2f} s of computing a trial on one core: obvious "
        f"{statistics.median(f.seconds for f in obvious):.1f} s, raybench "
        f"{statistics.median(f.seconds for f in ours):.1f} s, median ratio "
        f"{statistics.median(ratios):.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
    for side, results in found.items():
        for name in BACKBONES:
            val = [value for result in results for value in result.val[name]]
            test = [f"{result.test[name]:.3f}" for result in results]
            say(
                f"  {side}, {name}: validation accuracy mean {statistics.fmean(val):.3f}, standard "
                f"deviation {statistics.stdev(val):.3f}, best {max(val):.3f} over {len(val)} "
                f"trainings; test {', '.join(test)}"
            )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Prints one line per number of epochs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 15])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path, help="class folders of images; default: made here")
    parser.add_argument("--threads", type=int, help="of the obvious script; default: torch's")
    options = parser.parse_args()
    if options.threads is not None:
        SCRIPT_ENVIRONMENT["OMP_NUM_THREADS"] = str(options.threads)
    listed = ", ".join(f"{name} {version(name)}" for name in NAMES)
    say(f"{os.cpu_count()} cores, Python {platform.python_version()}, {listed}")
    with tempfile.TemporaryDirectory() as folder:
        scratch, images = Path(folder), Path(folder) / "images"
        if options.images is None:
            make_images(images, COUNTS)
        else:
            split_images(options.images, images, COUNTS)
        for epochs in options.epochs:
            compare(images, epochs, options.rounds, scratch)


if __name__ == "__main__":
    main()
