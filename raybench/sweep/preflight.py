"""Before the first trial: every data set decoded, every split cut, every model built once.

A mistake found here costs seconds; found by a trial it costs its slot, an hour in. All mistakes
come at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raybench.errors import DataError
from raybench.plan import Pair, Plan
from raybench.records import SweepSnapshot
from raybench.seeding import derive_seed
from raybench.settings import Settings
from raybench.spec import TWO_CLASS_METRICS, BackboneSpec

Facts = dict[str, str | float]


def check_everything(
    plan: Plan,
    settings: Settings,
    snapshot: SweepSnapshot,
    tell: Callable[[str], None],
) -> dict[str, Facts]:
    """Facts of every pair: classes, images per split, digests, parameters.

    Pairs whose facts the ledger holds already, on unchanged data, are not checked again.

    Raises:
        DataError: unreadable images, impossible splits, changed data, models that cannot be built.
        ResourceError: weights or data that cannot be had here.
    """
    known = {pair.id: pair.facts for pair in snapshot.pairs}
    mistakes: list[str] = []
    tasks: dict[tuple[str, str], Facts] = {}
    for pair in plan.pairs:
        if (pair.dataset.name, pair.subset) not in tasks:
            tell(f"data: {pair.task}")
            tasks[(pair.dataset.name, pair.subset)] = _task_facts(plan, pair, settings, mistakes)
    facts = {p.id: tasks[(p.dataset.name, p.subset)] for p in plan.pairs}
    mistakes += _changed_data(facts, known)
    if mistakes:
        raise DataError(mistakes)
    models = _check_models(plan, facts, known, mistakes, tell)
    if mistakes:
        raise DataError(mistakes)
    return {pair.id: facts[pair.id] | models.get(pair.id, {}) for pair in plan.pairs}


def _task_facts(plan: Plan, pair: Pair, settings: Settings, mistakes: list[str]) -> Facts:
    from raybench.datasets.task import load_task

    spec = plan.spec
    seed = derive_seed(spec.seed, "split")
    try:
        task = load_task(
            pair.dataset, spec.recipe.image_size, pair.subset, seed, settings.cache_dir
        )
    except DataError as error:
        mistakes += [f"{pair.task}: {mistake}" for mistake in error.mistakes]
        return {}
    key = {"finetune": "batch_size", "knn": "neighbors"}.get(spec.recipe.method)
    tuned = spec.space.get(key) if key else None
    largest = int(tuned.high) if tuned else getattr(spec.recipe, key) if key else 0
    if largest > len(task.train):
        mistakes.append(
            f"{pair.task}: {key} {largest} is larger than the training split of "
            f"{len(task.train)} images; give at most that"
        )
    if spec.search.metric in TWO_CLASS_METRICS and len(task.classes) != 2:
        mistakes.append(
            f"{pair.task}: {spec.search.metric} is for two classes, this has {len(task.classes)}"
        )
    return {
        "classes": len(task.classes),
        "train_images": len(task.train),
        "val_images": len(task.val),
        "test_images": len(task.test),
        "data_digest": task.data_digest,
        "split_digest": task.split_digest,
        "domain": _domain(pair),
    }


def _domain(pair: Pair) -> str:
    from raybench.datasets.cards import CARDS

    card = CARDS.get(pair.dataset.name) if pair.dataset.path is None else None
    return pair.dataset.domain or (card.domain if card else "yours")


def _changed_data(facts: Mapping[str, Facts], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Results on other images under one name would be compared as if they were the same."""
    changed = []
    for pair_id, now in facts.items():
        before = known.get(pair_id, {})
        for key, word in (("data_digest", "images"), ("split_digest", "splits")):
            if before.get(key) and now and before[key] != now[key]:
                changed.append(
                    f"{pair_id}: the {word} have changed since this sweep's first run "
                    f"({str(before[key])[:12]} -> {str(now[key])[:12]}); put the data back, give "
                    "the data set another name, or use another --home"
                )
                break
    return changed


def _check_models(
    plan: Plan,
    facts: Mapping[str, Facts],
    known: Mapping[str, Mapping[str, Any]],
    mistakes: list[str],
    tell: Callable[[str], None],
) -> dict[str, Facts]:
    """Build each backbone once, with its weights, unless an earlier attempt has."""
    found: dict[str, Facts] = {}
    by_backbone: dict[str, Facts] = {}
    for pair in plan.pairs:
        if "parameters" in known.get(pair.id, {}):
            found[pair.id] = {"parameters": known[pair.id]["parameters"]}
            continue
        if pair.backbone.name.startswith("python:"):
            continue  # the user's code: what it throws is that trial's failure
        text = pair.backbone.model_dump_json()
        if text not in by_backbone:
            tell(f"model: {pair.title}")
            classes = int(facts[pair.id]["classes"])
            by_backbone[text] = _model_facts(plan, pair.backbone, classes, mistakes)
        found[pair.id] = by_backbone[text]
    return found


def _model_facts(plan: Plan, backbone: BackboneSpec, classes: int, mistakes: list[str]) -> Facts:
    """Weights resolved and one image pushed through, on the CPU."""
    from raybench.backbones.build import build_backbone

    recipe = plan.spec.recipe
    try:
        built = build_backbone(backbone, classes, recipe.image_size, recipe.drop_path)
    except DataError as error:
        mistakes += error.mistakes
        return {}
    return {"parameters": int(built.facts["parameters"])}
