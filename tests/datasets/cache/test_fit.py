"""Geometry of stored pictures: squeezed, or in their own shape with a margin."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from raybench.datasets.cache.fit import fit_rgb, short_side


@pytest.mark.parametrize(("image_size", "side"), [(224, 256), (112, 128), (32, 37), (8, 9)])
def test_the_margin_is_an_eighth_of_the_whole(image_size, side):
    assert short_side(image_size, "random") == side
    assert short_side(image_size, "none") == image_size


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((64, 64), (16, 16)),
        ((100, 50), (16, 32)),
        ((50, 100), (32, 16)),
        ((3, 2), (16, 24)),
        ((41, 40), (16, 16)),
        ((1000, 10), (16, 64)),
        ((1, 5000), (64, 16)),
    ],
)
def test_the_shape_stays_up_to_four_to_one(size, shape):
    image = Image.new("RGB", size, "red")
    pixels = fit_rgb(image, 14, "random")
    assert pixels.shape == (*shape, 3) and pixels.dtype == np.uint8
    assert (pixels == (255, 0, 0)).all()
    assert fit_rgb(image, 14, "none").shape == (14, 14, 3)


def test_of_a_longer_picture_the_middle_stays():
    pixels = np.zeros((16, 160, 3), dtype=np.uint8)
    pixels[:, 48:112] = np.arange(48, 112)[:, None]
    assert np.array_equal(fit_rgb(Image.fromarray(pixels), 14, "random"), pixels[:, 48:112])
