"""Hashes that survive saving, scaling and light; the search; the verification of look-alikes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from raybench.datasets.audit.likeness import HASH_BITS, LIKENESS, find_near, likeness, thumbnail
from raybench.datasets.audit.perceptual import (
    grey_thumbnail,
    near_pairs,
    perceptual_hash,
    perceptual_hashes,
)
from raybench.datasets.decode import open_rgb
from tests.datasets.audit.pictures import CHANGES, blots, resaved, scene, shrunk

SCENES = 40


def apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def near(images: list[Image.Image]) -> set[tuple[int, int]]:
    hashes = np.array([perceptual_hash(image) for image in images], dtype=np.uint64)
    thumbs = np.stack([thumbnail(image) for image in images])
    found = find_near(hashes, np.arange(len(images)), lambda used: thumbs[used])
    assert not found.bounded
    return {(int(a), int(b)) for a, b in found.pairs}


def test_the_hash_has_64_bits_half_of_them_set_and_stays_what_it_was():
    value = perceptual_hash(scene(0))
    assert 0 <= value < 2**64 and value.bit_count() in range(28, 33)
    # Caches keep hashes: a changed one needs a new cache format.
    waves = (np.multiply.outer(np.arange(64), np.arange(64)) % 251).astype(np.uint8)
    assert perceptual_hash(Image.fromarray(waves).convert("RGB")) == 0x0000038FC7C7F9FF


def test_many_hashes_at_once_are_those_of_each():
    pictures = [scene(seed) for seed in range(5)]
    hashes = perceptual_hashes(np.stack([grey_thumbnail(picture) for picture in pictures]))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [perceptual_hash(picture) for picture in pictures]


def test_flat_pictures_have_the_hash_0():
    for level in (0, 127, 255):
        assert perceptual_hash(Image.new("RGB", (50, 40), (level,) * 3)) == 0


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change):
    originals = [scene(seed) for seed in range(SCENES)]
    found = near([*originals, *(CHANGES[change](image) for image in originals)])
    wanted = {(i, i + SCENES) for i in range(SCENES)}
    assert found <= wanted
    assert len(found) >= (0.8 if change == "cropped" else 1) * SCENES


def test_a_mirrored_picture_is_another():
    image = scene(1)
    assert near([image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]) == set()


def test_a_close_hash_is_not_enough():
    """The same large shapes with other details: all heads in a scanner."""
    shapes = np.asarray(blots(3, cells=10, levels=200), dtype=float)
    heads = [shapes * 0.75 + np.asarray(blots(seed, cells=32, levels=60)) for seed in (10, 11)]
    pictures = [Image.fromarray(np.clip(head, 0, 255).astype(np.uint8)) for head in heads]
    assert apart(*(perceptual_hash(picture) for picture in pictures)) <= HASH_BITS
    assert near(pictures) == set()


def test_likeness_says_nothing_of_flat_pictures():
    random = np.random.RandomState(0)
    noise = (127 + random.randint(0, 2, (2, 32, 32))).astype(np.uint8)
    same = np.stack([noise[0], noise[0]])
    assert likeness(same, np.array([[0, 1]]))[0] == 0
    assert likeness(same, np.empty((0, 2), np.int64)).shape == (0,)


def test_likeness_is_one_for_equal_thumbnails_and_low_for_others():
    thumbs = np.stack([thumbnail(scene(seed)) for seed in (0, 0, 1)])
    equal, other = likeness(thumbs, np.array([[0, 1], [0, 2]]))
    assert equal == pytest.approx(1, abs=1e-5) and other < LIKENESS / 2


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_the_search_finds_exactly_the_pairs_within_the_bits(count):
    random = np.random.RandomState(count)
    hashes = random.randint(0, 2**62, count).astype(np.uint64)
    planted = []
    for number in range(0, count - 1, 997):
        flips = random.choice(60, size=number % 20, replace=False)
        hashes[-1 - number] = hashes[number] ^ np.uint64(sum(1 << int(bit) for bit in flips))
        if len(flips) <= 6 and number != count - 1 - number:
            planted.append(tuple(sorted((number, count - 1 - number))))
    blocks = list(near_pairs(hashes, 6))
    found = {(int(a), int(b)) for block in blocks for a, b in block}
    assert set(planted) <= found and all(a < b for a, b in found)
    assert all(apart(int(hashes[a]), int(hashes[b])) <= 6 for a, b in found)
    assert sum(map(len, blocks)) == len(found)


def test_the_search_has_a_bound(monkeypatch):
    monkeypatch.setattr("raybench.datasets.audit.likeness._MAX_CANDIDATES", 5)
    thumbs = np.stack([thumbnail(scene(0))] * 10)
    hashes = np.full(10, perceptual_hash(scene(0)), dtype=np.uint64)
    found = find_near(hashes, np.arange(10), lambda used: thumbs[used])
    assert found.bounded and len(found.pairs) == 6


def test_only_judged_images_are_compared_and_only_candidates_are_read():
    images = [scene(0), resaved(scene(0)), shrunk(scene(0)), scene(1)]
    hashes = np.array([perceptual_hash(image) for image in images], dtype=np.uint64)
    read: list[int] = []

    def thumbs_of(used):
        read.extend(used.tolist())
        return np.stack([thumbnail(images[index]) for index in used])

    found = find_near(hashes, np.array([0, 2, 3]), thumbs_of)
    assert found.pairs.tolist() == [[0, 2]] and read == [0, 2]


def test_real_pictures(shared_data):
    """Photographs of clothes: every saved-again copy is found, and no pair that is none."""
    files = sorted((shared_data / "images" / "clothing10").rglob("*.jpg"))[:60]
    originals = [open_rgb(file.read_bytes()) for file in files]
    copies = [CHANGES[name](image) for image in originals for name in ("resaved", "brighter")]
    kin = [*range(len(files)), *(i for i in range(len(files)) for _ in range(2))]
    found = near([*originals, *copies])
    assert all(kin[a] == kin[b] for a, b in found)
    assert len(found) == 3 * len(files)
