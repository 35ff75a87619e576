"""Every sweep file that is shipped loads, plans and says how to run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.cli import main
from raybench.validate import load_spec, shipped_specs

SHIPPED = shipped_specs()


def test_all_files_of_the_folder_are_shipped():
    folder = Path(__file__).parents[1] / "search_spaces"
    assert set(SHIPPED) == {path.stem for path in folder.glob("*.yaml")} >= {"quickstart"}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_loads_under_its_own_name(name):
    assert load_spec(name).name == name and load_spec(name).description


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_plans(name, tmp_path, capsys):
    assert main(["plan", name, "--home", str(tmp_path / "none")]) == 0
    assert f"{name}: " in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_has_its_command_and_purpose_on_top(name):
    text = SHIPPED[name].read_text()
    head = text.split("\nname:")[0]
    assert f"raybench run {name}" in head and all(x.startswith("#") for x in head.splitlines() if x)


def test_the_quickstart_needs_no_network():
    spec = load_spec("quickstart")
    assert {backbone.weights for backbone in spec.backbones} == {"none"}
    assert [dataset.name for dataset in spec.datasets] == ["digits"]
