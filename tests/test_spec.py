"""The spec as a value: defaults, frozen, and what single values may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from raybench.fields import SUBSET_PATTERN, as_json, parse_duration_s
from raybench.spec import TUNABLE, VAL_METRICS, Budget, Recipe, Resources, Search, SweepSpec
from tests.specs import tiny_spec


def test_the_defaults_of_a_two_line_file():
    spec = SweepSpec.model_validate(
        {"name": "x", "backbones": ({"name": "timm:resnet18"},), "datasets": ({"name": "digits"},)}
    )
    assert spec.subsets == ("full",) and spec.budget.trials == 1 and spec.search.ladder == 1
    assert spec.final.seeds == (0, 1, 2) and spec.final.configs == ("tuned",)
    assert spec.backbones[0].weights == "pretrained"
    assert (spec.recipe.image_size, spec.recipe.batch_size, spec.recipe.epochs) == (224, 64, 20)


def test_frozen_and_equal_after_json():
    spec = tiny_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("8h", 28_800), ("2d", 172_800), ("1.5h", 5400)]
    + [("1h30m", 5400), ("2d12h", 216_000), ("1d 1h 1m 1s", 90_061), ("0h5m", 300)],
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds == Budget(wall_clock=text).wall_clock_s


@pytest.mark.parametrize(
    "text", ["", "8", "h", "-1h", "8 hours", "٨h", "30m1h", "1h1h", "1h30", "h30m"]
)
def test_durations_without_sense(text):
    with pytest.raises(ValueError, match="carries its unit"):
        parse_duration_s(text)


@pytest.mark.parametrize("text", ["0h", "0s", "0h0m", "0.0d"])
def test_durations_of_nothing(text):
    with pytest.raises(ValueError, match=f"a duration must be above zero, got '{text}'"):
        parse_duration_s(text)


@given(st.integers(1, 10_000), st.sampled_from("smhd"))
def test_durations_scale_with_their_unit(count, unit):
    assert parse_duration_s(f"{count}{unit}") == count * parse_duration_s(f"1{unit}")


@pytest.mark.parametrize("text", ["full", "10%", "0.5%", "99.9%", "1-shot", "100-shot"])
def test_subsets(text):
    assert SUBSET_PATTERN.match(text)


@pytest.mark.parametrize("text", ["full\n", "10", "-1%", "0-shot", "5-shots", "٥%", ""])
def test_no_subsets(text):
    assert SUBSET_PATTERN.match(text) is None


@pytest.mark.parametrize("value", [0, 0.125, 0.25, 0.5, 1, "auto"])
def test_gpu_shares(value):
    assert Resources(gpus=value).gpus == value


@pytest.mark.parametrize("value", [True, 2, 0.3, -1, "all", None, [1]])
def test_no_gpu_shares(value):
    with pytest.raises(ValidationError, match="give auto, 0, 0.125, 0.25, 0.5 or 1"):
        Resources(gpus=value)


@pytest.mark.parametrize("value", [0, True, 1.5, "x", {}, {"lr": 1}, {"lr": ["a"]}, [1e-3], None])
def test_no_ladders(value):
    with pytest.raises(ValidationError) as caught:
        Search(ladder=value)
    assert caught.value.error_count() == 1


def test_what_can_be_tuned_is_a_recipe_key_of_that_type():
    for name, kind in TUNABLE.items():
        assert str(kind.__name__) in str(Recipe.model_fields[name].annotation)


def test_every_metric_is_of_the_validation_split():
    assert all(metric.startswith("val/") for metric in VAL_METRICS)


def test_messages_show_values_as_the_file_does():
    assert as_json({"a": None, "ü": True}) == '{"a": null, "ü": true}'
    assert len(as_json("x" * 500)) == 60
