"""Small runs of the programs behind the figures on PostgreSQL, load and scale."""

from __future__ import annotations

import re

import pytest

from tests.test_driver_benchmarks import output_of


@pytest.mark.nightly
@pytest.mark.slow
def test_ledger_scale() -> None:
    text = output_of("ledger_scale.py", "--trials", "40", "--pairs", "4", "--epochs", "2")
    assert text.startswith("SQLite, 40 trials, 4 pairs, 2 epochs\n")
    assert len(re.findall(r"^.{24} +[\d.]+ s +\d+ MB   a trial: [\d.]+ ms", text, re.M)) == 5


@pytest.mark.nightly
@pytest.mark.slow
def test_report_scale() -> None:
    size = ("--trials", "40", "--pairs", "4", "--epochs", "2")
    text = output_of("report_scale.py", *size, "--predictions")
    assert text.startswith("40 trials, 4 pairs, 2 epochs\n")
    assert len(re.findall(r"^report --.{14} +[\d.]+ s +\d+ MB$", text, re.M)) == 2
    assert re.search(r"^page [\d.]+ MB, JSON [\d.]+ MB$", text, re.M)


@pytest.mark.nightly
@pytest.mark.ray
def test_tracking_load() -> None:
    """Twenty seconds of it: a real server, PostgreSQL under both, eight trials at once."""
    text = output_of("tracking_load.py", "--at-once", "8", "--seconds", "20")
    assert "missing 0, too many 0, errors of the server 0;" in text
