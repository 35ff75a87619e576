"""From an assignment to the plain config that a trial runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raybench.plan import Plan
from raybench.seeding import derive_seed
from raybench.settings import Settings
from raybench.spec import TUNABLE, SweepSpec
from raybench.sweep.assignment import Assignment
from raybench.sweep.trial_files import checkpoint_folder, keeps_weights
from raybench.trial.config import TrialConfig


def trial_config(
    plan: Plan,
    settings: Settings,
    attempt: int,
    assignment: Assignment,
    device: str,
    facts: Mapping[str, Any],
) -> TrialConfig:
    """Everything resolved: recipe with tuned values, named seeds, absolute places.

    ``facts`` are the pair's, as the preflight found them: the trial refuses other data or weights.
    """
    spec, pair = plan.spec, assignment.pair
    final = assignment.seed is not None
    tuned = {name: TUNABLE[name](value) for name, value in assignment.params.items()}
    phase_seed = ("final", assignment.seed) if assignment.seed is not None else ("search",)
    return TrialConfig(
        key="/".join(str(part) for part in assignment.key),
        phase=assignment.key[1],
        attempt=attempt,
        backbone=pair.backbone.model_dump(mode="json"),
        dataset=pair.dataset.model_dump(mode="json"),
        subset=pair.subset,
        recipe=spec.recipe.model_dump(mode="json") | tuned,
        metric=spec.search.metric,
        training_seed=derive_seed(spec.seed, *phase_seed),
        split_seed=derive_seed(spec.seed, "split"),
        cache_dir=str(settings.cache_dir),
        checkpoint_root=str(settings.checkpoint_root),
        checkpoint_dir=checkpoint_folder(spec.name, assignment.key),
        retry=assignment.retry,
        keep_weights=keeps_weights(spec, assignment.key[1]),
        read_test=final,
        oracle=final and spec.final.selection == "oracle",
        refit_epochs=assignment.source_epochs if final and spec.final.refit else None,
        device=device,
        threads=spec.resources.cpus,
        device_share=assignment.shape.device_share,
        memory_fraction=assignment.fit.memory_fraction,
        prompt=_may_be_stopped(spec, assignment),
        accumulation=assignment.fit.accumulation,
        known_epochs=assignment.known_epochs,
        fold=assignment.fold,
        data_digest=str(facts.get("data_digest", "")),
        weights_sha256=str(facts.get("weights_sha256", "")),
        weights_dir="" if settings.weights_dir is None else str(settings.weights_dir),
        checkpoint_url=settings.checkpoints if settings.storage_url else "",
    )


def _may_be_stopped(spec: SweepSpec, assignment: Assignment) -> bool:
    """Whether the driver may end the trial at an epoch: then its weights must be those of it."""
    _, phase, number = assignment.key
    stops = spec.search.early_stop != "none" and number >= len(assignment.pair.ladder)
    return phase == "search" and (stops or spec.budget.device_hours is not None)
