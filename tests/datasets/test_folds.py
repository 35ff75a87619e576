"""Cross-validation parts, as properties over random labels and groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench.datasets.folds import fold_parts
from raybench.datasets.splits import Splits, make_splits
from raybench.errors import DataError

folds_of = st.integers(3, 8)
seeds = st.integers(0, 2**31 - 1)


def cross(labels: np.ndarray, folds: int, fold: int, seed: int = 0, groups=None) -> Splits:
    nothing = [None] * len(labels)
    names = [f"c{i}" for i in range(int(labels.max()) + 1)]
    return make_splits(labels, names, nothing, groups or nothing, None, seed, folds, fold)


@settings(deadline=None)  # the first example imports scikit-learn
@given(st.lists(st.integers(8, 30), min_size=2, max_size=5), folds_of, seeds)
def test_every_image_is_tested_once_and_validates_once(counts, folds, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = [cross(labels, folds, fold, seed) for fold in range(folds)]
    for name in ("test", "val"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(np.sort(joined), np.arange(len(labels)))
    for part in parts:
        everything = np.concatenate([part.train, part.val, part.test])
        assert np.array_equal(np.sort(everything), np.arange(len(labels)))
        assert set(labels[part.test]) == set(labels[part.val]) == set(range(len(counts)))


@settings(deadline=None)  # the first example imports scikit-learn
@given(st.lists(st.integers(8, 30), min_size=2, max_size=5), folds_of, seeds)
def test_folds_are_stratified(counts, folds, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    for fold in range(folds):
        test = cross(labels, folds, fold, seed).test
        for label, count in enumerate(counts):
            assert abs((labels[test] == label).sum() - count / folds) < 1


def test_five_folds_are_the_default_fractions():
    parts = cross(np.repeat([0, 1], 50), 5, 2)
    assert (len(parts.train), len(parts.val), len(parts.test)) == (60, 20, 20)


@settings(deadline=None)  # the first example imports scikit-learn
@given(folds_of, seeds)
def test_a_group_stays_in_one_fold(folds, seed):
    labels = np.repeat([0, 1], 120)
    groups = [f"p{i // 4}" for i in range(240)]
    part = fold_parts(labels, ["a", "b"], groups, folds, seed)
    for group in set(groups):
        assert len({part[i] for i, name in enumerate(groups) if name == group}) == 1


def test_the_seed_names_the_draw():
    labels = np.repeat([0, 1], 50)
    assert np.array_equal(cross(labels, 5, 0, 3).test, cross(labels, 5, 0, 3).test)
    assert not np.array_equal(cross(labels, 5, 0, 3).test, cross(labels, 5, 0, 4).test)


def test_too_few_images_are_named_for_every_class():
    labels = np.array([0] * 4 + [1] * 20 + [2] * 3)
    with pytest.raises(DataError) as caught:
        cross(labels, 5, 0)
    assert [m.split(",")[0] for m in caught.value.mistakes] == [
        "class 'c0' has 4 images",
        "class 'c2' has 3 images",
    ]


def test_too_few_groups_are_named():
    labels = np.repeat([0, 1], 20)
    groups = [f"{i // 10}" for i in range(20)] + [f"x{i}" for i in range(20)]
    with pytest.raises(DataError, match="class 'c0' has 2 groups, too few for 4 folds"):
        cross(labels, 4, 0, groups=groups)
