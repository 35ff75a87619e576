"""A step over micro-batches is the step over the batch, as far as the network allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from raybench.records import EndRecord
from raybench.spec import Recipe
from raybench.trial.device import pick_precision
from raybench.trial.learner import Learner
from raybench.trial.loop import run_trial
from tests.trial.conftest import MakeConfig

CPU = torch.device("cpu")


def make_learner(accumulation: int, balanced: bool = False, **recipe: Any) -> Learner:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 5))
    weight = torch.tensor([0.2, 0.5, 1.0, 2.0, 4.0]) if balanced else None
    settings = Recipe(image_size=8, batch_size=16, **recipe)
    precision = pick_precision("fp32", CPU)
    return Learner(model, settings, 5, ("3.weight", "3.bias"), weight, CPU, precision, accumulation)


@pytest.mark.parametrize("accumulation", [2, 4, 8])
@pytest.mark.parametrize("images", [16, 9, 2])
@pytest.mark.parametrize(
    "recipe", [{}, {"smoothing": 0.1}, {"mixup": 0.5, "smoothing": 0.1}], ids=str
)
@pytest.mark.parametrize("balanced", [False, True])
def test_same_gradient(
    accumulation: int, images: int, recipe: dict[str, Any], balanced: bool
) -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(images, 3, 8, 8, generator=generator)
    labels = torch.randint(0, 5, (images,), generator=generator)
    found = []
    for parts in (1, accumulation):
        learner = make_learner(parts, balanced, **recipe)
        torch.manual_seed(3)
        import numpy as np

        np.random.seed(3)
        loss, logits = learner.step(pixels.clone(), labels, 1e-3, 1)
        gradients = [p.grad for p in learner.model.parameters()]
        found.append((loss, logits, gradients))
    (loss, logits, gradients), (loss_, logits_, gradients_) = found
    assert loss_ == pytest.approx(float(loss), rel=1e-5)
    torch.testing.assert_close(logits_, logits)
    torch.testing.assert_close(gradients_, gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("accumulation", [2, 4, 8])
def test_never_more_images_at_once_and_never_a_single_one(accumulation: int) -> None:
    learner, seen = make_learner(accumulation), list[int]()
    learner.model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    for images in range(2, 17):
        seen.clear()
        learner.step(torch.randn(images, 3, 8, 8), torch.zeros(images, dtype=torch.long), 1e-3, 1)
        assert sum(seen) == images
        assert max(seen) <= max(learner.micro_batch, 3)
        assert min(seen) >= 2


def test_trial_says_what_it_trained_with(make_config: MakeConfig) -> None:
    *_, end = run_trial(make_config(config={"accumulation": 4}))
    assert isinstance(end, EndRecord)
    assert end.state == "complete"
    assert end.facts["micro_batch"] == 2
