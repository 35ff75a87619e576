"""Splits and subsets, mostly as properties over random label sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.datasets.splits import cut_sizes, make_splits, take_subset
from raybench.errors import DataError
from raybench.spec import SplitSpec

counts_of_classes = st.lists(st.integers(3, 40), min_size=2, max_size=6)
fractions = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45)).map(
    lambda pair: SplitSpec(val=pair[0], test=pair[1])
)
seeds = st.integers(0, 2**31 - 1)


def labels_of(counts: list[int]) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.RandomState(0).permutation(labels)


def split(labels, seed=0, spec=None, official=None, groups=None):
    nothing = [None] * len(labels)
    names = [f"c{i}" for i in range(int(labels.max()) + 1)]
    return make_splits(labels, names, official or nothing, groups or nothing, spec, seed)


@given(counts_of_classes, fractions, seeds)
def test_splits_part_all_images_and_hold_every_class(counts, spec, seed):
    labels = labels_of(counts)
    parts = split(labels, seed, spec)
    joined = np.concatenate([parts.train, parts.val, parts.test])
    assert np.array_equal(np.sort(joined), np.arange(len(labels)))
    for indices in (parts.train, parts.val, parts.test):
        assert set(labels[indices]) == set(range(len(counts)))
        assert indices.dtype == np.int64 and np.all(np.diff(indices) > 0)


@given(counts_of_classes, fractions, seeds)
def test_splits_are_stratified(counts, spec, seed):
    labels = labels_of(counts)
    parts = split(labels, seed, spec)
    for label, count in enumerate(counts):
        sizes = cut_sizes(count, spec.val, spec.test)
        assert sizes == ((labels[parts.val] == label).sum(), (labels[parts.test] == label).sum())
        assert abs(sizes[1] - count * spec.test) <= 1 and abs(sizes[0] - count * spec.val) <= 1


@given(counts_of_classes, seeds)
def test_the_same_seed_gives_the_same_split(counts, seed):
    labels = labels_of(counts)
    assert np.array_equal(split(labels, seed).test, split(labels, seed).test)


def test_another_seed_gives_another_split():
    labels = labels_of([50, 50])
    assert not np.array_equal(split(labels, 0).test, split(labels, 1).test)


def test_the_split_of_seed_0_never_changes():
    parts = split(np.repeat([0, 1], 5))
    assert (parts.val.tolist(), parts.test.tolist()) == ([2, 9], [4, 8])


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=3, max_size=12), min_size=2, max_size=4), seeds
)
def test_groups_never_straddle_and_every_class_is_everywhere(sizes, seed):
    labels, groups = [], []
    for label, group_sizes in enumerate(sizes):
        for number, size in enumerate(group_sizes):
            labels += [label] * size
            groups += [f"{label}-{number}"] * size
    array = np.array(labels)
    parts = split(array, seed, groups=groups)
    places = [{groups[i] for i in part} for part in (parts.train, parts.val, parts.test)]
    assert not (places[0] & places[1] or places[0] & places[2] or places[1] & places[2])
    assert sum(map(len, (parts.train, parts.val, parts.test))) == len(labels)
    for part in (parts.train, parts.val, parts.test):
        assert set(array[part]) == set(range(len(sizes)))


def test_grouped_sizes_come_near_the_fractions():
    random = np.random.RandomState(1)
    groups = [f"p{n}" for n in random.randint(0, 120, 2000)]
    labels = np.array([int(g[1:]) % 3 for g in groups])
    parts = split(labels, groups=groups)
    assert abs(len(parts.test) - 400) < 40 and abs(len(parts.val) - 400) < 40


def test_a_large_group_of_a_rare_class_stays_in_train():
    groups = ["big"] * 100 + ["a", "b"] + [f"x{i}" for i in range(30)]
    labels = np.array([0] * 102 + [1] * 30)
    parts = split(labels, groups=groups)
    assert "big" in {groups[i] for i in parts.train}


def test_too_small_classes_are_named_all_at_once():
    with pytest.raises(DataError) as error:
        split(labels_of([2, 1, 9]))
    assert [m.split(";")[0] for m in error.value.mistakes] == [
        "class 'c0' has 2 images",
        "class 'c1' has 1 images",
    ]
    with pytest.raises(DataError, match="class 'c0' has 2 groups; 3 are needed"):
        split(np.repeat([0, 1], 6), groups=["a", "b"] * 3 + list("cdefgh"))


def test_groups_of_several_classes_that_cannot_be_parted_are_refused():
    groups = ["a", "b", "c", "a", "b", "c", "a", "b", "c"]
    labels = np.repeat([0, 1, 2], 3)
    parts = split(labels, groups=groups)
    assert sorted(map(len, (parts.train, parts.val, parts.test))) == [3, 3, 3]


@given(counts_of_classes, seeds)
def test_official_train_and_test(counts, seed):
    labels = labels_of(counts * 2)
    official = ["test" if i % 4 == 0 else "train" for i in range(len(labels))]
    trained = labels[[name == "train" for name in official]]
    if np.bincount(trained, minlength=len(counts) * 2).min() < 2:
        return
    parts = split(labels, seed, official=official)
    assert all(official[i] == "test" for i in parts.test)
    assert len(parts.test) == official.count("test")
    assert all(official[i] == "train" for i in np.concatenate([parts.train, parts.val]))
    assert set(labels[parts.train]) == set(labels[parts.val]) == set(trained)


def test_official_splits_are_used_as_they_are():
    official = ["train", "val", "test"] * 4
    parts = split(np.array([0] * 6 + [1] * 6), official=official)
    assert parts.val.tolist() == [1, 4, 7, 10]


@given(counts_of_classes, seeds, st.lists(st.floats(0.1, 100), min_size=2, max_size=2))
def test_percentages_are_nested_and_keep_every_class(counts, seed, percents):
    labels = labels_of(counts)
    train = np.arange(len(labels))
    low, high = (take_subset(train, labels, f"{p:.2f}%", seed) for p in sorted(percents))
    assert set(low) <= set(high) <= set(train)
    assert set(labels[low]) == set(range(len(counts)))


@given(counts_of_classes, seeds, st.lists(st.integers(1, 40), min_size=2, max_size=2))
def test_shots_are_nested_and_exact_or_refused(counts, seed, shots):
    labels = labels_of(counts)
    train = np.arange(len(labels))
    taken = []
    for shot in sorted(shots):
        if shot > min(counts):
            with pytest.raises(
                DataError, match=f"'{shot}-shot' asks for more images .*{min(counts)}"
            ):
                take_subset(train, labels, f"{shot}-shot", seed)
        else:
            taken.append(take_subset(train, labels, f"{shot}-shot", seed))
            assert np.bincount(labels[taken[-1]]).tolist() == [shot] * len(counts)
    if len(taken) == 2:
        assert set(taken[0]) <= set(taken[1])


def test_subset_edges():
    labels = labels_of([10, 10])
    train = np.arange(5, 20)
    assert take_subset(train, labels, "full", 0) is train
    assert np.array_equal(take_subset(train, labels, "100%", 0), train)
    for wrong in ("0%", "150%", "half"):
        with pytest.raises(DataError, match=wrong):
            take_subset(train, labels, wrong, 0)
    assert not np.array_equal(
        take_subset(train, labels, "2-shot", 0), take_subset(train, labels, "2-shot", 1)
    )
