"""The same trials given twice: refused where nothing else is there, else counted once, and said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raybench.anonymity import without_traces
from raybench.copies import count_once
from raybench.errors import UserInputError
from raybench.joining import Source, join
from raybench.records import SweepSnapshot
from raybench.snapshot_json import from_json, to_json
from tests.test_joining import run_again, sweep

TASKS = (("x", "digits"), ("y", "digits"), ("x", "flowers"))


def earlier(snapshot: SweepSnapshot, pair: int, trials: int) -> SweepSnapshot:
    """As it was when only the first trials of one pair had ended."""
    pairs = list(snapshot.pairs)
    pairs[pair] = replace(pairs[pair], trials=pairs[pair].trials[:trials])
    return replace(snapshot, pairs=tuple(pairs))


def bundled(snapshot: SweepSnapshot) -> SweepSnapshot:
    return from_json(to_json(without_traces(snapshot)))


def refusal(*sources: Source) -> str:
    with pytest.raises(UserInputError) as caught:
        join(sources)
    (sentence,) = caught.value.mistakes
    return sentence


def test_a_sweep_and_its_bundle_are_one() -> None:
    whole = sweep("a", *TASKS, ledger_id="0123")
    copy = bundled(whole)
    assert copy.ledger_id == ""
    both = [Source(whole, given="a"), Source(copy, given="b.zip")]
    assert "all trials of 'b.zip' stand in 'a' too" in refusal(*both)
    assert "all trials of 'a' stand in 'b.zip' too" in refusal(*both[::-1])
    for one in both:
        assert refusal(one, one).startswith(f"'{one.given}' is given twice, and would")


def test_a_sweep_under_another_name_is_still_the_same() -> None:
    whole = sweep("a", *TASKS)
    assert "leave 'b' out" in refusal(Source(whole), Source(replace(whole, sweep="b")))


@pytest.mark.parametrize("left", [0, 1, 2])
def test_an_older_state_of_a_sweep_has_nothing_of_its_own(left: int) -> None:
    """Whichever comes first, and also where a pair had not begun yet."""
    now = sweep("a", *TASKS)
    old = earlier(now, 1, left)
    sources = [Source(old, given="old.zip"), Source(now, given="a")]
    assert "leave 'old.zip' out" in refusal(*sources)
    assert "leave 'old.zip' out" in refusal(*sources[::-1])


def test_a_sweep_that_has_not_begun_is_no_two_either() -> None:
    bare = replace(sweep("a", *TASKS), ledger_id="0123")
    for index in range(len(bare.pairs)):
        bare = earlier(bare, index, 0)
    assert "given twice" in refusal(Source(bare), Source(bare))
    other = replace(bare, ledger_id="4567")
    assert len(join([Source(bare), Source(other)]).snapshot.pairs) == 6


def test_what_two_sweeps_share_counts_once_and_is_said() -> None:
    one = sweep("a", *TASKS)
    own = sweep("b", ("z", "digits"), ("x", "digits"))
    other = replace(own, pairs=(*own.pairs[:1], one.pairs[0]))
    joined = join([Source(one), Source(other)])
    assert [(p.backbone, p.dataset) for p in joined.snapshot.pairs] == [*TASKS, ("z", "digits")]
    assert joined.notes == (
        "a and b hold the same trials of x on digits: they count once, as a's.",
    )
    assert joined.ids[1].keys() == {own.pairs[0].id}


def test_the_fuller_state_of_a_shared_pair_counts() -> None:
    one = sweep("a", *TASKS)
    own = sweep("b", ("z", "digits"))
    old = earlier(replace(own, pairs=(*own.pairs, one.pairs[1])), 1, 2)
    for snapshots in ([one, old], [old, one]):
        joined = join([Source(s) for s in snapshots]).snapshot
        (shared,) = (pair for pair in joined.pairs if pair.backbone == "y")
        assert len(shared.trials) == 3


def test_many_shared_pairs_are_one_sentence() -> None:
    many = sweep("a", *((f"x{n}", "digits") for n in range(5)), ("y", "digits"))
    own = sweep("b", ("z", "digits"))
    both = [many, replace(own, pairs=(*many.pairs[:5], *own.pairs))]
    (note,) = count_once(both, ["a", "b"], ["a", "b"])[1]
    assert note == (
        "a and b hold the same trials of x0 on digits, x1 on digits, x2 on digits and 2 more: "
        "they count once, as a's."
    )


def test_another_run_is_no_copy() -> None:
    one = sweep("a", *TASKS)
    assert len(join([Source(one), Source(run_again(one))]).snapshot.pairs) == 6
