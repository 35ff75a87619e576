"""The answer in words: uncertainty first, and honest where there is no answer."""

from __future__ import annotations

import pytest

from raybench.analysis.headline import Headline, likeliest
from raybench.analysis.numbers import with_interval
from raybench.analysis.probability import Chances
from raybench.analysis.whole import Analysis
from raybench.records import PairRow, SweepSnapshot
from tests.analysis.finished import finished
from tests.factories import empty_snapshot, make_pair, make_snapshot, realistic_snapshot
from tests.predictions import Memory, from_hits


def said(*pairs: PairRow) -> Headline:
    return Analysis(make_snapshot(*pairs)).headline


def close(name: str, mean: float, dataset: str = "digits", spread: float = 0.01) -> PairRow:
    return finished(name, (mean - spread, mean, mean + spread), dataset=dataset)


def test_one_task_chances_first_then_the_leader_and_its_rivals() -> None:
    found = said(close("timm:a", 0.90), close("timm:b", 0.892), close("timm:c", 0.5))
    assert found.first.startswith("On digits, a or b: ")
    assert found.first.endswith(
        "% to be best; a has 90.0% ± 2.5 test accuracy (3 seeds), b cannot be told apart from it."
    )
    assert found.by_task == {"digits": found.first}
    assert len(found.more) == 1 and "more seeds each would separate them" in found.more[0]
    assert found.text == f"{found.first} {found.more[0]}"


def test_a_clear_winner() -> None:
    found = said(close("a", 0.95, spread=0.001), close("b", 0.7, spread=0.001))
    assert found.first == (
        "On digits, a: > 99% to be best; a has 95.0% ± 0.2 test accuracy (3 seeds), the other is "
        "behind."
    )


def test_with_predictions_the_interval_is_over_images_too() -> None:
    pairs = [close("a", 0.9), close("b", 0.5)]
    source = Memory({t.key: from_hits([1, 0] * 40) for p in pairs for t in p.final_trials()})
    analysis = Analysis(make_snapshot(*pairs), source)
    sure = analysis.standings["digits"][0].uncertainty
    assert sure is not None and sure.both is not None
    value = with_interval("test/accuracy", 0.9, sure.both)
    assert f"a has {value} test accuracy (3 seeds, 80 images)" in analysis.headline.first
    grouped = Memory(
        {k: from_hits([1, 0] * 40, groups=["g", "h"] * 40) for k in source.predictions}
    )
    found = Analysis(make_snapshot(*pairs), grouped).headline
    assert "(3 seeds, 2 groups of images)" in found.first
    assert "3 seeds each and 2 groups of test images" in found.more[0]


def test_many_that_are_tied_are_counted() -> None:
    found = said(*(close(name, 0.9) for name in "abcde"))
    assert found.first.endswith("4 others cannot be told apart from it.")


def test_what_is_missing_is_said() -> None:
    sentences = Analysis(realistic_snapshot()).headline.by_task
    assert sentences["digits"].endswith(" (1 of 4 without a result).")
    assert sentences["digits (10%)"].endswith("the other is behind (2 of 4 without a result).")


def test_one_seed_claims_nothing() -> None:
    assert said(finished("a", (0.91,)), finished("b", (0.80,))).first == (
        "On digits a leads with 91.0% test accuracy (1 seed); b cannot be told apart from it."
    )


def test_one_result() -> None:
    assert said(finished("a", (0.91, 0.91)), make_pair("b", state="failed")).first == (
        "On digits only a has a final result: 91.0% test accuracy (2 seeds) "
        "(1 of 2 without a result)."
    )


def two_tasks(state: str) -> SweepSnapshot:
    return make_snapshot(*(make_pair(n, dataset=d, state=state) for n in "ab" for d in ("x", "y")))  # type: ignore[arg-type]


def test_nothing_finished() -> None:
    found = Analysis(empty_snapshot()).headline
    assert found == Headline(
        "On digits there is no final result yet (2 waiting).",
        (),
        {"digits": "On digits there is no final result yet (2 waiting)."},
    )
    assert Analysis(two_tasks("searching")).headline.first == (
        "There is no final result yet (4 searching)."
    )
    assert said().first == "The sweep names no pairs yet."


def test_one_backbone_only() -> None:
    assert said(close("a", 0.9), close("a", 0.8, "other")).first == (
        "Only a is in this sweep: nothing to compare it with."
    )


def test_half_way_the_leaders_so_far_are_named() -> None:
    found = said(
        close("a", 0.9, "x"), close("b", 0.5, "x"), make_pair("c", dataset="x", state="searching"),
        close("a", 0.9, "y"), close("b", 0.9001, "y"), make_pair("c", dataset="y", state="waiting"),
    )  # fmt: skip
    assert found.first == (
        "No task is finished by every backbone yet; so far a (alone on 1) and b lead on 1 of 2 "
        "data sets each."
    )
    assert found.more == ()


def test_a_few_data_sets_say_that_they_are_few() -> None:
    found = said(*(close(n, m, d) for d in ("x", "y") for n, m in (("a", 0.9), ("b", 0.5))))
    assert found.first == (
        "a leads on 2 (alone on 2) of 2 data sets; a: > 99% to have the best mean accuracy over "
        "these 2 data sets."
    )
    assert found.more[0] == (
        "a has mean accuracy 90.0%, mean rank 1.0 and score 1.00 over 2 data sets."
    )
    assert "too few to speak about others" in found.more[-1]


def test_six_data_sets_speak_about_others() -> None:
    pairs = [
        close(name, mean + 0.01 * (d % 3) * (name == "b"), f"d{d}")
        for d in range(7)
        for name, mean in (("a", 0.80), ("b", 0.79), ("c", 0.3))
    ]
    found = said(*pairs)
    assert "to have the best mean accuracy over data sets like these; " in found.first
    assert found.first.endswith("; b cannot be told apart from a.")
    assert found.more[0] == (
        "a has mean accuracy 80.0% ± 0.0, mean rank 1.4 [1.0, 1.8] and score 0.99 [0.99, 1.00] "
        "over 7 data sets."
    )
    assert found.more[1].startswith("Over 7 data sets a is ahead of b by 0.1 points")
    assert len(found.first) < 130


def test_without_a_leader_alone_the_tiers_come_first_and_a_shared_mean_rank_is_named() -> None:
    """Two that each lead on one data set, and two losers."""
    means = {"a": (0.90, 0.80), "b": (0.89, 0.804), "c": (0.5, 0.4), "d": (0.4, 0.5)}
    found = said(
        *(close(n, m, d, 0.02) for n, row in means.items() for d, m in zip("xy", row, strict=True))
    )
    assert found.first.startswith(
        "a and b lead on 1 of 2 data sets each; no leader stands alone; a or b: "
    )
    assert found.first.endswith("% to have the best mean accuracy over these 2 data sets.")
    assert "mean rank 1.5 (shared with b) and" in found.more[0]


def test_a_better_mean_rank_than_the_leaders_is_named() -> None:
    means = {"a": (0.9, 0.60, 0.60), "b": (0.5, 0.62, 0.62)}
    found = said(
        *(close(n, m, d) for n, row in means.items() for d, m in zip("xyz", row, strict=True))
    )
    assert "a has mean accuracy 70.0%, mean rank 1.7 (b has 1.3) and" in found.more[0]


def test_where_every_backbone_failed_somewhere_none_has_the_best_mean() -> None:
    found = said(
        close("a", 0.9, "x"), finished("b", (), dataset="x", state="failed"),
        close("b", 0.9, "y"), finished("a", (), dataset="y", state="failed"),
    )  # fmt: skip
    assert found.first == (
        "a (alone on 1) and b (alone on 1) lead on 1 of 2 data sets each; every backbone failed on "
        "some."
    )


def test_many_leaders_are_counted() -> None:
    names = "abcde"
    found = said(*(close(n, 0.9 if n == d else 0.8, d, 0.05) for d in names for n in names))
    assert found.first.startswith("a, b, c and 2 others lead on 1 of 5 data sets each; ")


@pytest.mark.parametrize(
    ("best", "text"),
    [
        ({"x": 0.62, "y": 0.24, "z": 0.09}, "x or y: 62% and 24% to be best"),
        ({"x": 0.999, "y": 0.001}, "x: > 99% to be best"),
        ({"x": 0.05, "y": 0.05}, "x: 5% to be best"),
        ({n: 0.25 for n in "xyzw"}, "x, y or z: 25%, 25% and 25% to be best"),
    ],
)
def test_likeliest(best: dict[str, float], text: str) -> None:
    assert likeliest(Chances(best, "seeds"), {name: name for name in best}) == text
