"""Every mistake at once, each with its line, what was given and what to give instead."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench.errors import SpecError
from raybench.spec import SweepSpec
from raybench.validate import check_spec, load_spec, shipped_specs
from tests.specs import TINY_BACKBONE, tiny_data, write_sweep


def mistakes_of(base: Path | None = None, **changes: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        check_spec(tiny_data(**changes), {}, base or Path.cwd())
    return list(caught.value.mistakes)


def recipe(**changes: Any) -> dict[str, Any]:
    return {"recipe": tiny_data()["recipe"] | changes}


def backbone(**changes: Any) -> dict[str, Any]:
    return {"backbones": [TINY_BACKBONE | changes]}


def lr(**changes: Any) -> dict[str, Any]:
    return {"space": {"lr": tiny_data()["space"]["lr"] | changes}}


def trials(count: int, **search: Any) -> dict[str, Any]:
    return {"budget": {"trials": count}, "search": search}


SHAPE = {
    "unknown key": ({"recipee": {}}, "recipee: unknown key; did you mean 'recipe'?"),
    "unknown inner key": (recipe(epoch=1), "recipe.epoch: unknown key; did you mean 'epochs'?"),
    "unknown stage key": (
        recipe(stages=[{"optimiser": "sgd"}]),
        "recipe.stages.0.optimiser: unknown key; did you mean 'optimizer'?",
    ),
    "unknown range key": (lr(step=1), "space.lr.step: unknown key; known are"),
    "key like a union label": ({"dict[str]": 1}, "dict[str]: unknown key; known are"),
    "upside down": (lr(low=1.0), "space.lr: low 1 must be below high 0.1"),
    "default outside": (lr(default=9.0), "space.lr: default 9 must lie between low 0.0001"),
    "default missing": ({"space": {"lr": {"low": 0.1, "high": 1.0}}}, "space.lr.default: is req"),
    "quoted number": (lr(low="1e-4"), 'space.lr.low: got "1e-4"; write the number without quotes'),
    "infinite": (lr(high=float("inf")), "space.lr.high: got Infinity; give a finite number"),
    "quota 0": (trials(0), "budget.trials: got 0; must be greater than or equal to 1"),
    "quota of no end": (trials(10**9), "budget.trials: got 1000000000; must be less than"),
    "quota in halves": ({"budget": {"trials": 2.5}}, "budget.trials: got 2.5; give a whole number"),
    "no unit": ({"budget": {"wall_clock": "8"}}, "a duration carries its unit (90s, 30m"),
    "no list": ({"subsets": "full"}, 'subsets: got "full"; give a list'),
    "empty list": ({"backbones": []}, "backbones: is empty; give at least one"),
    "no mapping": ({"recipe": None}, "recipe: got null; give a mapping of keys"),
    "no text": ({"name": 5}, "name: got 5; give text"),
    "no name": ({"name": "a/b"}, 'name: got "a/b"; use 1 to 64 letters, digits'),
    "one of several": (recipe(augment="x"), "recipe.augment: got \"x\"; give 'none', 'flip'"),
    "null weights": (backbone(weights=None), "backbones.0.weights: got null; for random weights"),
    "entry without name": ({"backbones": [{"weights": "none"}]}, "backbones.0.name: is required"),
    "infinite argument": (backbone(kwargs={"a": float("nan")}), "numbers must be finite"),
    "NUL in a path": ({"datasets": [{"name": "x", "path": "a\0"}]}, "datasets.0.path: got"),
    "no group": (
        {"datasets": [{"name": "digits", "group_by": "("}]},
        "datasets.0.group_by: '(' is no regular expression",
    ),
    "nothing left to train": (
        {"datasets": [{"name": "digits", "split": {"val": 0.5, "test": 0.5}}]},
        "datasets.0.split: val 0.5 and test 0.5 leave nothing to train on",
    ),
    "half a surrogate": ({"description": "\ud800"}, "cannot be read: Invalid JSON"),
    "no subset": ({"subsets": ["full", 10]}, "subsets.1: got 10; give full, a percentage"),
    "no ladder": (trials(2, ladder="five"), 'search.ladder: got "five"; give a count of at least'),
    "no share": ({"resources": {"gpus": 0.3}}, "resources.gpus: got 0.3; give auto, 0, 0.125"),
}

CROSS = {
    "unknown metric": (
        trials(2, metric="val/acuracy"),
        "search.metric: unknown metric 'val/acuracy'; did you mean 'val/accuracy'?",
    ),
    "test metric": (
        trials(2, metric="test/accuracy"),
        "search.metric: 'test/accuracy' would select on the test split; use a val/ metric",
    ),
    "ladder longer than budget": (
        trials(2, ladder={"lr": [1e-4, 1e-2, 5e-2]}),
        "search.ladder: has 4 steps with the default, but budget.trials is 2",
    ),
    "ladder outside": (trials(2, ladder={"lr": [7.0]}), "search.ladder.lr: 7 outside space.lr"),
    "ladder of something else": (
        trials(2, ladder={"weight_decay": [0.1]}),
        "search.ladder.weight_decay: is not in space; known are lr",
    ),
    "ladder empty": (trials(2, ladder={"lr": []}), "search.ladder: is empty"),
    "ladder repeats": (trials(9, ladder={"lr": [1e-2, 1e-2]}), "a value stands twice"),
    "grid": (trials(5, sampler="grid", ladder=3), "search.sampler: grid is the ladder: 3 steps"),
    "none": (trials(2, sampler="none"), "search.sampler: none runs the defaults only"),
    "nothing tuned": ({"space": {}}, "space: nothing is tuned, so 2 trials would be the same"),
    "not tunable": (
        {"space": {"momentum": {"default": 0.9, "low": 0.1, "high": 0.99}}},
        "space.momentum: cannot be tuned; known are batch_size",
    ),
    "tuned out of bounds": (
        {"space": {"drop_path": {"default": 0.1, "low": 0.0, "high": 1.0}}},
        "space.drop_path.high: got 1; recipe.drop_path must be less than 1",
    ),
    "tuned in halves": (
        {"space": {"batch_size": {"default": 16.5, "low": 8, "high": 64}}},
        "space.batch_size.default: got 16.5; recipe.batch_size is a whole number",
    ),
    "lr twice": (recipe(lr=0.5), "recipe.lr: 0.5 contradicts space.lr.default 0.001; keep one"),
    "lr without effect": (recipe(stages=[{"lr": 0.1}]), "space.lr: every stage has an lr of its"),
    "stages do not add up": (
        recipe(stages=[{"epochs": 3}]),
        "the stages' epochs (3 given, 0 open) must add up to recipe.epochs 2",
    ),
    "tuned epochs too few": (
        recipe(stages=[{}, {}]) | {"space": {"epochs": {"default": 2, "low": 1, "high": 4}}},
        "space.epochs.low: got 1; the stages need at least 2",
    ),
    "GPU on the CPU": ({"resources": {"gpus": 0.5}}, "resources.gpus: got 0.5; device is cpu"),
    "fp16 on the CPU": (recipe(precision="fp16"), "recipe.precision: fp16 needs a GPU"),
    "seed twice": ({"final": {"seeds": [1, 1]}}, "final.seeds: a value stands twice"),
    "no seed": ({"final": {"seeds": []}}, "final.seeds: is empty; give at least one"),
    "subset twice": ({"subsets": ["10%", "10.0%"]}, "subsets.1: '10.0%' is the same as '10%'"),
}

NAMES = {
    "typo": (
        {"backbones": ["timm:resnet5O"]},
        "backbones.0: unknown backbone 'timm:resnet5O'; did you mean 'timm:resnet50'",
    ),
    "no library": (
        {"backbones": ["resnet50"]},
        "'resnet50' needs its library in front: timm:resnet50 or torchvision:resnet50",
    ),
    "no group": ({"backbones": ["@papr"]}, "backbones.0: no group '@papr'; did you mean '@paper'?"),
    "group in a mapping": ({"backbones": [{"name": "@paper"}]}, "write it alone, as '- @paper'"),
    "no data set": ({"datasets": ["digit"]}, "unknown data set 'digit'; did you mean 'digits'"),
    "no folder": ({"datasets": [{"name": "x", "path": "nowhere"}]}, "nowhere: no such folder"),
    "home of nobody": ({"datasets": [{"name": "x", "path": "~nobody9/x"}]}, "no such folder"),
    "no weights file": (backbone(weights="w.pt"), "w.pt': no such file"),
    "same backbone": (
        {"backbones": ["timm:resnet18", {"name": "timm:resnet18.a1_in1k"}]},
        "backbones.1: 'timm:resnet18.a1_in1k' is the same as entry 0",
    ),
    "same through a group": (
        {"backbones": ["@small", "timm:resnet10t"]},
        "backbones.1: 'timm:resnet10t' is the same as entry 0",
    ),
    "same data set name": (
        {"datasets": ["digits", {"name": "digits", "split": {"val": 0.1}}]},
        "datasets.1: 'digits' is the name of entry 0 already; give it another",
    ),
}
ALL = {**{f"shape: {k}": v for k, v in SHAPE.items()}, **CROSS, **NAMES}


@pytest.mark.parametrize(("changes", "words"), ALL.values(), ids=ALL)
def test_one_mistake_is_one_sentence(changes, words):
    (sentence,) = mistakes_of(**changes)
    assert words in sentence
    assert not any(
        noise in sentence for noise in ("constrained-", "function-", "literal[", "Input")
    )


def test_several_mistakes_come_at_once():
    found = mistakes_of(
        **recipe(epochs=0, epoch=3, augment="x"),
        **trials(0, metric="acc", sampler="tp", ladder=[1]),
        backbones=[{"name": "timm:resnet5O", "weight": "none"}, "@papr"],
        datasets=["digit", {"name": "x", "path": "nowhere", "pth": 1}],
        subsets=["x", "full"],
        sed=1,
    )
    for words in (
        "recipe.epochs: got 0",
        "recipe.epoch: unknown",
        "recipe.augment: got",
        "budget.trials: got 0",
        "search.sampler: got",
        "search.ladder: got [1]",
        "backbones.0.weight: unknown",
        "backbones.0: unknown backbone",
        "backbones.1: no group",
        "datasets.0: unknown data set",
        "datasets.1.pth: unknown",
        "datasets.1: ",
        "subsets.0: got",
        "sed: unknown",
    ):
        assert sum(words in sentence for sentence in found) == 1, (words, found)
    assert len(found) == 14


def test_without_any_backbone_the_rest_is_checked_still():
    found = mistakes_of(backbones="timm:resnet18", datasets=["digit"], **lr(low=1.0))
    assert len(found) == 3


def load_mistakes(path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    return list(caught.value.mistakes)


def test_mistakes_carry_their_line_and_come_in_the_order_of_the_file(tmp_path):
    text = (
        "name: x\nbackbones:\n- timm:resnet5O\ndatasets:\n- digit\nbudget: {trials: 0}\nseed: a\n"
    )
    (tmp_path / "my.yaml").write_text(text)
    found = load_mistakes(tmp_path / "my.yaml")
    places = [sentence.split(": ")[0] for sentence in found]
    assert places == ["my.yaml:3", "my.yaml:5", "my.yaml:6", "my.yaml:7"]


@pytest.mark.parametrize("content", ["", "- a\n", "5\n", "hello\n"])
def test_a_file_that_is_no_mapping(tmp_path, content):
    (tmp_path / "x.yaml").write_text(content)
    (sentence,) = load_mistakes(tmp_path / "x.yaml")
    assert "x.yaml: a sweep file is a mapping of keys" in sentence


def test_neither_a_file_nor_a_shipped_name(tmp_path):
    assert "shipped sweeps are" in load_mistakes(tmp_path / "none.yaml")[0]
    assert "is a folder; give a sweep file" in load_mistakes(tmp_path)[0]


def test_paths_are_taken_from_the_file(tmp_path, image_folder, monkeypatch):
    image_folder(tmp_path / "scans")
    (tmp_path / "w.safetensors").write_bytes(b"x")
    monkeypatch.chdir("/")
    changes = backbone(weights="w.safetensors") | {"datasets": [{"path": "./scans"}]}
    spec = load_spec(write_sweep(tmp_path / "x.yaml", tiny_data(**changes)))
    assert spec.datasets[0].path == str(tmp_path / "scans") and spec.datasets[0].name == "scans"
    assert spec.backbones[0].weights == str(tmp_path / "w.safetensors")


def test_groups_stand_for_their_members(tmp_path):
    spec = load_spec(
        write_sweep(tmp_path / "x.yaml", tiny_data(backbones=["@paper", TINY_BACKBONE]))
    )
    assert len(spec.backbones) == 12 and spec.backbones[-1].name == TINY_BACKBONE["name"]


def test_set_changes_the_file_before_it_is_checked(tmp_path):
    path = write_sweep(tmp_path / "x.yaml", tiny_data())
    overrides = ("recipe.epochs=7", "recipe.weight_decay=1e-3", "subsets=[full, 5-shot]",
                 "backbones.0.name=timm:test_vit", "final.refit=true")  # fmt: skip
    spec = load_spec(path, overrides)
    assert (spec.recipe.epochs, spec.recipe.weight_decay) == (7, 1e-3)
    assert spec.subsets == ("full", "5-shot") and spec.final.refit
    assert spec.backbones[0].name == "timm:test_vit"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("x", "--set x: write key=value"),
        ("=1", "--set =1: write key=value"),
        ("recipe..epochs=1", "write key=value"),
        ("recipe.epochs=[", "--set recipe.epochs: line 1: no valid YAML"),
        ("name.x=1", "there is no place 'name.x' in the file"),
        ("backbones.5.name=x", "there is no place"),
        ("backbones.-1.name=x", "there is no place"),
        ("recipe.epochs=", "--set: recipe.epochs: got null"),
        ("budget.trials=0", "--set: budget.trials: got 0"),
        ("a.b=1", "--set: a: unknown key"),
    ],
)
def test_set_that_makes_no_sense(tmp_path, override, words):
    (sentence,) = load_mistakes(write_sweep(tmp_path / "x.yaml", tiny_data()), (override,))
    assert words in sentence


def test_all_sets_are_judged_at_once(tmp_path):
    path = write_sweep(tmp_path / "x.yaml", tiny_data())
    assert len(load_mistakes(path, ("x", "y=[", "name.x=1"))) == 3


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["full", "auto", "none", "timm:", "@", "python:a:b", "/", "~", "\0", "10%"]),
    st.just([]),
    st.just({}),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers(), max_size=2),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return [path] * bool(path) + [p for k, v in items for p in _places(v, (*path, k))]


def _edit(data: Any, path: tuple[Any, ...], kind: str, junk: Any) -> None:
    target = data
    for part in path[:-1]:
        if not isinstance(target, dict | list) or (
            part not in target if isinstance(target, dict) else part >= len(target)
        ):
            return
        target = target[part]
    last = path[-1]
    if not isinstance(target, dict | list) or (isinstance(target, list) and last >= len(target)):
        return
    if kind == "replace":
        target[last] = junk
    elif kind == "rename" and isinstance(target, dict):
        target[f"{last}x"] = target.pop(last, junk)
    elif kind == "remove" and (isinstance(target, list) or last in target):
        del target[last]


SHIPPED = {name: yaml.safe_load(path.read_text()) for name, path in shipped_specs().items()}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_edits_end_as_a_spec_or_as_words(tmp_path_factory, data):
    raw = copy.deepcopy(SHIPPED[data.draw(st.sampled_from(sorted(SHIPPED)))])
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(_places(raw) or [("name",)]))
        kind = data.draw(st.sampled_from(["replace", "replace", "rename", "remove"]))
        _edit(raw, path, kind, data.draw(JUNK))
    try:
        spec = check_spec(raw, {}, tmp_path_factory.getbasetemp(), "x.yaml")
    except SpecError as error:
        assert error.mistakes and all(sentence.startswith("x.yaml") for sentence in error.mistakes)
    else:
        assert SweepSpec.model_validate_json(json.dumps(spec.model_dump(mode="json"))) == spec


TEXTS = {name: path.read_text() for name, path in shipped_specs().items()}
SNIPPETS = st.text(max_size=3) | st.sampled_from(
    ["\t", "\n", ": ", "- ", "{", "]", "&a ", "*a", "!!", "|", "#", "'", "@", "null", "1e999"]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_typing_ends_as_a_spec_or_as_words(tmp_path_factory, data):
    text = TEXTS[data.draw(st.sampled_from(sorted(TEXTS)))]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(SNIPPETS) + text[at + data.draw(st.integers(0, 12)) :]
    path = tmp_path_factory.getbasetemp() / "typed.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        assert load_spec(path).name
    except SpecError as error:
        assert error.mistakes


@pytest.mark.parametrize("text", ["a" * 300, "a/" * 3000, "é" * 200])
def test_places_that_no_file_system_takes(tmp_path, text):
    """Linux raises on them where it is asked whether they exist."""
    for changes in (
        {"datasets": [{"name": "d", "path": text}]},
        backbone(weights=f"{text}.pt"),
        backbone(name=f"python:{'a' * 300}:f"),
    ):
        (mistake,) = mistakes_of(tmp_path, **changes)
        assert "a file's name has at most 255 bytes" in mistake or "at most 255 char" in mistake
    signed = f"https://example.org/w.safetensors?signature={'a' * 3000}"
    assert not any("at most" in text for text in _mistakes_or_none(backbone(weights=signed)))


def _mistakes_or_none(changes: dict[str, Any]) -> list[str]:
    try:
        check_spec(tiny_data(**changes), {}, Path.cwd())
    except SpecError as error:
        return list(error.mistakes)
    return []


def test_an_entry_that_is_wrong_in_every_key_says_so_each_time():
    """Taking it out for one of its mistakes took its neighbour, and the stand-in, for the next."""
    wrong = {"default": 0.001, "low": 0.0001, "high": 0.1, "log": True}
    for section in ("datasets", "backbones"):
        first, again = (mistakes_of(**{section: [wrong]}) for _ in range(2))
        assert first == again and len(first) == 5
        assert {text.split(": ")[0] for text in first} == {
            f"{section}.0.{key}" for key in ("name", *wrong)
        }
        assert len(mistakes_of(**{section: [wrong, wrong, tiny_data()[section][0]]})) == 10
