"""SIGKILL at random places and moments, run the command again: the table is the unbroken one.

The short form of ``make chaos``: few kills of each kind, the same invariants.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.ledgers import read_trials
from tests.chaos.program import run_form
from tests.chaos.strikes import Strike
from tests.chaos.sweeps import short_sweep, short_tuned_sweep, unbroken


@pytest.mark.slow
def test_inline(tmp_path: Path) -> None:
    """A kill of each kind, failpoints in checkpoint, ledger and MLflow store among them."""
    result = run_form("inline", tmp_path, short_sweep(), 4, 0, unbroken("short"))
    assert result.tally.violations == []
    assert result.tally.kills.total() == result.tally.resumes == 4


@pytest.mark.nightly
@pytest.mark.slow
def test_tuned(tmp_path: Path) -> None:
    """TPE and ASHA go on as if nothing had happened."""
    result = run_form("inline", tmp_path, short_tuned_sweep(), 2, 1, unbroken("tuned"))
    assert result.tally.violations == []
    assert result.tally.kills.total() == 2


@pytest.mark.nightly
@pytest.mark.ray
def test_ray(tmp_path: Path) -> None:
    """A trial's process dies: the same trial goes on. The driver dies: its old trials live on."""
    strikes = [Strike("trial", epochs=2), Strike("driver", 2)]
    result = run_form("ray", tmp_path, short_sweep(), strikes, 0, unbroken("short"))
    assert result.tally.violations == []
    assert result.tally.kills.total() == 2
    assert result.tally.beside_old_trials == 1
    said = [file.read_text() for file in (tmp_path / "round-1").glob("log-*.stdout")]
    assert any("test_resnet" in text for text in said)
    assert not any("(raylet)" in text for text in said)  # stdout carries results only
    trials = read_trials(tmp_path / "round-1" / "home", "fixed")
    failures = [failure for trial in trials for failure in trial.attributes.get("failures", [])]
    assert len(failures) == 1
    assert all(failure.startswith("infrastructure") for failure in failures)


@pytest.mark.nightly
@pytest.mark.cluster
def test_a_node_dies(tmp_path: Path) -> None:
    """All that ran there goes on elsewhere, and what Ray holds is free in the end."""
    strikes = [Strike("node", epochs=2)]
    result = run_form("cluster", tmp_path, short_sweep(), strikes, 0, unbroken("short"))
    assert result.tally.violations == []
    assert result.tally.kills == {"node": 1}
