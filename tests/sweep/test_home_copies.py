"""A home that was copied and one that was moved: on a shared MLflow they must not be confused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raybench.settings import resolve_settings
from raybench.sweep.home import open_home, tell_copies_apart
from raybench.sweep.reader import ledger_id


def opened(home: Path, told: list[str]) -> str:
    """As a run that nothing refuses opens it."""
    with open_home(resolve_settings(home, {}), "tiny", told.append) as engine:
        tell_copies_apart(engine, home / "ledger.db", told.append)
        return ledger_id(engine)


def _beyond_new(told: list[str]) -> list[str]:
    return [text for text in told if not text.startswith("new home")]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    opened(tmp_path / "first", [])
    return tmp_path / "first"


def test_a_copy_is_another_ledger_and_says_so_once(first: Path, tmp_path: Path) -> None:
    told: list[str] = []
    before = opened(first, told)
    shutil.copytree(first, tmp_path / "copy")
    mine = opened(tmp_path / "copy", told)
    assert mine != before
    (said,) = _beyond_new(told)
    assert "is a copy of" in said and str(first) in said
    assert (opened(tmp_path / "copy", told), opened(first, told)) == (mine, before)
    assert _beyond_new(told) == [said]


def test_a_moved_home_stays_what_it_was(first: Path, tmp_path: Path) -> None:
    told: list[str] = []
    before = opened(first, told)
    first.rename(tmp_path / "moved")
    assert opened(tmp_path / "moved", told) == before
    opened(first, [])  # another one begins in the old place
    assert opened(tmp_path / "moved", told) == before
    assert not _beyond_new(told)


def test_a_link_to_a_home_is_no_copy(first: Path, tmp_path: Path) -> None:
    """Nor is a home below a folder that is mounted twice."""
    told: list[str] = []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ledger.db").hardlink_to(first / "ledger.db")
    assert opened(tmp_path / "other", told) == opened(first, told)
    assert not _beyond_new(told)
