"""Small runs of the programs behind the figures on the driver and on order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def output_of(program: str, *options: str) -> str:
    if not (FOLDER / program).is_file():
        pytest.skip("this distribution has no benchmarks/")
    command = [sys.executable, str(FOLDER / program), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.nightly
def test_driver() -> None:
    text = output_of("driver.py", "--inline", "--trials", "24", "--pairs", "4")
    quarters = re.search(r"by quarters: (.+) ms a trial", text)
    assert quarters is not None
    assert len(quarters[1].split(", ")) == 4
    assert "memory: too few trials, it is counted from the 250th\n" in text
    assert "processes that ran trials: 1\n" in text


@pytest.mark.slow
@pytest.mark.nightly
def test_order() -> None:
    """No order ends before the work is done."""
    text = output_of("order.py", "--pairs", "2", "--trials", "3", "--slots", "2")
    lines = re.findall(r"^(even|giant) +2 slots  (.+?) +([\d.]+) \(bound ([\d.]+)\)$", text, re.M)
    assert {mix for mix, *_ in lines} == {"even", "giant"}
    assert len({case for _, case, *_ in lines}) == 5
    assert all(float(ratio) >= 1 and float(bound) >= 1 for *_, ratio, bound in lines)
