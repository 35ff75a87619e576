"""Which pair and which trial: by rule, or in words what to give instead."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from raybench.analysis.whole import Analysis
from raybench.errors import UserInputError
from raybench.export.choice import choose_pair, final_to_export
from raybench.records import PairRow, TrialRow
from tests.factories import final_trial, make_pair, make_snapshot, pair_id, search_trial

BEST, SECOND = "timm:resnet10t.c3_in1k", "timm:vit_tiny_patch16_224"


def final(pair: str, seed: int, value: float, **end: Any) -> TrialRow:
    """A final that kept its weights."""
    row = final_trial(pair, seed, seed, value)
    assert row.end is not None
    return dataclasses.replace(row, end=dataclasses.replace(row.end, weights_path="w", **end))


def done(backbone: str, values: tuple[float, ...], dataset: str = "digits") -> PairRow:
    name = pair_id(backbone, dataset)
    finals = (final(name, seed, value) for seed, value in enumerate(values))
    return make_pair(backbone, (search_trial(name, 0), *finals), dataset)


def analysis(*pairs: PairRow) -> Analysis:
    return Analysis(make_snapshot(*pairs))


def test_the_leader_of_the_only_task() -> None:
    pairs = done(SECOND, (0.7, 0.8)), done(BEST, (0.9, 0.8))
    assert choose_pair(analysis(*pairs)).backbone == BEST


def test_several_tasks_are_listed_with_their_leaders() -> None:
    pairs = [
        done(b, (v, v), d) for d in ("digits", "pets") for b, v in ((BEST, 0.9), (SECOND, 0.8))
    ]
    with pytest.raises(UserInputError) as caught:
        choose_pair(analysis(*pairs))
    first, *rest = caught.value.mistakes
    assert "has 2 tasks; name the pair" in first
    assert [line.split()[0] for line in rest] == [pair.id for pair in pairs]
    assert [line.partition("(leads ")[2].rstrip(")") for line in rest] == ["digits", "", "pets", ""]


def test_of_many_pairs_the_leaders_are_listed() -> None:
    pairs = [done(b, (v, v), f"d{n}") for n in range(9) for b, v in ((BEST, 0.9), (SECOND, 0.8))]
    with pytest.raises(UserInputError) as caught:
        choose_pair(analysis(*pairs))
    _, *leaders, last = caught.value.mistakes
    assert [line.split()[0] for line in leaders] == [pair.id for pair in pairs[::2]]
    assert last == "  and 9 more; 'raybench status --json' has all ids"


def test_a_refusal_names_few_of_many_pairs() -> None:
    pairs = [done(SECOND, (0.7,), f"d{n}") for n in range(20)]
    for given, words in (("vit", "fits 20 pairs: "), ("d7.fil", "no pair 'd7.fil' among 20; ")):
        with pytest.raises(UserInputError) as caught:
            choose_pair(analysis(*pairs), given)
        (sentence,) = caught.value.mistakes
        assert words in sentence and sentence.count("vit_tiny") == 5 and "and 15 more" in sentence
    assert pairs[7].id in sentence


def test_a_part_of_an_id_is_enough() -> None:
    pairs = done(SECOND, (0.7, 0.8)), done(BEST, (0.9, 0.8))
    assert choose_pair(analysis(*pairs), "VIT").backbone == SECOND
    assert choose_pair(analysis(*pairs), pairs[1].id) is pairs[1]


def test_a_whole_id_wins_over_longer_ones() -> None:
    short, long = done("timm:vit", (0.7,)), done("timm:vit", (0.7,), dataset="digits.fullest")
    long = dataclasses.replace(long, id=f"{short.id}-more")
    assert choose_pair(analysis(short, long), short.id) is short


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("digits", "fits 2 pairs: "),
        ("resnet10t.c3_in1k.digits.ful1", "among 2; the nearest: resnet10t.c3_in1k.digits.full, "),
    ],
)
def test_what_names_no_single_pair(given: str, words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        choose_pair(analysis(done(SECOND, (0.7,)), done(BEST, (0.9,))), given)


def test_pairs_that_left_the_file_are_not_offered() -> None:
    former = dataclasses.replace(done(BEST, (0.9,)), current=False)
    with pytest.raises(UserInputError, match="no pair 'resnet10t'"):
        choose_pair(analysis(former, done(SECOND, (0.7,))), "resnet10t")


def test_without_a_result_nobody_leads() -> None:
    with pytest.raises(UserInputError, match="nobody leads"):
        choose_pair(analysis(make_pair(BEST, state="searching")))


def test_the_first_seed_and_not_the_best_one() -> None:
    trial = final_to_export(done(BEST, (0.5, 0.99, 0.7)))
    assert trial.seed == 0


def test_a_pair_that_is_not_done() -> None:
    with pytest.raises(UserInputError, match=r"is not done \(it is final\)"):
        final_to_export(dataclasses.replace(done(BEST, (0.9,)), state="final"))


def test_a_pair_without_weights() -> None:
    name = pair_id(BEST)
    with pytest.raises(UserInputError, match="no final that kept its weights"):
        final_to_export(make_pair(BEST, (final_trial(name, 0, 0, 0.9),)))


def test_nearest_neighbours_are_refused_in_words() -> None:
    name = pair_id(BEST)
    row = final(name, 0, 0.9, facts={"weights": "neighbors"})
    with pytest.raises(UserInputError, match="k nearest neighbours.*linear_probe"):
        final_to_export(make_pair(BEST, (row,)))


def test_a_file_that_asks_for_the_defaults_only(tmp_path: Path) -> None:
    name = pair_id(BEST)
    row = dataclasses.replace(final(name, 0, 0.9), configs=("default",))
    assert final_to_export(make_pair(BEST, (row,), configs=("default",))) is row
