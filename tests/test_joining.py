"""Several sweeps as one: what stands beside what, what is told apart, what cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raybench.errors import UserInputError
from raybench.joining import Source, join, unique_names
from raybench.predictions import Predictions, StoredPredictions
from raybench.records import SweepSnapshot, TrialRow
from raybench.seeding import derive_seed
from raybench.storage import Store
from tests.factories import FACTS, final_trial, make_pair, make_snapshot, pair_id, search_trial
from tests.measurements import make_profile
from tests.prediction_files import with_predictions


def sweep(name: str, *pairs: tuple[str, str], **changes: Any) -> SweepSnapshot:
    """Pairs of backbone and data set with one search trial and two finals each, at its own hour."""
    rows = []
    for backbone, dataset in pairs:
        key = pair_id(backbone, dataset)
        finals = (final_trial(key, 0, 0, 0.9), final_trial(key, 1, 1, 0.8))
        trials = [ended_later(t, derive_seed(0, name)) for t in (search_trial(key, 0), *finals)]
        rows.append(make_pair(backbone, trials, dataset))
    return replace(make_snapshot(*rows), sweep=name, **changes)


def ended_later(trial: TrialRow, seconds: float) -> TrialRow:
    assert trial.end is not None
    return replace(trial, end=replace(trial.end, finished_at=trial.end.finished_at + seconds))


def run_again(snapshot: SweepSnapshot) -> SweepSnapshot:
    """The same sweep with the same results, of another day."""
    pairs = tuple(
        replace(pair, trials=tuple(ended_later(trial, 86_400) for trial in pair.trials))
        for pair in snapshot.pairs
    )
    return replace(snapshot, pairs=pairs)


def with_facts(snapshot: SweepSnapshot, facts: Mapping[str, Any]) -> SweepSnapshot:
    pairs = tuple(replace(pair, facts={**FACTS, **facts}) for pair in snapshot.pairs)
    return replace(snapshot, pairs=pairs)


def with_spec(snapshot: SweepSnapshot, section: str, **values: Any) -> SweepSnapshot:
    changed = {**snapshot.spec[section], **values}
    return replace(snapshot, spec={**snapshot.spec, section: changed})


def test_one_sweep_is_as_it_was() -> None:
    only = sweep("a", ("x", "digits"))
    joined = join([Source(only)])
    assert joined.snapshot is only and joined.notes == () and joined.names == ("a",)


def test_pairs_stand_side_by_side() -> None:
    one, other = sweep("a", ("x", "digits")), sweep("b", ("y", "flowers"))
    joined = join([Source(one), Source(other)])
    assert [p.backbone for p in joined.snapshot.pairs] == ["x", "y"]
    assert joined.snapshot.pairs == one.pairs + other.pairs, "nothing met, nothing is renamed"
    assert joined.snapshot.sweep == "a + b" and joined.names == ("a", "b")
    assert joined.notes == ()


def test_who_stands_in_several_is_told_apart_on_all_of_its_tasks() -> None:
    one = sweep("a", ("x", "digits"), ("x", "flowers"), ("y", "flowers"))
    other = sweep("b", ("x", "digits"), ("z", "digits"))
    joined = join([Source(one), Source(other)]).snapshot
    named = [(pair.backbone, pair.dataset) for pair in joined.pairs]
    assert named == [
        ("x (a)", "digits"),
        ("x (a)", "flowers"),
        ("y", "flowers"),
        ("x (b)", "digits"),
        ("z", "digits"),
    ]


def test_two_runs_of_one_sweep_are_told_apart() -> None:
    """Though all of their numbers agree."""
    same = sweep("a", ("x", "digits"))
    joined = join([Source(same), Source(run_again(same))])
    (one, other), (old,) = joined.snapshot.pairs, same.pairs
    assert joined.names == ("a", "a-2")
    assert (one.backbone, other.backbone) == ("x (a)", "x (a-2)")
    assert one.id != other.id and {t.pair_id for t in other.trials} == {other.id}
    assert joined.ids == ({old.id: one.id}, {old.id: other.id})


def test_names_are_unique_whatever_they_are() -> None:
    assert unique_names(["a", "a-2", "a", "a"]) == ["a", "a-2", "a-3", "a-4"]


def test_other_metrics_are_refused_all_of_them() -> None:
    sources = [
        Source(sweep("a")),
        Source(replace(sweep("b"), metric="val/nll")),
        Source(sweep("c")),
    ]
    with pytest.raises(UserInputError, match="'a' and 'c' by val/accuracy; 'b' by val/nll"):
        join(sources)


def test_predictions_come_from_the_sweep_that_wrote_them(tmp_path: Path) -> None:
    """Also where both have a trial of the same key, which its file names."""
    both = []
    one = sweep("a", ("x", "digits"))
    for folder, found in (("one", one), ("other", run_again(one))):
        whole = with_predictions(found, tmp_path / folder, len(folder))
        both.append(Source(whole, StoredPredictions(Store(tmp_path / folder))))
    joined = join(both)
    found = [
        joined.predictions.read(trial)
        for pair in joined.snapshot.pairs
        for trial in pair.final_trials()
    ]
    assert [len(p.ids) for p in found if p is not None] == [3, 3, 5, 5]


def test_the_source_hears_its_own_names() -> None:
    heard: list[str] = []

    class Listening:
        def read(self, trial: TrialRow) -> Predictions | None:
            heard.append(trial.key)
            return None

    same = sweep("a", ("x", "digits"))
    joined = join([Source(same, Listening()), Source(run_again(same), Listening())])
    for trial in joined.snapshot.pairs[1].trials:
        joined.predictions.read(trial)
    assert heard == [trial.key for trial in same.pairs[0].trials]


def test_other_settings_are_said_where_tasks_meet() -> None:
    one = sweep("a", ("x", "digits"))
    longer = with_spec(sweep("b", ("x", "digits")), "recipe", epochs=99)
    (note,) = join([Source(one), Source(longer)]).notes
    assert note == (
        "recipe.epochs differs, so the sweeps' numbers are not like for like (a: 6; b: 99)."
    )
    apart = with_spec(sweep("b", ("x", "flowers")), "recipe", epochs=99)
    assert join([Source(one), Source(apart)]).notes == ()


@pytest.mark.parametrize(
    ("key", "words"), [("split_digest", "splits"), ("manifest_digest", "images")]
)
def test_other_splits_and_images_are_said(key: str, words: str) -> None:
    sweeps = [with_facts(sweep(name, ("x", "digits")), {key: name}) for name in ("a", "b")]
    assert join([Source(s) for s in sweeps]).notes == (
        f"digits: a and b do not have the same {words}, so their numbers on it cannot be compared.",
    )
    sweeps[1] = with_facts(sweeps[1], {key: "a"})
    assert join([Source(s) for s in sweeps]).notes == ()


def test_the_joined_file_has_everybody_and_the_widest_range() -> None:
    one = with_spec(sweep("a", ("x", "digits")), "space", lr={"low": 1e-4, "high": 1e-2})
    other = with_spec(sweep("b", ("y", "digits")), "space", lr={"low": 1e-5, "high": 1e-3})
    one = replace(one, spec={**one.spec, "datasets": ["digits"]})
    other = replace(other, spec={**other.spec, "datasets": ["digits", "flowers"]})
    spec = join([Source(one), Source(other)]).snapshot.spec
    assert spec["datasets"] == ["digits", "flowers"]
    assert spec["space"]["lr"] == {"low": 1e-5, "high": 1e-2}


def test_a_profile_of_one_home_is_there_once() -> None:
    profile = make_profile()
    sources = [Source(sweep(name, profiles=(profile,))) for name in ("a", "b")]
    assert join(sources).snapshot.profiles == (profile,)
