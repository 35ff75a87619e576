"""Small pictures out of the decoded cache; words where it is gone."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raybench.datasets.cache.store import close_sets, open_cache
from raybench.records import PairRow
from raybench.spec import DatasetSpec
from raybench.thumbnails import SIDE, Thumbnails
from tests.factories import make_pair


@pytest.fixture(params=["none", "random"])
def cached(
    request: pytest.FixtureRequest, image_folder: Callable[..., Path], tmp_path: Path
) -> tuple[Path, PairRow, np.ndarray]:
    """A cache with one set of 128 pixels; its pair; the pixels of ``cat/003.png``."""
    spec = DatasetSpec(name="pets", path=str(image_folder(size=160)))
    data = open_cache(spec, 128, tmp_path / "cache", crop=request.param)
    pair = make_pair("a", dataset="pets", facts={"data_digest": data.digest})
    pixels = np.array(data.images[data.ids.index("cat/003.png")])
    close_sets()
    return tmp_path / "cache", pair, pixels


def decoded(url: str) -> np.ndarray:
    head, _, body = url.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_small_picture_of_the_image(cached: tuple[Path, PairRow, np.ndarray]) -> None:
    folder, pair, pixels = cached
    thumbnails = Thumbnails(folder)
    found = thumbnails.read(pair, ["cat/003.png", "no/such.png"])
    assert list(found) == ["cat/003.png"] and thumbnails.why == ""
    picture = decoded(found["cat/003.png"])
    assert max(picture.shape[:2]) == SIDE
    assert picture.mean() == pytest.approx(pixels.mean(), abs=6)
    assert len(found["cat/003.png"]) < 20_000


def test_another_set_of_the_same_name_is_not_used(
    cached: tuple[Path, PairRow, np.ndarray],
) -> None:
    folder, pair, _ = cached
    digest = str(pair.facts["data_digest"])
    other = replace(pair, facts={"data_digest": digest[:12] + "0" * (len(digest) - 12)})
    thumbnails = Thumbnails(folder)
    assert thumbnails.read(other, ["cat/003.png"]) == {}
    assert thumbnails.why == "the decoded images of pets are not in the cache any more"


def test_a_cache_that_is_gone_or_damaged_gives_none(
    cached: tuple[Path, PairRow, np.ndarray],
) -> None:
    folder, pair, _ = cached
    (sums,) = folder.glob("pets-*/SHA256SUMS")
    sums.write_text(sums.read_text().replace("a", "b"))
    thumbnails = Thumbnails(folder)
    assert thumbnails.read(pair, ["cat/003.png"]) == {}
    assert "pets" in thumbnails.why
    shutil.rmtree(folder)
    assert Thumbnails(folder).read(pair, ["cat/003.png"]) == {}


def test_no_cache_no_digest_no_images() -> None:
    pair = make_pair("a", facts={})
    assert Thumbnails(None).read(pair, ["x"]) == {}
    assert Thumbnails(None).why == "no cache of decoded images is at hand"
    assert Thumbnails(Path("/nowhere")).read(pair, ["x"]) == {}
    assert Thumbnails(Path("/nowhere")).read(pair, []) == {}
