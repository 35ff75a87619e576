"""How numbers are written."""

from __future__ import annotations

import pytest

from raybench.analysis import numbers


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("val/accuracy", 0.97849, "97.8%"),
        ("test/macro_f1", 1.0, "100.0%"),
        ("test/auroc", 0.97849, "0.978"),
        ("val/nll", 1.25, "1.250"),
        ("val/accuracy", None, "—"),
    ],
)
def test_metric_value(metric: str, value: float | None, text: str) -> None:
    assert numbers.metric_value(metric, value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.012, "+1.2"), (-0.5, "-50.0"), (0.0, "0.0"), (-0.0001, "0.0")]
)
def test_metric_change(value: float, text: str) -> None:
    assert numbers.metric_change("val/accuracy", value) == text


def test_interval_is_plus_minus_unless_clipped() -> None:
    assert numbers.with_interval("test/accuracy", 0.978, (0.972, 0.984)) == "97.8% ± 0.6"
    assert numbers.with_interval("test/accuracy", 0.995, (0.981, 1.0)) == "99.5% [98.1, 100.0]"
    assert numbers.with_interval("test/auroc", 0.9, (0.88, 0.92)) == "0.900 ± 0.020"
    assert numbers.with_interval("test/accuracy", 0.978, None) == "97.8%"
    assert numbers.with_interval("test/accuracy", None, None) == "—"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.12, "4.1 s"),
        (9.96, "10 s"),
        (59.96, "1 m 00 s"),
        (200, "3 m 20 s"),
        (3599.6, "1 h 00 m"),
        (3725, "1 h 02 m"),
        (100 * 3600, "100 h 00 m"),
        (None, "—"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_hyperparameters() -> None:
    assert numbers.hyperparameters({"lr": 3e-4}) == "3.0e-04"
    assert numbers.hyperparameters({"weight_decay": 0.05, "lr": 1e-3}) == (
        "lr 1.0e-03, weight_decay 0.05"
    )
    assert numbers.hyperparameters({"batch_size": 64}) == "batch_size 64"
    assert numbers.hyperparameters(None) == "—"


def test_millions() -> None:
    assert numbers.millions(5_440_000) == "5.4 M"
    assert numbers.millions(40_000) == "0.040 M"
    assert numbers.millions(None) == "—"


def test_giga() -> None:
    assert numbers.giga(4_089_184_256) == "4.1 G" and numbers.giga(22_000_000) == "0.022 G"
    assert numbers.giga(None) == "—"


def test_short_has_three_digits_that_count() -> None:
    values = [0.0842, 0.842, 5.031, 9.999, 23.14, 99.96, 123.4, 1234.4, 0.0, None]
    assert [numbers.short(value) for value in values] == [
        "0.0842", "0.842", "5.03", "10.0", "23.1", "100", "123", "1,230", "0", "—"
    ]  # fmt: skip


def test_short_names_keep_what_tells_backbones_apart() -> None:
    names = [
        "timm:resnet50.a1_in1k",
        "timm:resnet50.tv_in1k",
        "torchvision:resnet18",
        "timm:resnet18.a1_in1k",
        "resnet18.a1_in1k",
        "convnext_tiny.fb_in1k [none]",
        "timm:vit_tiny_patch16_224 [my.weights.pt, drop_rate=0.1]",
        "python:mine.models:Net",
    ]
    assert list(numbers.short_names(names).values()) == [
        "resnet50.a1_in1k",
        "resnet50.tv_in1k",
        "torchvision:resnet18",
        "timm:resnet18.a1_in1k",
        "resnet18.a1_in1k",
        "convnext_tiny [none]",
        "vit_tiny_patch16_224 [my.weights.pt, drop_rate=0.1]",
        "Net",
    ]


def test_clean_leaves_one_printable_line() -> None:
    assert numbers.clean("a\x1b[31m\tb\n c\u202e") == "a [31m b c"


def test_listing() -> None:
    assert numbers.listing(["a"]) == "a"
    assert numbers.listing(["a", "b", "c"]) == "a, b and c"
