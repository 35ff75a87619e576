"""A proposal as a sweep file, each choice with its reason. The file is the user's from then on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

from raybench.proposal import CPU_LARGEST, Proposal
from raybench.spec import BackboneSpec

LADDER = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
PROBE_LADDER = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


def sweep_text(proposal: Proposal, folder: Path, command: str) -> str:
    """YAML for a file in ``folder``; every string is written as JSON, which YAML reads alike.

    ``command``: what the user typed, for the first line.
    """
    head = "\n".join(_head(proposal, command))
    parts = (_backbones, _dataset, _recipe, _search, _finals)
    return "\n".join([head, *("\n".join(part(proposal, folder)) for part in parts)]) + "\n"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _head(p: Proposal, command: str) -> Iterable[str]:
    place = f"{p.gpus} GPUs" if p.gpus else f"{p.cores} CPU cores"
    name = p.dataset.name
    return (
        f"# Written by: {command}, for {place}; yours from here on.",
        f"# Planned to take about {max(1, round(p.cost_s / 60))} of the budget's minutes. "
        f"Change what you like, then: raybench run {name}.yaml",
        f"name: {_text(name)}",
        f"description: {_text(f'Which backbone for {name}, in {p.budget}')}",
        "",
    )


def _backbones(p: Proposal, folder: Path) -> Iterable[str]:
    yield "# A shortlist by cost: each was timed on this machine, and together they fit."
    for name, reason in sorted(p.left_out.items()):
        yield f"# left out: {name} ({reason})"
    yield "backbones:"
    for spec in p.backbones:
        yield f"  - {_backbone(spec)}"
    yield ""


def _backbone(spec: BackboneSpec) -> str:
    if spec.weights == "pretrained" and not spec.kwargs:
        return _text(spec.name)
    return _json({k: v for k, v in spec.model_dump(mode="json").items() if v})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _dataset(p: Proposal, folder: Path) -> Iterable[str]:
    counts = p.counts
    entry = {"name": p.dataset.name, "path": os.path.relpath(p.dataset.path or "", folder)}
    yield f"# {counts.total:,} images in {counts.classes} classes."
    if p.folds:
        yield (
            f"# So few that one test split would decide by luck: {p.folds} folds test every image "
            "once."
        )
        entry_text = _json(entry | {"folds": p.folds})
    else:
        yield (
            f"# {counts.train:,} train, {counts.val:,} choose the settings, {counts.test:,} are "
            "kept for the end."
        )
        entry_text = _json(entry)
    yield "# Do several images show one patient, plant or place? Then say so: group_by."
    yield f"datasets: [{entry_text}]"
    if p.design.subset != "full":
        yield f"# Only {p.design.subset} of the training images: all of them do not fit the budget."
    yield f"subsets: [{_text(p.design.subset)}]"
    yield ""


def _recipe(p: Proposal, folder: Path) -> Iterable[str]:
    size, design = p.design.image_size, p.design
    yield f"# Images: median short side {p.short_side} px; {size} px is {_size_reason(p)}."
    if design.method == "linear_probe":
        yield "# Fine-tuning does not fit the budget: the backbones stay frozen, their features are"
        yield "# fitted by a logistic regression. Fine-tuning may rank them otherwise."
        yield _json_line("recipe", {"method": "linear_probe", "image_size": size})
    else:
        yield f"# {p.epochs} epochs are about {_steps(p)} steps of {p.batch_size} images a trial."
        yield "recipe:"
        yield f"  image_size: {size}"
        yield f"  batch_size: {p.batch_size}"
        yield f"  epochs: {p.epochs}"
        yield "  stages: [{optimizer: adamw, schedule: cosine, warmup_epochs: 1}]"
        yield "  augment: flip      # not where left and right matter: then none"
        yield "  weight_decay: 0.05"
    yield ""


def _json_line(key: str, value: object) -> str:
    return f"{key}: {_json(value)}"


def _steps(p: Proposal) -> int:
    return p.epochs * math.ceil(p.counts.train * p.design.part / p.batch_size)


def _size_reason(p: Proposal) -> str:
    size = p.design.image_size
    if size > p.short_side:
        return "the least that the networks are good for"
    if not p.gpus and size == CPU_LARGEST:
        return "what a CPU can afford"
    if size == 224:
        return "what most networks were pretrained on"
    return "the largest that fits them and the budget"


def _search(p: Proposal, folder: Path) -> Iterable[str]:
    if p.design.method == "linear_probe":
        yield "space: {l2: {default: 1.0e-2, low: 1.0e-5, high: 1.0e+2, log: true}}"
        yield f"search: {{sampler: grid, ladder: {{l2: {list(PROBE_LADDER)}}}}}"
        yield f"budget: {{trials: {len(PROBE_LADDER)}, wall_clock: {p.wall_clock_s}s}}"
        return
    trials = p.design.trials
    rungs = LADDER if trials >= len(LADDER) else (1e-4, 3e-4, 1e-3)[:trials]
    ladder = ", ".join(f"{lr:.1e}" for lr in rungs)
    yield "# The same learning rates for every backbone first, then the sampler's; bad ones are"
    yield "# stopped early."
    yield "space: {lr: {default: 3.0e-4, low: 1.0e-5, high: 1.0e-2, log: true}}"
    yield f"search: {{sampler: tpe, ladder: {{lr: [{ladder}]}}, early_stop: asha}}"
    yield f"budget: {{trials: {trials}, wall_clock: {p.wall_clock_s}s}}"


def _finals(p: Proposal, folder: Path) -> Iterable[str]:
    if p.folds:
        yield "# The winner of each backbone is trained once on every fold."
    elif len(p.final_seeds) > 1:
        yield f"# The winner of each backbone is trained {len(p.final_seeds)} times: how much luck?"
    yield f"final: {{seeds: {list(p.final_seeds)}}}"
    yield f"resources: {{cpus: {_cpus(p)}, gpus: auto}}"
    yield "seed: 0"


def _cpus(p: Proposal) -> int:
    """Cores for a trial: one where there is no GPU, so that several run at once."""
    return max(1, p.cores // p.gpus) if p.gpus else 1
