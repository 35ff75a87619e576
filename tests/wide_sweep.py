"""A made-up sweep as wide as the paper's: 11 backbones x 19 data sets of six domains.

By formula and named seeds: no training, no clock. Every third data set stands there at 10% of its
training images too. Predictions agree with the test accuracies of the trials that they belong to.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from raybench.predictions import Predictions
from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.seeding import derive_seed
from tests.factories import (
    DEFAULT_LR,
    FACTS,
    LADDER,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    search_trial,
)
from tests.measurements import make_profile, make_timing

IMAGES, CLASSES = 300, 5
# name -> peak accuracy (logit), best learning rate, parameters, latency in ms
BACKBONES: dict[str, tuple[float, float, int, float]] = {
    "timm:resnet50.a1_in1k": (2.30, 8e-4, 25_560_000, 21.0),
    "timm:vgg16.tv_in1k": (1.60, 1e-4, 138_360_000, 48.0),
    "timm:densenet161.tv_in1k": (2.25, 1e-3, 28_680_000, 39.0),
    "timm:efficientnet_v2_s.in1k": (2.45, 1.2e-3, 21_460_000, 30.0),
    "timm:mobilenetv3_large_100.ra_in1k": (1.95, 2e-3, 5_480_000, 7.0),
    "timm:convnext_tiny.fb_in1k": (2.85, 2e-4, 28_590_000, 27.0),
    "timm:swin_tiny_patch4_window7_224.ms_in1k": (2.60, 9e-5, 28_290_000, 33.0),
    "timm:regnety_032.ra_in1k": (2.80, 6e-4, 19_440_000, 24.0),
    "timm:shufflenet_v2_x2_0": (1.85, 2e-3, 7_390_000, 9.0),
    "timm:wide_resnet50_2.racm_in1k": (2.35, 7e-4, 68_880_000, 41.0),
    "python:wavemix:WaveMix <192, 16>": (2.10, 1.5e-3, 27_900_000, 36.0),
}
DOMAINS = {
    "natural": ("cifar10", "cifar100", "tiny-imagenet", "stanford-dogs", "flowers102"),
    "texture": ("dtd", "kth-tips"),
    "remote sensing": ("eurosat", "ucmerced", "rsscn7"),
    "plants": ("plant-village", "leaves"),
    "astronomy": ("galaxy10",),
    "medical": ("ham10000", "brain-mri4", "breakhis", "chest-xray", "retina", "malaria"),
}


def wide_snapshot(backbones: int = 11, data_sets: int = 19) -> SweepSnapshot:
    """The first so many of both; one pair has failed, one is searching, one set leaks."""
    sets = [(domain, name) for domain, names in DOMAINS.items() for name in names][:data_sets]
    pairs = [
        _pair(backbone, name, domain, index, subset)
        for index, (domain, name) in enumerate(sets)
        for subset in ("full", "10%")[: 2 if index % 3 == 0 else 1]
        for backbone in list(BACKBONES)[:backbones]
    ]
    profiles = tuple(
        make_profile(
            backbone=name,
            parameters=parameters,
            single=make_timing(median_ms=latency),
            shared=latency == 7.0,
            seen="another process took 40% of the GPU",
        )
        for name, (_, _, parameters, latency) in list(BACKBONES.items())[:backbones]
    )
    snapshot = make_snapshot(*pairs)
    return replace(
        snapshot,
        sweep="paper-like",
        description="Eleven backbones on nineteen data sets of six domains (made up by formula)",
        profiles=profiles,
    )


class MadeUpPredictions:
    """Draws each final's predictions from its key, right as often as its accuracy says."""

    def read(self, trial: TrialRow) -> Predictions | None:
        if trial.end is None or "test/accuracy" not in trial.end.test:
            return None
        right = round(trial.end.test["test/accuracy"] * IMAGES)
        task = trial.pair_id.split(".", 1)[-1]
        images = np.random.default_rng(derive_seed("images", task.split(".")[-2]))
        labels = images.integers(0, CLASSES, IMAGES)
        hardness = images.normal(size=IMAGES)
        own = np.random.default_rng(derive_seed("own", trial.key))
        order = np.argsort(hardness + 0.6 * own.normal(size=IMAGES))
        guesses = labels.copy()
        wrong = order[right:]
        guesses[wrong] = (labels[wrong] + 1 + own.integers(0, CLASSES - 1, len(wrong))) % CLASSES
        logits = own.normal(scale=0.4, size=(IMAGES, CLASSES))
        logits[np.arange(IMAGES), guesses] += 1.5 + np.abs(own.normal(scale=1.5, size=IMAGES))
        exponents = np.exp(logits)
        return Predictions(
            key=trial.key,
            ids=tuple(f"images/{index:04d}.jpg" for index in range(IMAGES)),
            labels=labels,
            probabilities=(exponents / exponents.sum(1, keepdims=True)).astype(np.float32),
            classes=("benign", "malignant", "<b>other</b>", "artefact", "normal tissue"),
            groups=None,
            split="sha256:a81b22c3d4",
        )


def _pair(backbone: str, dataset: str, domain: str, index: int, subset: str) -> PairRow:
    name = pair_id(backbone, dataset, subset)
    facts = {**FACTS, "domain": domain, "classes": CLASSES, "test_images": IMAGES}
    facts |= {"train_images": 1200 if subset == "full" else 120}
    facts |= {"leaks": "3 images stand in train and test"} if dataset == "breakhis" else {}
    options = {"dataset": dataset, "subset": subset, "facts": facts}
    if backbone.startswith("timm:vgg16") and dataset == "galaxy10":
        crashed = [_crash(name, number) for number in range(len(LADDER))]
        return make_pair(backbone, crashed, state="failed", **options)
    search = [_search(name, backbone, index, subset, n, lr) for n, lr in enumerate(LADDER)]
    if backbone.startswith("python:") and dataset == "malaria":
        return make_pair(backbone, search[:3], state="searching", **options)
    finals = [
        final_trial(name, 3 * which + seed, seed, _test(name, seed, reached), (config,))
        for which, (config, reached) in enumerate(_configs(backbone, index, subset).items())
        for seed in range(3)
    ]
    return make_pair(backbone, [*search, *finals], configs=("tuned", "default"), **options)


def _search(name: str, backbone: str, index: int, subset: str, number: int, lr: float) -> TrialRow:
    top = _reached(backbone, index, subset, lr)
    values = [top * (1 - 0.5 * math.exp(-epoch)) for epoch in range(1, 7)]
    return search_trial(name, number, lr, values, parameters=BACKBONES[backbone][2])


def _crash(name: str, number: int) -> TrialRow:
    reason = "RuntimeError: CUDA out of memory <tried to allocate 2.00 GiB>"
    return search_trial(name, number, LADDER[number], (), "failed", failure="oom", reason=reason)


def _configs(backbone: str, index: int, subset: str) -> dict[str, float]:
    best = max(LADDER, key=lambda lr: _reached(backbone, index, subset, lr))
    return {
        "tuned": _reached(backbone, index, subset, best),
        "default": _reached(backbone, index, subset, DEFAULT_LR),
    }


def _reached(backbone: str, index: int, subset: str, lr: float) -> float:
    """Accuracy: the backbone's level, the data set's, how well both suit, less a wrong rate."""
    level, best_lr, _, _ = BACKBONES[backbone]
    suits = (derive_seed("suits", backbone, index) % 1000 / 1000 - 0.5) * 0.9
    easy = (derive_seed("easy", index) % 1000 / 1000 - 0.5) * 2.4
    fewer = 0.0 if subset == "full" else 1.3 - 0.3 * (level < 2)
    off = 0.9 * (math.log10(lr) - math.log10(best_lr)) ** 2
    return 1 / (1 + math.exp(-(level + suits + easy - fewer - off)))


def _test(name: str, seed: int, reached: float) -> float:
    """Of ``IMAGES``, so that predictions can agree with it."""
    noise = (derive_seed("seed", name, seed) % 1001 - 500) / 500 * 0.012
    return round(min(1.0, max(0.0, reached - 0.01 + noise)) * IMAGES) / IMAGES
