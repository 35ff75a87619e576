"""``raybench backbones``: groups, patterns and everything, as tables and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from raybench.backbones.cards import GROUP_CARDS
from raybench.cli import main
from raybench.errors import UserInputError
from raybench.report.grid import to_text
from raybench.terminal.backbones import look_up


def shown(asked: str | None) -> str:
    return to_text(look_up(asked).table(), 160)


def test_a_pattern_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from raybench.cli import main; main(['backbones', 'timm:convnext*']);"
        "heavy = {'torch', 'timm', 'torchvision', 'numpy', 'pandas', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]" and "timm:convnext_tiny" in done.stdout


def test_without_a_pattern_the_groups_and_how_to_narrow():
    text = shown(None)
    assert all(name in text for name in GROUP_CARDS) and len(text.splitlines()) < 20
    assert "torchvision: 80 models" in text and "raybench backbones @modern" in text


def test_a_row_says_what_it_costs_and_where_it_comes_from():
    text = shown("torchvision:resnet50")
    row = next(line for line in text.splitlines() if "resnet50 IMAGENET1K_V2" in line)
    for cell in ("resnet", "25.6 M", "4.1 G", "224", "IN-1k", "not stated"):
        assert cell in row
    assert "timm:convnext_tiny.in12k_ft_in1k" in shown("timm:convnext_tiny.*")


def test_many_weights_are_counted_not_listed():
    text = shown("timm:convnext*")
    assert "timm:convnext_tiny.in12k_ft_in1k (+8)" in text and "fb_in22k_ft_in1k_384" not in text


def test_a_group_gives_its_reasons():
    text = " ".join(shown("@paper").split())
    for card in GROUP_CARDS["@paper"].cards:
        assert " ".join(card.why.split()) in text
    rows = look_up("@paper").as_json()
    assert rows[0]["stated_top1"] == rows[0]["imagenet_top1"] == 76.13
    assert rows[0]["spec"] == {
        "name": "torchvision:resnet50",
        "weights": "IMAGENET1K_V1",
        "kwargs": {},
    }


def test_everything_as_json(capsys):
    assert main(["backbones", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) > 1400 and {row["library"] for row in rows} == {
        "timm",
        "torchvision",
        "wavemix",
    }
    keys = {"name", "weights", "family", "parameters", "macs", "input_size", "licence", "tags"}
    assert all(keys <= set(row) for row in rows)
    assert all([tag["tag"] for tag in row["tags"]] == row["weights"] for row in rows)


def test_an_image_size_is_measured(capsys):
    assert main(["backbones", "torchvision:resnet18", "--image-size", "64", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["input_size"] == [64, 64] and 0.1e9 < row["macs"] < 0.2e9


@pytest.mark.parametrize(
    ("asked", "size", "words"),
    [
        ("@modren", None, "no group '@modren'; did you mean '@modern'?"),
        ("zzz*", None, "no backbone matches 'zzz*'"),
        ("timm:*", 64, "at most 64 at a time"),
    ],
)
def test_mistakes_are_said(asked, size, words):
    with pytest.raises(UserInputError) as caught:
        look_up(asked, size)
    assert words in str(caught.value)


def test_a_refused_size_is_said_below_the_table():
    assert "! " in to_text(look_up("timm:maxvit_tiny_tf_224", 7).table())
