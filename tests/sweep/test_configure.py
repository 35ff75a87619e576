"""From an assignment to what a trial runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.plan import make_plan
from raybench.settings import resolve_settings
from raybench.sweep.assignment import Assignment
from raybench.sweep.configure import trial_config
from raybench.sweep.packing import Fit, Shape
from tests.specs import pairs_spec


@pytest.mark.parametrize(
    ("early_stop", "hours", "phase", "number", "prompt"),
    [
        ("asha", None, "search", 3, True),
        ("asha", None, "search", 1, False),  # on the ladder, never stopped
        ("asha", None, "final", 3, False),
        ("none", None, "search", 3, False),
        ("none", 1.0, "search", 0, True),  # the budget may end it at any epoch
        ("none", 1.0, "final", 0, False),
    ],
)
def test_whoever_may_be_stopped_tells_each_epoch(
    tmp_path: Path, early_stop: str, hours: float | None, phase: str, number: int, prompt: bool
) -> None:
    search = {"sampler": "random", "ladder": 2, "early_stop": early_stop}
    spec = pairs_spec(1, 6, search=search)
    budget = spec.budget.model_copy(update={"device_hours": hours})
    plan = make_plan(spec.model_copy(update={"budget": budget}))
    (pair,) = plan.pairs
    fit = Fit("key", Shape(1.0, 0.25), accumulation=2, overhead=0.05)
    seed = 0 if phase == "final" else None
    key = (pair.id, phase, number)
    assignment = Assignment(key, pair, {"lr": 1e-3}, fit, known_epochs=0, seed=seed)  # type: ignore[arg-type]
    settings = resolve_settings(tmp_path, {})
    config = trial_config(plan, settings, 1, assignment, "auto", {"classes": 10})
    assert config.prompt is prompt
    assert config.accumulation == 2
    assert config.memory_fraction == pytest.approx(0.2)
    assert config.device_share == 0.25
