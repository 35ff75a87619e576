"""A sweep file that runs elsewhere: whose paths are looked for where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raybench.errors import SpecError
from raybench.travelling import Travel
from raybench.validate import load_spec
from tests.specs import tiny_data, write_sweep

THEIRS = {"name": "scans", "path": "/data/of/the/cluster"}


def mistakes_of(file: Path, luggage: Path | None = None, **changes: Any) -> list[str]:
    write_sweep(file, tiny_data(**changes))
    try:
        load_spec(file, travel=Travel(luggage))
    except SpecError as error:
        return list(error.mistakes)
    return []


def test_absolute_paths_are_the_clusters(tmp_path: Path) -> None:
    weights = {"name": "timm:test_resnet", "weights": "/weights/there.safetensors"}
    table = {"name": "t", "path": "~/there.csv", "root": "/there/images"}
    found = mistakes_of(tmp_path / "a.yaml", datasets=[THEIRS, table], backbones=[weights])
    assert found == []


def test_at_home_they_are_looked_for(tmp_path: Path) -> None:
    file = write_sweep(tmp_path / "a.yaml", tiny_data(datasets=[THEIRS]))
    with pytest.raises(SpecError, match="/data/of/the/cluster"):
        load_spec(file)


def test_other_mistakes_are_found_with_them_all_at_once(tmp_path: Path) -> None:
    weights = {"name": "timm:no_such_net", "weights": "/weights/there.safetensors"}
    found = mistakes_of(
        tmp_path / "a.yaml", datasets=[THEIRS, "digts", {"path": "./mine"}], backbones=[weights]
    )
    text = "\n".join(found)
    assert len(found) == 3
    assert "digts" in text and "no_such_net" in text
    assert "'./mine' is relative to the file, and only the file is sent" in text
    assert "datasets.2.path" in text or "datasets[2].path" in text


def test_luggage_is_looked_into(tmp_path: Path, image_folder: Any) -> None:
    (tmp_path / "project").mkdir()
    file = tmp_path / "project" / "a.yaml"
    image_folder(tmp_path / "project" / "mine")
    image_folder(tmp_path / "beside")
    folder = tmp_path / "project"
    assert mistakes_of(file, folder, datasets=[{"path": "./mine"}]) == []
    (outside,) = mistakes_of(file, folder, datasets=[{"path": "../beside"}])
    assert "'../beside' is outside of --working-dir" in outside
    (missing,) = mistakes_of(file, folder, datasets=[{"path": "./nothing"}])
    assert "nothing" in missing and "outside" not in missing
