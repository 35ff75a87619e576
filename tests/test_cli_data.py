"""The command line around data: fetch, leaks that were taken, a wall clock that is spent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raybench.cli import main
from tests.specs import tiny_data, write_sweep

INLINE = ("--inline", "--no-tracking")


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def leaking(tmp_path: Path, image_folder: Any) -> Path:
    """A sweep over a folder in which one cat stands in every split."""
    cats = image_folder(per_class=12, size=48) / "cat"
    for number in range(1, 12):
        shutil.copy(cats / "000.png", cats / f"{number:03d}.png")
    recipe = {"image_size": 32, "batch_size": 8, "epochs": 1, "augment": "none"}
    data = tiny_data(datasets=[{"name": "mine", "path": "images"}], recipe=recipe, subsets=["full"])
    return write_sweep(tmp_path / "x.yaml", data)


def test_leaks_that_were_taken_are_marked_everywhere(capsys: Any, leaking: Path) -> None:
    home = ("--home", leaking.parent / "home")
    code, _, err = told(capsys, "run", leaking, *home, *INLINE)
    assert code == 2 and "--accept-leaks" in err
    code, out, _ = told(capsys, "run", leaking, *home, *INLINE, "--accept-leaks")
    assert code == 0 and "mine  [leak]" in out and "may be too good" in out
    page = leaking.parent / "page.html"
    code, out, _ = told(capsys, "report", *home, "--html", page, "--json")
    assert "across splits" in json.loads(out)["pairs"][0]["facts"]["leaks"]
    assert "leak: splits share images or groups" in page.read_text()


def test_fetch_says_what_run_will_refuse(capsys: Any, leaking: Path) -> None:
    code, out, err = told(capsys, "fetch", leaking, "--home", leaking.parent / "home")
    assert code == 0 and "run will refuse this: mine: " in err
    assert "weights none" in out
    code, out, _ = told(capsys, "fetch", leaking, "--home", leaking.parent / "home", "--json")
    assert code == 0 and len(json.loads(out)["pairs"]) == 1


@pytest.mark.slow
def test_a_spent_wall_clock_says_so(capsys: Any, tmp_path: Path) -> None:
    data = tiny_data(budget={"trials": 60, "wall_clock": "4s"}, final={"seeds": [0]})
    file = write_sweep(tmp_path / "x.yaml", data)
    for _ in range(2):  # also when nothing can be run any more
        code, _, err = told(capsys, "run", file, "--home", tmp_path / "home", *INLINE)
        assert code == 1
        assert "budget.wall_clock (4s) is spent, over all attempts; a larger one goes on" in err
