"""Every kind of source behind one name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raybench.datasets import CARDS, check_dataset
from raybench.datasets.sources.open import fingerprint, open_source
from raybench.spec import DatasetSpec


def test_digits_are_the_real_thing():
    source = open_source(DatasetSpec(name="digits"), [], Path())
    assert len(source.samples) == CARDS["digits"].total and len(source.classes) == 10
    pixels = source.samples[0].read()
    assert isinstance(pixels, np.ndarray) and pixels.shape == (8, 8) and pixels.max() >= 239
    assert check_dataset(DatasetSpec(name="digits")) == []


def test_fingerprints_tell_sets_apart_and_stay(tmp_path):
    facts = {name: tuple(fingerprint(DatasetSpec(name=name), tmp_path)[0]) for name in CARDS}
    assert len(set(facts.values())) == len(CARDS)
    again = {name: tuple(fingerprint(DatasetSpec(name=name), tmp_path)[0]) for name in CARDS}
    assert facts == again and not any(tmp_path.iterdir())


def test_a_changed_file_changes_the_fingerprint(image_folder):
    root = image_folder(per_class=3)
    spec = DatasetSpec(name="mine", path=str(root))
    before, images = fingerprint(spec)
    assert len(images) == 6 and fingerprint(spec)[0] == before
    file = root / "cat" / "000.png"
    file.write_bytes(file.read_bytes() + b"more")
    assert fingerprint(spec)[0] != before
    content = open_source(spec, images, Path()).samples[0].read()
    assert isinstance(content, bytes) and content.endswith(b"more")
