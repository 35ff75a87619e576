"""Everything that docs/cluster.md and docs/slurm.md say to type can be typed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from raybench.parser import build_parser
from tests.cluster_files.files import ROOT

PAGES = [ROOT / "docs" / "cluster.md", ROOT / "docs" / "slurm.md"]


def _blocks(page: Path) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _commands(program: str) -> list[str]:
    """Lines of the blocks, and what stands in backticks in text and comments."""
    lines = [line for page in PAGES for block in _blocks(page) for line in block.splitlines()]
    texts = [line.split("  #")[0] for line in lines]
    files = [*PAGES, ROOT / "cluster.yaml", ROOT / "cluster-local.yaml"]
    for file in files:
        text = re.sub(r"```sh\n.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        texts += re.findall(rf"`({program} [^`\n]+)`", text)
        texts += re.findall(rf"^#   ({program} [^#\n]+)", text, flags=re.MULTILINE)
    found = {text.strip() for text in texts if re.match(rf"{program} [a-z]", text.strip())}
    return sorted(text for text in found if not text.endswith("...") and "..." not in text)


@pytest.mark.parametrize("command", _commands("raybench"))
def test_raybench_commands_parse(command: str) -> None:
    words = shlex.split(command.split(">")[0])[1:]
    if words in (["run"], ["fetch"], ["submit"]):
        return  # named in a sentence
    build_parser().parse_args(words)


@pytest.mark.parametrize("command", _commands("ray"))
def test_ray_commands_parse(command: str) -> None:
    """By Ray's own command line; nothing is called."""
    from ray.scripts.scripts import cli

    verb, *words = shlex.split(re.split(r"[>|;]|&&", command)[0])[1:]
    if not words or verb == "start":
        assert verb in cli.commands
        return
    cli.commands[verb].make_context(verb, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_bash(page: Path) -> None:
    blocks = _blocks(page)
    assert blocks
    for block in blocks:
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), block


def test_there_are_commands() -> None:
    assert len(_commands("raybench")) >= 10
    assert len(_commands("ray")) >= 8


def test_files_that_are_named_are_there() -> None:
    text = re.sub(r"https?://\S+", "", "".join(page.read_text() for page in PAGES))
    for name in re.findall(r"\b((?:cluster|docs|tests)/[\w./-]+\.\w+)", text):
        assert (ROOT / name).exists(), name


def test_instance_types_of_the_price_are_those_of_the_file() -> None:
    types = set(re.findall(r"InstanceType: (\S+)", (ROOT / "cluster.yaml").read_text()))
    prices = PAGES[0].read_text().split("### What it costs")[1].split("\n## ")[0]
    assert types == set(re.findall(r"`(\w+\.\w+)` (?:on demand)", prices))
