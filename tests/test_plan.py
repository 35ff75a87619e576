"""Pairs and their ids: the same for the same result, another for another."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.plan import make_plan
from raybench.spec import SweepSpec
from raybench.validate import load_spec
from tests.specs import TINY_BACKBONE, tiny_data, tiny_spec, write_sweep

GOLDEN = "test_resnet-digits-10-a3db4450"


def ids(spec: SweepSpec) -> list[str]:
    return [pair.id for pair in make_plan(spec).pairs]


def only_id(**changes: Any) -> str:
    (pair_id,) = ids(tiny_spec(**changes))
    return pair_id


def recipe(**changes: Any) -> dict[str, Any]:
    return {"recipe": tiny_data()["recipe"] | changes}


def test_the_id_is_the_one_that_homes_hold():
    """Whoever changes it makes every finished sweep run again: raise RESULT_VERSION instead."""
    assert only_id() == GOLDEN


SAME_RESULT = {
    "budget": {"budget": {"trials": 9, "device_hours": 2.0, "wall_clock": "8h"}},
    "final seeds and configurations": {"final": {"seeds": [7], "configs": ["tuned", "default"]}},
    "resources": {"resources": {"cpus": 2, "gpus": "auto"}},
    "device": {"device": "auto"},
    "name and description": {"name": "other", "description": "words"},
    "default split written out": {
        "datasets": [{"name": "digits", "split": {"val": 0.2, "test": 0.2}}]
    },
    "domain": {"datasets": [{"name": "digits", "domain": "mine"}]},
    "defaults written out": recipe(weight_decay=0.01, stages=[{}]),
    "lr beside the default of its range": recipe(lr=1e-3),
    "whole numbers as fractions": recipe(weight_decay=1e-2),
}


@pytest.mark.parametrize("changes", SAME_RESULT.values(), ids=SAME_RESULT)
def test_what_does_not_change_the_result_keeps_the_id(changes):
    assert only_id(**changes) == GOLDEN


OTHER_RESULT = {
    "backbone": {"backbones": [{"name": "timm:test_vit", "weights": "none"}]},
    "weights": {"backbones": [{"name": "timm:test_resnet"}]},
    "arguments": {"backbones": [{**TINY_BACKBONE, "kwargs": {"drop_rate": 0.1}}]},
    "subset": {"subsets": ["20%"]},
    "split": {"datasets": [{"name": "digits", "split": {"val": 0.1}}]},
    "image size": recipe(image_size=48),
    "epochs": recipe(epochs=3),
    "augmentation": recipe(augment="flip"),
    "optimizer": recipe(stages=[{"optimizer": "sgd"}]),
    "range": {"space": {"lr": {"default": 1e-3, "low": 1e-4, "high": 1.0, "log": True}}},
    "sampler": {"search": {"sampler": "tpe"}},
    "ladder": {"search": {"sampler": "random", "ladder": 2}},
    "metric": {"search": {"sampler": "random", "metric": "val/macro_f1"}},
    "refit": {"final": {"seeds": [0], "refit": True}},
    "seed": {"seed": 1},
}


def test_what_changes_the_result_changes_the_id():
    found = {name: only_id(**changes) for name, changes in OTHER_RESULT.items()}
    assert len({GOLDEN, *found.values()}) == len(found) + 1, found


def test_the_version_of_the_results_counts(monkeypatch):
    monkeypatch.setattr("raybench.plan.RESULT_VERSION", 999)
    assert only_id() != GOLDEN


def test_default_weights_and_their_tag_are_one_pair():
    same = [
        {"name": "timm:resnet10t"},
        {"name": "timm:resnet10t.c3_in1k"},
        {"name": "timm:resnet10t", "weights": "c3_in1k"},
    ]
    assert len({only_id(backbones=[backbone]) for backbone in same}) == 1


def test_a_weights_file_counts_by_content_not_by_place(tmp_path):
    def with_file(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return only_id(backbones=[{**TINY_BACKBONE, "weights": str(tmp_path / name)}])

    first = with_file("a.pt", b"one")
    assert with_file("b.pt", b"one") == first != with_file("c.pt", b"two")
    assert with_file("a.pt", b"other") != first


def test_an_image_folder_counts_by_name_not_by_place(image_folder, tmp_path):
    here, there = image_folder(tmp_path / "a"), image_folder(tmp_path / "b")
    first = only_id(datasets=[{"name": "mine", "path": str(here)}])
    assert first == only_id(datasets=[{"name": "mine", "path": str(there)}])
    assert first != only_id(datasets=[{"name": "yours", "path": str(there)}])


TEXT = """
# a comment
name: tiny
seed:    0
device: cpu
resources: {gpus: 0,   cpus: 1}
final: {seeds: [0, 1]}
budget: {trials: 2}
search: {early_stop: none, ladder: 1, sampler: random}
space:
  lr: {log: true, high: 1e-1, low: 1.0e-4, default: 0.001}   # as floats
recipe:
  augment: "none"

  epochs: 2
  batch_size: 64
  image_size: 32
subsets: ["10%"]
datasets: [{name: digits}]
backbones:
- weights: none
  name: 'timm:test_resnet'
"""


def test_order_comments_and_notation_do_not_matter(tmp_path):
    (tmp_path / "x.yaml").write_text(TEXT)
    assert ids(load_spec(tmp_path / "x.yaml")) == [GOLDEN]


@given(st.randoms())
def test_key_order_does_not_matter(tmp_path_factory, random_state: random.Random):
    path = tmp_path_factory.getbasetemp() / "shuffled.yaml"
    write_sweep(path, _shuffled(tiny_data(), random_state))
    assert ids(load_spec(path)) == [GOLDEN]


def _shuffled(value: Any, random_state: random.Random) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random_state.shuffle(keys)
    return {key: _shuffled(value[key], random_state) for key in keys}


@given(st.permutations(["timm:resnet18", "timm:resnet34", "torchvision:resnet18"]))
def test_the_order_of_entries_does_not_matter(names):
    backbones = [{"name": name, "weights": "none"} for name in names]
    found = dict(zip(names, ids(tiny_spec(backbones=backbones)), strict=True))
    alone = {n: only_id(backbones=[{"name": n, "weights": "none"}]) for n in names}
    assert found == alone


def test_pairs_in_file_order_with_what_each_owes():
    spec = tiny_spec(
        backbones=["timm:resnet18", "timm:resnet34"],
        subsets=["10%", "full"],
        budget={"trials": 3},
        final={"seeds": [4, 5], "configs": ["tuned", "default"]},
    )
    plan = make_plan(spec)
    assert [(p.task, p.title) for p in plan.pairs] == [
        ("digits (10%)", "timm:resnet18"),
        ("digits (10%)", "timm:resnet34"),
        ("digits", "timm:resnet18"),
        ("digits", "timm:resnet34"),
    ]
    assert [p.position for p in plan.pairs] == [0, 1, 2, 3]
    assert (plan.search_trials, plan.final_trials) == (12, 16)
    assert plan.pairs[0].default_params == {"lr": 1e-3}


def test_titles_tell_entries_apart_only_where_needed():
    spec = tiny_spec(
        backbones=[
            "timm:resnet34",
            {"name": "timm:resnet18", "weights": "none"},
            {"name": "timm:resnet18", "weights": "none", "kwargs": {"drop_rate": 0.1}},
            {"name": "timm:resnet18", "weights": "a1_in1k"},
        ]
    )
    assert [pair.title for pair in make_plan(spec).pairs] == [
        "timm:resnet34",
        "timm:resnet18 [none]",
        "timm:resnet18 [none, drop_rate=0.1]",
        "timm:resnet18 [a1_in1k]",
    ]


def test_ids_can_stand_in_paths_and_study_names():
    name = "python:my.pack_age:Make"
    (pair_id,) = ids(tiny_spec(backbones=[{"name": name, "weights": "none"}], subsets=["5-shot"]))
    assert pair_id.startswith("make-digits-5_shot-")
    assert "/" not in pair_id and len(pair_id) < 160


def test_a_mended_function_makes_a_new_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = tiny_spec(backbones=[{"name": "python:my_models:f", "weights": "none"}])
    ids = []
    for text in ("def f(): ...", "def f(): ...", "def f(): ...  # mended"):
        (tmp_path / "my_models.py").write_text(text)
        ids.append(make_plan(spec).pairs[0].id)
    assert ids[0] == ids[1] != ids[2]
