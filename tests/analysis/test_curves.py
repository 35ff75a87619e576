"""Response curves averaged over tasks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from raybench.analysis.curves import MeanResponse
from raybench.analysis.whole import Analysis
from raybench.records import FailureClass, PairRow
from tests.factories import make_pair, make_snapshot, pair_id, search_trial

LADDER = {"ladder": {"lr": [1e-4, 3e-4, 1e-3]}}


def ladder(
    backbone: str, values: Mapping[float, float], dataset: str = "digits", subset: str = "full",
    diverged: tuple[float, ...] = (), failure: FailureClass = "diverged",
) -> PairRow:  # fmt: skip
    """The default 3e-4 first, as a sweep does it."""
    name = pair_id(backbone, dataset, subset)
    order = sorted((*values, *diverged), key=lambda lr: (lr != 3e-4, lr))
    trials = [
        search_trial(name, n, lr, (), "failed", failure=failure)
        if lr in diverged
        else search_trial(name, n, lr, (values[lr],))
        for n, lr in enumerate(order)
    ]
    return make_pair(backbone, trials, dataset, subset, quota=3)


def of(*pairs: PairRow) -> dict[str, MeanResponse]:
    found = Analysis(make_snapshot(*pairs, search=LADDER)).curves
    return {curve.backbone: curve for curve in found}


A = {1e-4: 0.6, 3e-4: 0.9, 1e-3: 0.8}
B = {1e-4: 0.7, 3e-4: 0.75, 1e-3: 0.5}


def test_behind_the_best_of_any_backbone() -> None:
    found = of(ladder("a", A), ladder("b", B))
    assert found["a"].values == (1e-4, 3e-4, 1e-3)
    assert found["a"].behind == pytest.approx((0.3, 0.0, 0.1))
    assert found["b"].behind == pytest.approx((0.2, 0.15, 0.4))
    assert found["b"].intervals == (None, None, None)


def test_data_sets_weigh_the_same_however_many_subsets_they_have() -> None:
    found = of(
        ladder("a", A), ladder("b", B),
        ladder("a", A, subset="10%"), ladder("b", B, subset="10%"),
        ladder("a", B, "two"), ladder("b", A, "two"),
    )  # fmt: skip
    assert found["a"].behind == pytest.approx((0.25, 0.075, 0.25))
    assert set(found["a"].by_task) == {"digits", "digits (10%)", "two"}


def test_six_data_sets_have_an_interval() -> None:
    pairs = [ladder(b, v, f"d{i}") for i in range(6) for b, v in (("a", A), ("b", B))]
    assert of(*pairs)["b"].intervals[1] == pytest.approx((0.15, 0.15))


def test_a_divergence_is_the_worst_and_a_crash_sets_the_task_aside() -> None:
    low = {1e-4: 0.6, 3e-4: 0.9}
    found = of(ladder("a", low, diverged=(1e-3,)), ladder("b", B))
    assert found["a"].behind == pytest.approx((0.3, 0.0, 0.4))
    assert of(ladder("a", low, diverged=(1e-3,), failure="infrastructure"), ladder("b", B)) == {}
    assert of(ladder("a", low), ladder("b", B)) == {}


def test_a_failed_pair_is_the_worst_everywhere() -> None:
    found = of(ladder("a", A), make_pair("b", state="failed"))
    assert found["b"].behind == pytest.approx((0.3, 0.3, 0.3))


def test_one_rung_is_no_curve() -> None:
    pair = make_pair("a", [search_trial(pair_id("a"), 0)])
    assert Analysis(make_snapshot(pair, search={"ladder": 1})).curves == ()
    assert Analysis(make_snapshot()).curves == ()
