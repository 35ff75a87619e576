"""``--set recipe.method=...`` on any file: what is left out, what is tuned instead, what stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench.cli import main
from raybench.errors import SpecError
from raybench.methods import PROBE_PARAMS, RANGES, switch_method
from raybench.plan import make_plan
from raybench.space import WHOLE
from raybench.spec import TUNABLE, Recipe, SweepSpec
from raybench.validate import load_spec, shipped_specs
from tests.specs import tiny_data, write_sweep

PRETRAINED = {"name": "timm:test_resnet"}
FINETUNE: dict[str, Any] = {
    "recipe": {
        "image_size": 32,
        "batch_size": 16,
        "epochs": 20,
        "lr": 1e-3,
        "stages": [{"optimizer": "adamw", "epochs": 12}, {"optimizer": "sgd", "momentum": 0.8}],
        "augment": "trivial",
        "mixup": 0.2,
        "layer_decay": 0.8,
        "patience": 3,
        "model_ema": 0.9,
        "neighbors": 3,
        "smoothing": 0.1,
        "class_weights": "balanced",
    },
    "space": {
        "lr": {"default": 1e-3, "low": 1e-5, "high": 1e-2, "log": True},
        "weight_decay": {"default": 0.01, "low": 0.0, "high": 0.1},
        "epochs": {"default": 20, "low": 14, "high": 30},
    },
    "search": {
        "sampler": "tpe",
        "ladder": {"lr": [1e-4, 1e-3]},
        "early_stop": "asha",
        "metric": "val/macro_f1",
    },
    "budget": {"trials": 6, "device_hours": 1.0},
    "final": {"seeds": [3, 4], "configs": ["tuned", "default"]},
    "backbones": [PRETRAINED],
}
"""Everything that means nothing to a probe."""


def look(
    tmp_path: Path, method: str, *overrides: str, **changes: Any
) -> tuple[SweepSpec, list[str]]:
    """The spec with another method, and what the user was told."""
    told: list[str] = []
    file = write_sweep(tmp_path / "x.yaml", tiny_data(**(FINETUNE | changes)))
    spec = load_spec(file, [f"recipe.method={method}", "name=probe", *overrides], told.append)
    return spec, told


@pytest.mark.parametrize("method", sorted(PROBE_PARAMS))
@pytest.mark.parametrize("name", sorted(shipped_specs()))
def test_every_shipped_file_can_be_looked_at_quickly(name: str, method: str) -> None:
    """Same backbones, data, subsets and quota; only what is trained and tuned is another."""
    file, spec = load_spec(name), load_spec(name, [f"recipe.method={method}", "name=probe"])
    same = {"backbones", "datasets", "subsets", "resources", "device", "seed"}
    assert spec.model_dump(include=same) == file.model_dump(include=same)
    assert spec.recipe.image_size == file.recipe.image_size
    assert set(spec.space) == {PROBE_PARAMS[method]} and spec.recipe.epochs == 1
    assert len({str(step) for step in make_plan(spec).pairs[0].ladder}) == spec.budget.trials
    assert spec.budget.trials == file.budget.trials or method == "knn"


def test_a_linear_probe_of_a_finetuning_file(tmp_path: Path) -> None:
    spec, told = look(tmp_path, "linear_probe")
    assert spec.space == {"l2": RANGES["l2"]} and spec.search.early_stop == "none"
    assert spec.recipe == Recipe(
        method="linear_probe", image_size=32, batch_size=16, epochs=1, smoothing=0.1,
        class_weights="balanced",
    )  # fmt: skip
    assert (spec.budget.trials, spec.budget.device_hours) == (6, 1.0)
    assert (spec.search.metric, spec.search.sampler) == ("val/macro_f1", "grid")
    assert spec.final.seeds == (3,) and spec.final.configs == ("tuned", "default")
    ladder = [step["l2"] for step in make_plan(spec).pairs[0].ladder]
    assert ladder[0] == 1e-2 and len(set(ladder)) == 6 and max(ladder) > 1 > 1e-4 > min(ladder)
    assert told == [
        "--set recipe.method=linear_probe: tunes l2 by 6 values of 1e-05 to 100; one final seed, "
        "since nothing is drawn; leaves out recipe.epochs, recipe.lr, recipe.stages, "
        "recipe.augment, recipe.mixup, recipe.layer_decay, recipe.patience, recipe.model_ema, "
        "recipe.neighbors, space.lr, space.weight_decay, space.epochs, search.sampler, "
        "search.ladder, search.early_stop"
    ]


def test_nearest_neighbours_are_whole_and_no_more_than_a_subset_has(tmp_path: Path) -> None:
    def numbers(*overrides: str, **changes: Any) -> list[float]:
        spec, _ = look(tmp_path, "knn", *overrides, **changes)
        found = [step["neighbors"] for step in make_plan(spec).pairs[0].ladder]
        assert len(found) == spec.budget.trials == len(set(found))
        assert all(value == int(value) for value in found)
        return found

    assert numbers(subsets=["full"]) == [20, 1, 2, 4, 8, 15]
    assert numbers(subsets=["full", "5-shot"]) == [5, 1, 2, 3, 4]
    assert sorted(numbers(subsets=["1-shot"])) == [1, 2], "two classes have two images at least"
    assert max(numbers(subsets=["10%"])) == 10
    spec, _ = look(tmp_path, "knn", "budget.trials=30", "search.sampler=random")
    assert spec.budget.trials == 30, "a quota that is asked for stands"


def test_one_trial_tunes_nothing_and_says_so(tmp_path: Path) -> None:
    spec, (told,) = look(
        tmp_path, "linear_probe", budget={"trials": 1}, space={}, search={"sampler": "none"}
    )
    assert make_plan(spec).pairs[0].ladder == ({"l2": 1e-2},)
    assert "l2 stays 0.01, since budget.trials is 1 (8 would tune it)" in told


def test_what_is_set_stands(tmp_path: Path) -> None:
    spec, _ = look(
        tmp_path, "linear_probe", "space.l2={default: 1, low: 0.5, high: 2}",
        "search={ladder: {l2: [0.5, 1, 2]}, sampler: random}", "recipe.epochs=1",
    )  # fmt: skip
    assert spec.space["l2"].high == 2 and spec.search.ladder == {"l2": (0.5, 1.0, 2.0)}
    assert spec.search.sampler == "random" and spec.budget.trials == 6
    spec, (told,) = look(tmp_path, "knn", "recipe.neighbors=7")
    assert spec.recipe.neighbors == 7 and not spec.space and spec.budget.trials == 1
    assert "neighbors as given" in told


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.epochs=5", "--set: recipe.epochs: got 5; linear_probe has one epoch"),
        ("space.lr={default: 1, low: 1, high: 2}", "--set: space.lr: recipe.method linear_probe"),
        ("final.seeds=[0, 1]", "--set: final.seeds: got 2; linear_probe on pretrained weights"),
    ],
)
def test_what_is_set_and_wrong_is_a_mistake(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        look(tmp_path, "linear_probe", override)
    assert any(sentence.startswith(words) for sentence in caught.value.mistakes)


def test_random_weights_keep_their_seeds(tmp_path: Path) -> None:
    drawn = [{**PRETRAINED, "weights": "none"}]
    assert look(tmp_path, "linear_probe", backbones=drawn)[0].final.seeds == (3, 4)
    mixed = [*drawn, "timm:test_vit"]
    assert look(tmp_path, "linear_probe", backbones=mixed)[0].final.seeds == (3,)


def test_the_same_method_changes_nothing(tmp_path: Path) -> None:
    spec, told = look(tmp_path, "finetune")
    assert told == [] and set(spec.space) == {"lr", "weight_decay", "epochs"}


def test_the_command_line_says_it_beside_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--set", "recipe.method=knn", "--set", "name=probe"]
    assert main(["plan", "quickstart", "--json", "--home", str(tmp_path / "none"), *sets]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["sweep"] == "probe"
    assert "tunes neighbors by 5 values of 1 to 20" in printed.err


def test_without_a_name_of_its_own_the_user_is_warned(tmp_path: Path) -> None:
    told: list[str] = []
    file = write_sweep(tmp_path / "x.yaml", tiny_data(**FINETUNE))
    load_spec(file, ["recipe.method=knn"], told.append)
    assert "takes the place of sweep 'tiny' (else --set name=probe)" in told[0]


def test_from_a_probe_to_finetuning() -> None:
    told: list[str] = []
    spec = load_spec("linear_probe", ["recipe.method=finetune", "name=tuned"], told.append)
    assert set(spec.space) == {"lr"} and spec.search.sampler == "tpe" and spec.recipe.epochs == 20
    assert len(make_plan(spec).pairs[0].ladder) == 5 and spec.budget.trials == 8
    assert "tunes lr in 8 trials; leaves out space.l2" in told[0]


def test_a_file_that_mixes_methods_is_told_so(tmp_path: Path) -> None:
    """Whoever wrote it meant something: nothing is left out behind their back."""
    mixed = FINETUNE | {"recipe": FINETUNE["recipe"] | {"method": "linear_probe"}}
    file = write_sweep(tmp_path / "x.yaml", tiny_data(**mixed))
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    text = "\n".join(caught.value.mistakes)
    assert "recipe.epochs: got 20; linear_probe has one epoch" in text
    assert "space.lr: recipe.method linear_probe tunes only l2" in text


def test_other_mistakes_are_still_found(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        look(tmp_path, "linear_probe", space={"lrr": FINETUNE["space"]["lr"]}, subsets=["half"])
    first, second = caught.value.mistakes
    assert "space.lrr: cannot be tuned" in first or "space.lrr: cannot be tuned" in second
    assert "subsets.0: got" in first + second


def test_whole_numbers_are_those_of_the_recipe() -> None:
    assert {name for name, kind in TUNABLE.items() if kind is int} == WHOLE


JUNK = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({})


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(FINETUNE) + ["subsets", "name"]),
        JUNK | st.dictionaries(st.sampled_from(["trials", "seeds", "l2", "neighbors"]), JUNK),
    )
)
def test_nonsense_is_left_to_the_checks(changes: dict[str, Any]) -> None:
    data = tiny_data(**(FINETUNE | changes))
    if isinstance(data["recipe"], dict):
        data["recipe"] = data["recipe"] | {"method": "knn"}
    switch_method(data, "finetune", ())
    assert all(data[key] == value for key, value in changes.items() if not isinstance(value, dict))
