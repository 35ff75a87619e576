"""Schedules, parameter groups, mixing, class weights, optimizer states."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from raybench.spec import Recipe, Stage
from raybench.trial.recipe import (
    Mixer,
    class_weights,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    parameter_groups,
    set_learning_rate,
    training_loss,
)
from raybench.trial.schedule import learning_rate, stage_lengths


@pytest.mark.parametrize(
    ("epochs", "given", "lengths"),
    [
        (20, [None], [20]),
        (5, [None, None], [3, 2]),
        (10, [4, None, None], [4, 3, 3]),
        (3, [1, 2], [1, 2]),
        (1, [None, None], [1, 0]),
    ],
)
def test_stages_share_the_epochs(epochs: int, given: list[int | None], lengths: list[int]) -> None:
    recipe = Recipe(epochs=epochs, stages=tuple(Stage(epochs=number) for number in given))
    assert stage_lengths(recipe) == lengths


def test_cosine_after_linear_warmup() -> None:
    stage = Stage(warmup_epochs=1)
    rates = [learning_rate(stage, 0.1, step, 4, 3) for step in range(12)]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[4] == pytest.approx(0.1) and rates[8] == pytest.approx(0.05)
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[11] < 0.01


def test_constant_and_the_stages_own_rate() -> None:
    stage = Stage(schedule="constant", lr=0.3, warmup_epochs=0.5)
    assert [learning_rate(stage, 0.1, step, 4, 1) for step in range(4)] == [0.15, 0.3, 0.3, 0.3]


def test_biases_and_norms_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = parameter_groups(model, Recipe(weight_decay=0.5), ())
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert [decays[id(p)] for p in model.parameters()] == [0.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("make", [lambda: timm.create_model("test_vit"), lambda: resnet18()])
def test_layer_decay_leaves_the_head_at_full_rate(make: object) -> None:
    assert callable(make)
    model = make()
    head = [name for name, _ in model.named_parameters()][-2:]
    groups = parameter_groups(model, Recipe(layer_decay=0.5), head)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert all(scales[id(named[name])] == 1.0 for name in head)
    assert scales[id(next(model.parameters()))] < 0.5
    assert len(scales) == len(named)
    optimizer = torch.optim.SGD(groups, lr=1.0)
    assert set_learning_rate(optimizer, 0.1) == pytest.approx(0.1 * groups[0]["lr_scale"])


@pytest.mark.parametrize("images", [1, 2, 5, 8])
def test_mixing_takes_batches_of_any_size(images: int) -> None:
    np.random.seed(0)
    mixer = Mixer(Recipe(mixup=0.4, cutmix=0.4, smoothing=0.1), 3)
    batch, labels = torch.rand(images, 3, 8, 8), torch.arange(images) % 3
    before = batch.clone()
    mixed, target = mixer(batch, labels)
    assert target.shape == (images, 3)
    assert torch.allclose(target.sum(dim=1), torch.ones(images))
    if images % 2:
        assert torch.equal(mixed[-1], before[-1])
    assert images < 2 or not torch.equal(mixed, before)


def test_loss_of_soft_targets_equals_that_of_labels() -> None:
    logits, labels = torch.randn(6, 4), torch.arange(6) % 4
    soft = nn.functional.one_hot(labels, 4).float()
    assert torch.allclose(
        training_loss(logits, soft, None, 0.1), training_loss(logits, labels, None, 0.0)
    )


def test_balanced_class_weights_give_every_class_the_same_sum() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels, 3, "balanced")
    assert weights is not None
    assert (weights * torch.tensor([6, 3, 1])).tolist() == pytest.approx([10 / 3] * 3)
    assert class_weights(labels, 3, "none") is None


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_restored_optimizer_takes_the_same_steps(optimizer: str) -> None:
    stage = Stage(optimizer=optimizer)  # type: ignore[arg-type]
    images = torch.rand(4, 3, 6, 6)

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model, make_optimizer(model, Recipe(lr=0.1), stage, ())

    def step(model: nn.Module, opt: torch.optim.Optimizer) -> list[Tensor]:
        opt.zero_grad()
        model(images).square().mean().backward()
        opt.step()
        return [p.detach().clone() for p in model.parameters()]

    model, opt = make()
    step(model, opt)
    weights = {
        k: v.clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()
    }
    state = {
        k: v.clone(memory_format=torch.contiguous_format) for k, v in optimizer_tensors(opt).items()
    }
    expected = step(model, opt)
    other, other_opt = make()
    other.load_state_dict(weights)
    load_optimizer_tensors(other_opt, state)
    assert all(torch.equal(a, b) for a, b in zip(step(other, other_opt), expected, strict=True))
