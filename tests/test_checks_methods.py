"""Keys that don't go with ``recipe.method``, in words."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.errors import SpecError
from raybench.spec import Recipe
from tests.specs import TINY_BACKBONE, tiny_spec

L2 = {"l2": {"default": 1e-2, "low": 1e-5, "high": 1.0, "log": True}}
NEIGHBORS = {"neighbors": {"default": 5, "low": 1, "high": 50}}
LR = {"lr": {"default": 1e-3, "low": 1e-4, "high": 1e-1}}
PRETRAINED = {"name": "timm:test_resnet"}


def mistakes(method: str, space: dict[str, Any], **changes: Any) -> tuple[str, ...]:
    recipe = {"method": method, "image_size": 32} | changes.pop("recipe", {})
    with pytest.raises(SpecError) as caught:
        tiny_spec(recipe=recipe, space=space, **changes)
    return caught.value.mistakes


@pytest.mark.parametrize(("method", "space"), [("linear_probe", L2), ("knn", NEIGHBORS)])
def test_a_method_tunes_its_own_parameter(method: str, space: dict[str, Any]) -> None:
    spec = tiny_spec(
        recipe={"method": method, "image_size": 32}, space=space, backbones=[PRETRAINED],
        final={"seeds": [0]}, search={"early_stop": "asha"},
    )  # fmt: skip
    assert spec.recipe.epochs == 1  # so that early stopping has nothing to stop


@pytest.mark.parametrize(
    ("method", "space", "sentence"),
    [
        ("linear_probe", LR, "space.lr: recipe.method linear_probe tunes only l2; remove it"),
        ("knn", LR, "space.lr: recipe.method knn tunes only neighbors; remove it"),
        (
            "finetune",
            L2,
            "space.l2: is for linear_probe, but recipe.method is finetune; remove one",
        ),
        (
            "linear_probe",
            NEIGHBORS,
            "space.neighbors: is for knn, but recipe.method is linear_probe; remove one",
        ),
    ],
)
def test_a_parameter_of_another_method(method: str, space: dict[str, Any], sentence: str) -> None:
    assert mistakes(method, space) == (sentence,)


def test_every_wrong_parameter_is_named_at_once() -> None:
    found = mistakes("finetune", LR | L2 | NEIGHBORS)
    assert len(found) == 2 and "space.l2" in found[0] and "space.neighbors" in found[1]


def test_a_probe_has_one_epoch() -> None:
    assert Recipe(method="knn").epochs == 1
    assert Recipe().epochs == 20
    assert mistakes("knn", NEIGHBORS, recipe={"epochs": 5}) == (
        "recipe.epochs: got 5; knn has one epoch, leave epochs out",
    )


def test_seeds_that_would_be_copies() -> None:
    found = mistakes("linear_probe", L2, backbones=[PRETRAINED, TINY_BACKBONE])
    assert found == (
        "final.seeds: got 2; linear_probe on pretrained weights draws nothing, so all seeds give "
        "one result and an interval of width 0; give seeds: [0]",
    )
    # Random weights are drawn anew with every seed.
    recipe = {"method": "linear_probe", "image_size": 32}
    assert tiny_spec(recipe=recipe, space=L2).final.seeds == (0, 1)
