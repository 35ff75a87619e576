"""The script that one writes first: ``ImageFolder``, two ``DataLoader`` workers, one training.

The baseline of ``obvious_sweep``, which starts it once per trial in a fresh process, as a shell
loop would. It knows nothing of raybench. Prints the validation accuracy after each epoch and, where
``--test`` is given, the test accuracy at the end; then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS = 2


def loader_of(folder: Path, size: int, batch_size: int, train: bool) -> DataLoader[object]:
    """Squeezed to a square; a training image is mirrored half of the time."""
    flip: list[nn.Module] = [v2.RandomHorizontalFlip()] if train else []
    pixels = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    images = ImageFolder(str(folder), v2.Compose([v2.Resize((size, size)), *flip, *pixels]))
    return DataLoader(
        images, batch_size, shuffle=train, num_workers=WORKERS, persistent_workers=True
    )


def accuracy(model: nn.Module, loader: DataLoader[object]) -> float:
    model.eval()
    correct = count = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += int((model(images).argmax(1) == labels).sum())
            count += len(labels)
    return correct / count


def train_epoch(
    model: nn.Module, loader: DataLoader[object], optimizer: torch.optim.Optimizer
) -> None:
    model.train()
    for images, labels in loader:
        loss: Tensor = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def main() -> None:
    """Trains one configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds train, val and test")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    parts = ("train", "val", "test")
    loaders = {
        part: loader_of(
            options.folder / part, options.image_size, options.batch_size, part == "train"
        )
        for part in parts
    }
    classes = len(loaders["train"].dataset.classes)  # type: ignore[attr-defined]
    model = torchvision.models.get_model(options.backbone, weights=None, num_classes=classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    started, found = time.perf_counter(), []
    for epoch in range(1, options.epochs + 1):
        train_epoch(model, loaders["train"], optimizer)
        found.append(accuracy(model, loaders["val"]))
        sys.stdout.write(f"epoch {epoch}: validation accuracy {found[-1]:.3f}\n")
    answer = {"val": max(found), "trained_s": time.perf_counter() - started}
    if options.test:
        answer["test"] = accuracy(model, loaders["test"])
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
