"""Everything the README says to type can be typed; every file it names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import raybench
from raybench.parser import build_parser
from raybench.validate import check_spec, shipped_specs
from raybench.yamlio import parse_yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def _commands() -> list[str]:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.startswith("raybench ")]


@pytest.mark.parametrize("command", _commands())
def test_commands_parse(command: str) -> None:
    build_parser().parse_args(shlex.split(command)[1:])


def test_there_are_commands() -> None:
    assert len(_commands()) >= 5


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_sweep_file_is_valid(tmp_path: Path) -> None:
    """Folders and weights that it pretends to have are made up here; all else must hold."""
    (block,) = [b for b in _blocks("yaml") if "backbones:" in b]
    data, lines = parse_yaml(block)
    data["datasets"] = ["digits"]
    data["backbones"] = data["backbones"][:2]
    assert check_spec(data, lines, tmp_path).budget.trials == 12


def test_python_names_exist() -> None:
    for block in _blocks("python"):
        for name in re.findall(r"raybench\.(\w+)\(", block):
            assert hasattr(raybench, name)
        for name in re.findall(r"\)?\.(leaderboard|records)\(", block):
            assert hasattr(raybench.Sweep, name)


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_links_point_to_files(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (document.parent / target).exists(), target


def test_tree_names_what_is_there() -> None:
    tree = README.split("## The tree")[1].split("```")[1]
    for name in re.findall(r"\b(\w+\.py)\b", tree):
        assert list((ROOT / "raybench").rglob(name)), name
    for name in re.findall(r"^  (\w+)/", tree, flags=re.MULTILINE):
        assert (ROOT / "raybench" / name).is_dir(), name


def test_shipped_files_are_named() -> None:
    for name in shipped_specs():
        assert f"`{name}`" in README
