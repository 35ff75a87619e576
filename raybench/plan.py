"""Expand a spec into pairs with stable ids, ladders, quotas and final trials. No torch, no ray."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from raybench.backbones.index import is_weights_file, load_index, split_name
from raybench.space import Params, ladder_params
from raybench.spec import BackboneSpec, ColumnsSpec, DatasetSpec, SplitSpec, SweepSpec
from raybench.version import RESULT_VERSION


@dataclass(frozen=True)
class Pair:
    """Backbone x task: the unit that owns a budget and an Optuna study.

    ``title`` names the backbone in tables: as in the file, with weights and arguments added only
    where the file names it more than once.
    """

    id: str
    position: int
    title: str
    backbone: BackboneSpec
    dataset: DatasetSpec
    subset: str
    quota: int
    ladder: tuple[Params, ...]
    final_seeds: tuple[int, ...]
    final_configs: tuple[str, ...]

    @property
    def folds(self) -> int:
        """Folds that the finals cross their seeds with; 1 without cross-validation."""
        return self.dataset.folds or 1

    @property
    def final_trials(self) -> int:
        """At most; the tuned configuration may turn out to be the default one."""
        return len(self.final_seeds) * self.folds * len(self.final_configs)

    @property
    def default_params(self) -> Params:
        return self.ladder[0]

    @property
    def task(self) -> str:
        """``digits`` or ``digits (10%)``."""
        return (
            self.dataset.name if self.subset == "full" else f"{self.dataset.name} ({self.subset})"
        )


@dataclass(frozen=True)
class Plan:
    """Everything a sweep owes."""

    spec: SweepSpec
    pairs: tuple[Pair, ...]

    @property
    def search_trials(self) -> int:
        return sum(pair.quota for pair in self.pairs)

    @property
    def final_trials(self) -> int:
        """At most; the tuned configuration may turn out to be the default one."""
        return sum(pair.final_trials for pair in self.pairs)


def make_plan(spec: SweepSpec) -> Plan:
    """All pairs of a validated spec, in file order: data set, subset, backbone."""
    ladder = ladder_params(spec.space, spec.search.ladder)
    tasks, titles = _tasks(spec), _titles(spec)
    pairs = tuple(
        Pair(
            id=pair_id(spec, backbone, dataset, subset),
            position=position,
            title=titles[backbone.model_dump_json()],
            backbone=backbone,
            dataset=dataset,
            subset=subset,
            quota=spec.budget.trials,
            ladder=ladder,
            final_seeds=spec.final.seeds,
            final_configs=spec.final.configs,
        )
        for position, (dataset, subset, backbone) in enumerate(tasks)
    )
    return Plan(spec, pairs)


def _titles(spec: SweepSpec) -> dict[str, str]:
    """Backbone as JSON -> the shortest text that tells it from the file's others."""
    names = Counter(backbone.name for backbone in spec.backbones)
    weights = Counter((backbone.name, backbone.weights) for backbone in spec.backbones)
    titles = {}
    for backbone in spec.backbones:
        parts = [backbone.weights.rsplit("/", 1)[-1]] if names[backbone.name] > 1 else []
        if weights[(backbone.name, backbone.weights)] > 1:
            parts += [f"{key}={value}" for key, value in backbone.kwargs.items()]
        suffix = f" [{', '.join(parts)}]" if parts else ""
        titles[backbone.model_dump_json()] = backbone.name + suffix
    return titles


def _tasks(spec: SweepSpec) -> Iterator[tuple[DatasetSpec, str, BackboneSpec]]:
    for dataset in spec.datasets:
        for subset in spec.subsets:
            for backbone in spec.backbones:
                yield dataset, subset, backbone


def pair_id(spec: SweepSpec, backbone: BackboneSpec, dataset: DatasetSpec, subset: str) -> str:
    """Readable slug plus eight hex digits of everything that changes the pair's result.

    What means the same has the same id: the default weights and their tag, the default split and
    none given, ``recipe.lr`` and the default of ``space.lr``. Left out on purpose: budget, final
    seeds and configurations (raising them runs only what is missing), resources, device, and the
    places where files lie.
    """
    tuned = {name: range_.default for name, range_ in spec.space.items()}
    identity: dict[str, Any] = {
        "result_version": RESULT_VERSION,
        "backbone": _backbone_identity(backbone),
        "dataset": _dataset_identity(dataset),
        "subset": subset,
        "recipe": spec.recipe.model_dump(mode="json") | tuned,
        "space": {k: v.model_dump(mode="json") for k, v in sorted(spec.space.items())},
        "search": spec.search.model_dump(mode="json"),
        "final": {"refit": spec.final.refit, "selection": spec.final.selection},
        "seed": spec.seed,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    model = identity["backbone"]["name"].rsplit(":", 1)[-1]
    return f"{_slug(model)}-{_slug(dataset.name)}-{_slug(subset)}-{digest}"


def _backbone_identity(backbone: BackboneSpec) -> dict[str, Any]:
    """The weights by tag or by content, wherever and however the file names them."""
    library, model, tag = split_name(backbone.name)
    if library == "python":
        tag = _source_sha256(backbone.name.split(":")[1])
    tags = load_index().get(library, {}).get(model, ())
    weights = backbone.weights
    if is_weights_file(weights) and Path(weights).is_file():
        stat = Path(weights).stat()
        weights = _file_sha256(weights, stat.st_size, stat.st_mtime_ns)
    elif weights in tags:
        tag, weights = weights, "pretrained"
    return {
        "name": f"{library}:{model}",
        "tag": tag or next(iter(tags), ""),
        "weights": weights,
        "kwargs": backbone.kwargs,
    }


def _source_sha256(module: str) -> str:
    """Digest of the user's module, so that a mended function makes a new pair; empty if not found.

    Only that file: what it imports is not looked at.
    """
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        found = None
    here = Path(*module.split(".")).with_suffix(".py")
    source = Path(found.origin) if found is not None and found.origin else here
    return hashlib.sha256(source.read_bytes()).hexdigest() if source.is_file() else ""


@lru_cache(maxsize=1024)
def _file_sha256(path: str, size: int, modified_ns: int) -> str:
    """Once per file, not once per pair; size and time notice a file replaced meanwhile."""
    with Path(path).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _dataset_identity(dataset: DatasetSpec) -> dict[str, Any]:
    identity = dataset.model_dump(mode="json", exclude={"path", "root", "domain"})
    defaults = {"split": SplitSpec(), "columns": ColumnsSpec()}
    for key, default in defaults.items():
        identity[key] = identity[key] or default.model_dump(mode="json")
    return identity


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_.]+", "_", text.lower()).strip("_.")[:40] or "x"
