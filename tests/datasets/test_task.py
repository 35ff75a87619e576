"""From a spec to what a trial trains on."""

from __future__ import annotations

import numpy as np
import pytest

from raybench.datasets.task import Task, load_task
from raybench.errors import DataError
from raybench.spec import DatasetSpec


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def digits(cache_dir, subset: str = "full", split_seed: int = 0) -> Task:
    return load_task(DatasetSpec(name="digits"), 8, subset, split_seed, cache_dir)


def test_digits(cache_dir):
    task = digits(cache_dir)
    assert task.images.shape == (1797, 8, 8, 3) and task.labels.dtype == np.int64
    assert (len(task.train), len(task.val), len(task.test)) == (1079, 359, 359)
    assert task.classes == tuple("0123456789") and len(set(task.ids)) == 1797


def test_a_subset_changes_train_only(cache_dir):
    full, part = digits(cache_dir), digits(cache_dir, "5-shot")
    assert len(part.train) == 50 and set(part.train) <= set(full.train)
    assert np.array_equal(full.val, part.val) and np.array_equal(full.test, part.test)
    assert full.data_digest == part.data_digest and full.split_digest != part.split_digest


def test_the_split_seed_changes_the_split_not_the_data(cache_dir):
    one, two = digits(cache_dir), digits(cache_dir, split_seed=1)
    assert one.data_digest == two.data_digest and one.split_digest != two.split_digest
    assert digits(cache_dir).split_digest == one.split_digest


def test_too_many_shots_are_refused(cache_dir):
    with pytest.raises(DataError, match="'500-shot' asks for more images than the smallest class"):
        digits(cache_dir, "500-shot")


def test_groups_stay_together(image_folder, tmp_path):
    spec = DatasetSpec(
        name="mine", path=str(image_folder(per_class=20)), group_by=r"(\w+/\d\d)\d[.]"
    )
    with pytest.raises(DataError, match="has 2 groups, but 3 are needed"):
        load_task(spec, 8, "full", 0, tmp_path / "c")
    spec = spec.model_copy(update={"group_by": r"(\w+/\d\d\d)[.]"})
    assert len(load_task(spec, 8, "full", 0, tmp_path / "c").train) == 24


@pytest.mark.parametrize(
    "name", ["cifar10", "brain_mri4", "dtd10_r160", "clothing10", "rsscn7_r128"]
)
def test_real_folders(shared_data, cache_dir, name):
    folder = shared_data / "images" / name
    spec = DatasetSpec(name=name, path=str(folder))
    task = load_task(spec, 32, "10%", 0, cache_dir)
    assert task.classes == tuple(sorted(p.name for p in folder.iterdir()))
    assert len(task.ids) == sum(1 for p in folder.rglob("*") if p.is_file())
    assert set(task.labels[task.train]) == set(range(len(task.classes)))
    assert task.images[task.train].std() > 20
