"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.postgres_server import PostgresServer, postgres_server
from tests.specs import tiny_data, write_sweep

# A token file in the home of whoever runs the tests is none of their business.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# A sweep's page takes seconds at each run's end; ``test_publishing`` asks for it.
os.environ.setdefault("RAYBENCH_PUBLISH", "0")

FolderFactory = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images (``images/<set>/<class>/*.jpg``) and weights (``weights/*.pt``), or a skip."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("RAYBENCH_TEST_DATA", str(beside)))
    if not (root / "images").is_dir():
        pytest.skip(f"no real images at {root}; set RAYBENCH_TEST_DATA to their folder")
    return root


@pytest.fixture
def image_folder(tmp_path: Path) -> FolderFactory:
    """Makes ``<root>/<class>/<n>.png``: flat colours with noise, separable by class."""

    def make(
        root: Path | None = None,
        classes: tuple[str, ...] = ("cat", "dog"),
        per_class: int = 10,
        size: int = 16,
    ) -> Path:
        folder = root or tmp_path / "images"
        rng = np.random.default_rng(0)
        for index, name in enumerate(classes):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                base = np.full((size, size, 3), 60 + 120 * index // max(1, len(classes) - 1))
                noise = rng.integers(-30, 30, base.shape)
                pixels = np.clip(base + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the tiny sweep of ``tests.specs`` has run to its end. To be read only."""
    import raybench

    folder = tmp_path_factory.mktemp("finished")
    write_sweep(folder / "tiny.yaml", tiny_data())
    raybench.run(folder / "tiny.yaml", home=folder / "home", inline=True, tracking=False)
    return folder / "home"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests, each of which takes a new database; or a skip."""
    with postgres_server() as server:
        yield server
