"""What remains under limits; what cannot be judged is named, neither allowed nor dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from raybench.analysis.constraints import (
    NO_CONSTRAINTS,
    UNTRAINED,
    Constraints,
    Remaining,
    licences,
    remaining,
)
from raybench.analysis.whole import Analysis
from raybench.backbones.describe import NOT_STATED
from raybench.records import PairRow, SweepSnapshot
from tests.factories import final_trial, make_pair, make_snapshot, pair_id, search_trial
from tests.measurements import make_profile, make_timing


def pair(
    spec: Mapping[str, Any], values: Sequence[float] = (0.9, 0.91), millions: int = 5
) -> PairRow:
    name = spec["name"]
    size = millions * 1_000_000
    finals = [final_trial(pair_id(name), s, s, v, parameters=size) for s, v in enumerate(values)]
    trials = [search_trial(pair_id(name), 0, parameters=size), *finals]
    return replace(make_pair(name, trials), backbone_spec=spec)


APACHE = {"name": "timm:resnet10t.c3_in1k"}
NON_COMMERCIAL = {"name": "timm:convnextv2_tiny", "weights": "fcmae_ft_in22k_in1k"}
SILENT = {"name": "torchvision:resnet18"}


def sweep() -> SweepSnapshot:
    pairs = (
        pair(APACHE, (0.80, 0.81), 5),
        pair(NON_COMMERCIAL, (0.95, 0.96), 28),
        pair(SILENT, (0.90, 0.905), 11),
    )
    profiles = [
        make_profile(backbone=name, single=make_timing(median_ms=ms))
        for name, ms in (("timm:resnet10t", 2.0), ("timm:convnextv2_tiny", 12.0))
    ]
    return replace(make_snapshot(*pairs), profiles=tuple(profiles))


def under(**limits: Any) -> Remaining:
    return remaining(Analysis(sweep()), Constraints(**limits))


@pytest.mark.parametrize(
    ("spec", "licence"),
    [
        (APACHE, "apache-2.0"),
        ({"name": "timm:resnet10t"}, "apache-2.0"),
        (NON_COMMERCIAL, "cc-by-nc-4.0"),
        (SILENT, NOT_STATED),
        ({"name": "timm:resnet10t", "weights": "/data/my.pt"}, NOT_STATED),
        ({"name": "timm:resnet10t", "weights": "https://example.org/a.pt"}, NOT_STATED),
        ({"name": "timm:resnet10t", "weights": "none"}, UNTRAINED),
        ({"name": "timm:hf-hub:org/name"}, NOT_STATED),
        ({"name": "python:my_models:net"}, NOT_STATED),
        ({"name": "timm:resnet10t", "kwargs": {"in_chans": 3}}, "apache-2.0"),
    ],
)
def test_licences_are_those_of_the_weights_that_were_used(
    spec: Mapping[str, Any], licence: str
) -> None:
    assert licences(make_snapshot(pair(spec))) == {spec["name"]: licence}


def test_unknown_is_what_the_library_calls_unknown() -> None:
    from raybench.backbones.describe import describe_backbones

    odd = next(m for m in describe_backbones("timm:*") if m.weights[0].licence == "unknown")
    assert set(licences(make_snapshot(pair({"name": odd.name}))).values()) == {NOT_STATED}


def test_a_licence_that_is_not_stated_is_named() -> None:
    found = under(licence="apache*, MIT")
    assert found.allowed == (APACHE["name"],)
    assert [(r.backbone, r.reason) for r in found.refused] == [
        (NON_COMMERCIAL["name"], "licence cc-by-nc-4.0")
    ]
    assert [(r.backbone, r.reason) for r in found.unknown] == [
        (SILENT["name"], "the licence of its weights is not stated")
    ]
    assert found.sentences[0] == (
        "Under the limits (licence apache*, MIT) 1 of 3 backbones remain: resnet10t."
    )
    assert found.sentences[2].startswith("Left out, since it cannot be judged: resnet18 (the")


def test_patterns_are_of_any_case() -> None:
    swag = {"name": "torchvision:regnet_y_16gf", "weights": "IMAGENET1K_SWAG_LINEAR_V1"}
    snapshot = make_snapshot(pair(swag))
    assert "LICENSE" in licences(snapshot)[swag["name"]]
    for pattern in ("*SWAG*", "*swag*"):
        assert remaining(Analysis(snapshot), Constraints(licence=pattern)).allowed


def test_latency_that_was_not_measured_is_named() -> None:
    found = under(max_latency_ms=10)
    assert found.allowed == (APACHE["name"],)
    assert [r.reason for r in found.refused] == ["12.0 ms"]
    assert [r.reason for r in found.unknown] == ["its latency was not measured"]


def test_a_broken_limit_refuses_whatever_else_is_unknown() -> None:
    found = under(max_params_m=10, licence="apache*")
    assert [r.backbone for r in found.refused] == [NON_COMMERCIAL["name"], SILENT["name"]]
    assert found.refused[1].reason == "11.0 M parameters; the licence of its weights is not stated"
    assert found.unknown == ()


def test_limits_include_their_ends() -> None:
    assert under(max_params_m=11).allowed == (APACHE["name"], SILENT["name"])
    assert under(max_latency_ms=2.0).allowed == (APACHE["name"],)


def test_the_best_of_the_rest_and_who_cannot_be_told_apart_from_it() -> None:
    assert under(max_params_m=20).best == {"digits": (SILENT["name"],)}
    near = pair({"name": "timm:near"}, (0.901, 0.908), 1)
    snapshot = make_snapshot(*sweep().pairs, near)
    found = remaining(Analysis(snapshot), Constraints(max_params_m=20))
    assert found.best == {"digits": ("timm:near", SILENT["name"])}
    assert found.sentences[-1] == (
        "On digits near has the best mean of them; resnet18 cannot be told apart from it."
    )


def test_nobody_remains() -> None:
    found = under(max_params_m=1)
    assert found.allowed == () and found.best == {}
    assert found.sentences[0].endswith("0 of 3 backbones remain.")


def test_no_limits_say_nothing() -> None:
    assert not NO_CONSTRAINTS and Constraints(max_params_m=1)
    found = remaining(Analysis(sweep()), NO_CONSTRAINTS)
    assert len(found.allowed) == 3 and found.sentences == ()
