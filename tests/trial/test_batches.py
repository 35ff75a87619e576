"""Order, the last batch, normalisation, augmentation, random generators."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torchvision.transforms.v2.functional import center_crop

from raybench.datasets.cache.frames import Frames
from raybench.errors import DataError
from raybench.trial.augment import augment
from raybench.trial.batches import BatchLoader, epoch_batches, make_loader
from raybench.trial.randomness import restore_rng_states, rng_states, seed_all

CPU = torch.device("cpu")
PIXELS = torch.randint(0, 256, (6, 3, 10, 10), dtype=torch.uint8, generator=torch.Generator())


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (8, 4, [4, 4]), (3, 1, [1, 1, 1]), (4, 4, [4])],
)
def test_the_last_batch_stays_unless_it_is_a_single_image(
    images: int, batch_size: int, sizes: list[int]
) -> None:
    batches = epoch_batches(np.arange(images), batch_size, 0, 1)
    assert [len(batch) for batch in batches] == sizes
    assert len(set(np.concatenate(batches).tolist())) == sum(sizes)


def test_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        result: list[int] = np.concatenate(epoch_batches(np.arange(50), 8, seed, epoch)).tolist()
        return result

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)


def test_a_batch_larger_than_the_split_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="batch_size 11 is larger than .* 10 images; give 10"):
        epoch_batches(np.arange(10), 11, 0, 1)


def test_loader_normalises_and_keeps_channels_last() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    loader = make_loader(images, np.arange(5), CPU, mean, std)
    pixels, labels = loader.fetch(np.array([3, 1]))
    assert labels.tolist() == [3, 1]
    batch = loader.normalise(pixels)
    expected = (images[[3, 1]] / 255 - np.array(mean)) / np.array(std)
    assert np.allclose(batch.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def frames(shapes: list[tuple[int, int]], crop: int) -> Frames:
    """Every pixel is (picture, row, column)."""
    pictures = [
        np.stack(
            [np.full(shape, number), *np.meshgrid(*map(np.arange, shape), indexing="ij")], axis=-1
        )
        for number, shape in enumerate(shapes)
    ]
    pixels = np.concatenate([picture.reshape(-1) for picture in pictures]).astype(np.uint8)
    sizes = np.array([picture.size for picture in pictures])
    return Frames(pixels, sizes.cumsum() - sizes, np.array(shapes, dtype=np.int32), crop)


def corners(loader: BatchLoader, indices: list[int], seed: int | None) -> list[list[int]]:
    """(picture, row, column) of each crop's first pixel; what lies between is checked."""
    pixels, _ = loader.fetch(np.array(indices), seed)
    first, last = pixels[:, :, 0, 0].int(), pixels[:, :, -1, -1].int()
    side = torch.tensor([0, pixels.shape[2] - 1, pixels.shape[3] - 1], dtype=torch.int32)
    assert torch.equal(last - first, side.expand(len(indices), -1))
    result: list[list[int]] = first.tolist()
    return result


def test_without_a_seed_the_centre_is_cut() -> None:
    shapes = [(16, 16), (16, 20), (31, 16), (14, 14), (17, 19)]
    loader = make_loader(frames(shapes, 14), np.arange(5), CPU, (0.5,) * 3, (0.5,) * 3)
    assert corners(loader, [3, 2, 1, 0, 4], None) == [
        [3, 0, 0],
        [2, 8, 1],
        [1, 1, 3],
        [0, 1, 1],
        [4, 2, 2],
    ]
    for shape, corner in zip(shapes, corners(loader, list(range(5)), None), strict=True):
        rows = torch.arange(shape[0])[None, :, None].expand(1, -1, shape[1])
        assert corner[1] == int(center_crop(rows, [14, 14])[0, 0, 0])


def test_crops_fall_everywhere_alike_and_by_seed() -> None:
    loader = make_loader(frames([(16, 19)], 14), np.zeros(1), CPU, (0.5,) * 3, (0.5,) * 3)
    places = [(r, c) for _, r, c in corners(loader, [0] * 3600, 1)]
    counts = [places.count((row, column)) for row in range(3) for column in range(6)]
    assert sum(counts) == 3600 and chisquare(counts).pvalue > 1e-3
    assert corners(loader, [0] * 50, 1) == corners(loader, [0] * 50, 1)
    assert corners(loader, [0] * 50, 1) != corners(loader, [0] * 50, 2)


@pytest.mark.parametrize("crop", [False, True])
def test_fetching_copies_the_batch_and_nothing_else(crop: bool) -> None:
    images: Any = np.zeros((200, 64, 64, 3), dtype=np.uint8)
    if crop:
        images = Frames(images.reshape(-1), np.arange(200) * 12288, np.full((200, 2), 64), 56)
    loader = make_loader(images, np.zeros(200), CPU, (0.5,) * 3, (0.5,) * 3)
    indices = np.arange(0, 200, 5)
    loader.fetch(indices, 0)
    tracemalloc.start()
    try:
        pixels, _ = loader.fetch(indices, 0)
        numpy_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # NumPy tells tracemalloc of its arrays; the batch itself is torch's.
    assert numpy_peak < pixels.nbytes / 4


@pytest.mark.parametrize("kind", ["flip", "trivial", "randaugment"])
def test_augmentation_draws_per_image_from_its_own_seed(kind: str) -> None:
    same = PIXELS[:1].expand(6, -1, -1, -1).contiguous()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    result = augment(same, kind, 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(augment(same, kind, 1), result)
    assert not torch.equal(augment(same, kind, 2), result)
    assert result.dtype == torch.uint8 and result.shape == same.shape
    assert any(not torch.equal(result[0], image) for image in result[1:])


def test_flip_flips_or_leaves() -> None:
    for image, before in zip(augment(PIXELS, "flip", 3), PIXELS, strict=True):
        assert torch.equal(image, before) or torch.equal(image, before.flip(-1))
    assert augment(PIXELS, "none", 3) is PIXELS


def test_generators_come_back_exactly() -> None:
    def draw() -> list[Any]:
        return [random.gauss(), random.random(), np.random.randn(), torch.rand(2).tolist()]

    seed_all(0, "test")
    draw()  # leaves half of a Gaussian pair behind in Python and NumPy
    states = rng_states(CPU)
    expected = [draw(), draw()]
    seed_all(1, "test")
    restore_rng_states(states, CPU)
    assert [draw(), draw()] == expected
