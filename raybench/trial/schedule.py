"""Epochs per stage and the learning rate of every step: plain arithmetic, no torch."""

from __future__ import annotations

import math

from raybench.spec import Recipe, Stage


def stage_lengths(recipe: Recipe) -> list[int]:
    """Epochs of each stage: its own number, or an equal part of what the others leave.

    Where ``recipe.epochs`` can't be shared evenly the earlier stages get one more; a stage that
    gets none is skipped.
    """
    fixed = sum(stage.epochs or 0 for stage in recipe.stages)
    sharing = [index for index, stage in enumerate(recipe.stages) if stage.epochs is None]
    share, extra = divmod(max(0, recipe.epochs - fixed), max(1, len(sharing)))
    lengths = [stage.epochs or share for stage in recipe.stages]
    for index in sharing[:extra]:
        lengths[index] += 1
    return lengths


def learning_rate(
    stage: Stage, base_lr: float, step: int, steps_per_epoch: int, epochs: int
) -> float:
    """Learning rate of one step of a stage: linear warm-up, then cosine to zero or constant.

    Args:
        stage: gives the schedule and its warm-up.
        base_lr: peak learning rate; ``stage.lr`` replaces it.
        step: 0-based within the stage.
        steps_per_epoch: optimizer steps in one epoch.
        epochs: planned length of the stage.
    """
    peak = base_lr if stage.lr is None else stage.lr
    warmup = stage.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * min(1.0, (step + 1) / warmup)
    if stage.schedule == "constant":
        return peak
    decay_steps = max(1.0, epochs * steps_per_epoch - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / decay_steps)))
