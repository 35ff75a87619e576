"""MedMNIST's sets: from a made-up archive behind a stand-in server; nothing leaves the machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybench.datasets import check_dataset, count_dataset
from raybench.datasets.sources import medmnist as medmnist_sets
from raybench.datasets.sources.names import (
    MEDMNIST_NAMES,
    MEDMNIST_SIZES,
    medmnist_info,
    source_entry,
)
from raybench.datasets.sources.open import fingerprint, open_source
from raybench.errors import ResourceError
from raybench.spec import DatasetSpec, SplitSpec
from tests.standin import StandIn, standin_server

needs_package = pytest.mark.skipif(not medmnist_info(), reason="the extra medmnist is missing")


def spec_of(text: str, **keys: Any) -> DatasetSpec:
    return DatasetSpec(name="mine", source=f"medmnist:{text}", **keys)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with ``bloodmnist.npz`` (packed) and ``bloodmnist_64.npz`` (grey, not packed)."""
    folder = tmp_path / "served"
    folder.mkdir()
    shapes = {"": (28, 28, 3), "_64": (64, 64)}
    facts = {**medmnist_info()["bloodmnist"], "label": {"0": "a", "1": "b"}}
    with standin_server(folder) as server:
        for suffix, shape in shapes.items():
            arrays: dict[str, np.ndarray] = {}
            for split, count in (("train", 4), ("val", 2), ("test", 3)):
                rows = np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(shape))
                arrays[f"{split}_images"] = rows + np.zeros((count, *shape), np.uint8)
                arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
            file = folder / f"bloodmnist{suffix}.npz"
            (np.savez if suffix else np.savez_compressed)(file, **arrays)
            facts[f"url{suffix}"] = server.url(file.name)
            facts[f"MD5{suffix}"] = hashlib.md5(file.read_bytes()).hexdigest()
        monkeypatch.setattr(medmnist_sets, "medmnist_info", lambda: {"bloodmnist": facts})
        yield server


@needs_package
@pytest.mark.parametrize(
    ("text", "shape"), [("bloodmnist", (28, 28, 3)), ("bloodmnist_64", (64, 64))]
)
def test_samples_are_mapped_from_disk_with_official_splits(text, shape, served, tmp_path):
    here = tmp_path / "here"
    source = open_source(spec_of(text), [], here)
    assert source.classes == ("a", "b")
    assert [s.split for s in source.samples] == ["test"] * 3 + ["train"] * 4 + ["val"] * 2
    pixels = source.samples[4].read()
    assert source.samples[4].id == "train/000001" and source.samples[4].label == 1
    assert pixels.shape == shape and pixels.dtype == np.uint8 and pixels.max() == 1
    assert isinstance(pixels.base, np.memmap)
    asked = sum(served.requests.values())
    times = {p: p.stat().st_mtime_ns for p in here.glob("*.npy")}
    open_source(spec_of(text), [], here)
    assert sum(served.requests.values()) == asked
    assert {p: p.stat().st_mtime_ns for p in here.glob("*.npy")} == times


@needs_package
def test_a_broken_connection_is_resumed_and_a_wrong_file_refused(served: StandIn, tmp_path):
    served.fault("bloodmnist.npz", truncate=100)
    assert len(open_source(spec_of("bloodmnist"), [], tmp_path / "a").samples) == 9
    served.fault("bloodmnist_64.npz", body=b"PK no archive")
    with pytest.raises(ResourceError, match="MD5 .* instead of"):
        open_source(spec_of("bloodmnist_64"), [], tmp_path / "b")


@needs_package
def test_an_array_left_half_unpacked_is_unpacked_again(served, tmp_path):
    open_source(spec_of("bloodmnist"), [], tmp_path)
    half = tmp_path / "bloodmnist-train_images.npy"
    half.write_bytes(half.read_bytes()[:-1])
    assert open_source(spec_of("bloodmnist"), [], tmp_path).samples[6].read().max() == 3


@needs_package
def test_the_table_of_names_equals_the_packages():
    table = medmnist_info()
    flat = {name for name in table if not name.endswith("3d")}
    assert set(MEDMNIST_NAMES) == {n for n in flat if "multi-label" not in table[n]["task"]}
    for name in MEDMNIST_NAMES:
        assert all(f"MD5_{size}" in table[name] for size in MEDMNIST_SIZES[1:])


@needs_package
def test_counts_come_from_the_package_and_facts_from_name_size_and_version(tmp_path):
    counts = count_dataset(spec_of("pathmnist"))
    assert counts is not None and (counts.train, counts.val, counts.test) == (89996, 10004, 7180)
    facts = [fingerprint(spec_of(text), tmp_path)[0] for text in ("pathmnist", "pathmnist_64")]
    assert facts[0] != facts[1] and len(facts[0][3]) == 32


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(medmnist_sets, "medmnist_info", dict)
    assert check_dataset(spec_of("pathmnist")) == []
    with pytest.raises(ResourceError, match=r"pip install 'raybench\[medmnist\]'"):
        open_source(spec_of("pathmnist"), [], tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pathmnis", "unknown medmnist set 'pathmnis'; did you mean 'pathmnist'"),
        ("zzz", "known: 'bloodmnist'"),
        ("chestmnist", "multi-label data, which is not supported"),
        ("organmnist3d_64", "volumes"),
        ("pathmnist_32", "pathmnist_64"),
    ],
)
def test_what_cannot_be_used_is_said_offline(text, words):
    (mistake,) = check_dataset(spec_of(text))
    assert words in mistake


def test_every_mistake_beside_a_source_at_once():
    spec = spec_of("nope", root="here", group_by="(a)", split=SplitSpec(test=0.1))
    mistakes = "\n".join(check_dataset(spec))
    assert "unknown medmnist set" in mistakes and "'root', 'group_by' need a `path:`" in mistakes
    assert "train, val and test are there already" in mistakes
    (mistake,) = check_dataset(DatasetSpec(name="mine", source="kaggle:x"))
    assert "of no known kind" in mistake


def test_a_source_where_a_name_is_expected_becomes_an_entry():
    assert source_entry("hf:org/Some-Pets@v1") == ("Some-Pets", "hf:org/Some-Pets@v1")
    assert source_entry("hf:org/pets/small")[0] == "pets-small"
    assert source_entry("medmnist:pathmnist_64")[0] == "pathmnist_64"
    for text in ("hf:", "hf:x", "medmnist:", "hf:org/" + "x" * 99, "hf:org/\n"):
        name, source = source_entry(text)
        assert DatasetSpec(name=name, source=source).source == text
